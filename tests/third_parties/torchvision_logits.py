"""Prints how far our logits are from torchvision's with the same weights, in float64.

The argument: {torchvision's network: [ours, height and width of the images]}. The answer: {torchvision's network:
{mode: [main classifier, auxiliary ones]}}, the largest difference relative to the largest logit.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from torch import nn

from frameworks.adapter import Setting
from frameworks.arrays import Weights, initial
from frameworks.networks import NETWORKS
from frameworks.pytorch.adapter import PyTorch
from frameworks.pytorch.layers import StochasticDepth
from frameworks.spec import Network
from frameworks.training import Training
from frameworks.weight_files.state_dict_names import significant, state_dict_name
from tests.third_parties.torchvision_nets import COUNTERS, model, torchvision


def differences(theirs: str, ours: str, side: int) -> dict[str, list[float]]:
    network = NETWORKS[ours]().with_input((3, side, side))
    weights = drawn(network)
    adapter = PyTorch(network, Training(), Setting(precision="float64", threads=2))
    adapter.set_weights(weights)
    net = holding(model(theirs), network, weights)
    for module in (*adapter.net.modules(), *net.modules()):
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
        elif isinstance(module, StochasticDepth):
            module.remain = 1.0
    images = torch.from_numpy(np.random.default_rng(2).normal(size=(2, *network.input)))
    differences = {}
    for mode in ("train", "eval"):  # in this order, evaluation uses the running statistics that training has updated
        with torch.no_grad():
            main, expected = adapter.net.train(mode == "train")(images), net.train(mode == "train")(images)
        given = [main, *(head.logits for head in adapter.heads if head.logits is not None)]
        pairs = zip(given, _in_order(expected), strict=True)
        differences[mode] = [((own - other).abs().max() / other.abs().max()).item() for own, other in pairs]
    return differences


def drawn(network: Network) -> Weights:
    """Weights that keep a deep network's values in range, and vectors in which no two channels are alike."""
    chance = np.random.default_rng(1)
    vectors = {p.name: chance.uniform(0.5, 1.5, p.shape) for p in network.parameters if p.role != "weight"}
    return initial(network, seed=1, scheme="he_uniform") | vectors


def holding(net: nn.Module, network: Network, weights: Weights) -> nn.Module:
    """torchvision's network with these arrays under torchvision's names; RuntimeError if names or shapes differ."""
    state = net.state_dict()  # with the versions of the modules, which some read
    for key in state:
        if key.endswith(COUNTERS):
            state[key] = torch.tensor(0)
    for _, node in network.walk():
        for parameter in node.parameters:
            key = state_dict_name(node, parameter)
            state[key] = _fitted(torch.from_numpy(weights[parameter.name]), state.get(key))
    if missing := [key for key, tensor in state.items() if tensor.is_meta]:
        raise RuntimeError(f"{network.name} has no {', '.join(missing)}")
    net.load_state_dict(state, assign=True)
    return net


def _in_order(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """The main classifier, then the auxiliary ones from the input on: GoogLeNet returns these from the output on."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    main, *heads = outputs
    return [main, *reversed(heads)]


def _fitted(tensor: torch.Tensor, theirs: torch.Tensor | None) -> torch.Tensor:
    """The same values with axes of length 1 at the end as theirs; another shape remains, which loading refuses."""
    fits = theirs is not None and significant(tuple(theirs.shape)) == significant(tuple(tensor.shape))
    return tensor.reshape(theirs.shape) if theirs is not None and fits else tensor


if __name__ == "__main__":
    pairs = json.loads(sys.argv[1])
    print(json.dumps({theirs: differences(theirs, ours, side) for theirs, (ours, side) in pairs.items()}))
