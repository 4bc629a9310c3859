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
from frameworks.pytorch.adapter import ROLES, PyTorch
from frameworks.spec import Network
from frameworks.training import Training
from tests.third_parties.torchvision_nets import COUNTERS, model


def differences(theirs: str, ours: str, side: int) -> dict[str, list[float]]:
    network = NETWORKS[ours]().with_input((3, side, side))
    weights = drawn(network)
    adapter = PyTorch(network, Training(), Setting(precision="float64", threads=2))
    adapter.set_weights(weights)
    net = holding(model(theirs), network, weights)
    for module in (*adapter.net.modules(), *net.modules()):
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    images = torch.from_numpy(np.random.default_rng(2).normal(size=(2, *network.input)))
    differences = {}
    for mode in ("train", "eval"):  # in this order, evaluation uses the running statistics that training has updated
        with torch.no_grad():
            main, expected = adapter.net.train(mode == "train")(images), net.train(mode == "train")(images)
        given = [main, *(head.logits for head in adapter.heads if head.logits is not None)]
        pairs = zip(given, expected if isinstance(expected, tuple) else [expected], strict=True)
        differences[mode] = [((own - other).abs().max() / other.abs().max()).item() for own, other in pairs]
    return differences


def drawn(network: Network) -> Weights:
    """Weights that keep a deep network's values in range, and vectors in which no two channels are alike."""
    chance = np.random.default_rng(1)
    vectors = {p.name: chance.uniform(0.5, 1.5, p.shape) for p in network.parameters if p.role != "weight"}
    return initial(network, seed=1, scheme="he_uniform") | vectors


def holding(net: nn.Module, network: Network, weights: Weights) -> nn.Module:
    """torchvision's network with these arrays under torchvision's names; RuntimeError if names or shapes differ."""
    state = {key: torch.tensor(0) for key in net.state_dict() if key.endswith(COUNTERS)}
    for parameter in network.parameters:
        path = parameter.name.removesuffix(parameter.role)
        state[path + ROLES.get(parameter.role, parameter.role)] = torch.from_numpy(weights[parameter.name])
    net.load_state_dict(state, assign=True)
    return net


if __name__ == "__main__":
    pairs = json.loads(sys.argv[1])
    print(json.dumps({theirs: differences(theirs, ours, side) for theirs, (ours, side) in pairs.items()}))
