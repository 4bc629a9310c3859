"""Prints how far our logits, losses and gradients are from torchvision's with the same weights, in float64.

The argument: {torchvision's network: [ours, height and width of the images]}. The answer, by torchvision's network:

train, eval   of the main classifier, then of the auxiliary ones: the largest difference of the logits, relative to the
              largest logit
loss          the relative difference of the training loss
gradients     by array, and by `input`: the norm of the difference of the gradients of the loss, relative to the norm of
              torchvision's; null if both gradients are zero except for rounding

In training mode, batch norm uses the statistics of the batch, and dropout and stochastic depth drop nothing. Evaluation
uses the running statistics that training mode has updated. One thread: of several, those that wait for another use a
core that other processes need.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights, initial
from frameworks.networks import NETWORKS
from frameworks.pytorch.adapter import PyTorch
from frameworks.pytorch.layers import StochasticDepth
from frameworks.spec import Network
from frameworks.training import Training
from frameworks.weight_files.state_dict_names import significant, state_dict_name
from tests.third_parties.torchvision_nets import COUNTERS, model, torchvision

BATCH = 2
# The weights of the auxiliary classifiers in the loss: Szegedy et al. 2014, section 5; for Inception v3, those of
# TensorFlow's slim, which trained the weights that torchvision publishes.
HEADS = {"googlenet_aux": (0.3, 0.3), "inception_v3_aux": (0.4,)}
# A gradient whose norm is at most this fraction of the largest of the network is rounding.
ZERO = 1e-12


@dataclass
class Results:
    """What one network computes."""

    train: list[Tensor]
    eval: list[Tensor]
    loss: float
    gradients: Weights


class UpdatingPyTorch(PyTorch):
    """The adapter, except that computing gradients updates the running statistics, as in torchvision's networks."""

    @contextmanager
    def _buffers_restored(self) -> Iterator[None]:
        yield


def differences(theirs: str, ours: str, side: int) -> dict[str, object]:
    network = NETWORKS[ours]().with_input((3, side, side))
    weights = drawn(network)
    stream = np.random.default_rng(2)
    images, labels = stream.normal(size=(BATCH, *network.input)), stream.integers(network.classes, size=BATCH)
    given = of_adapter(network, weights, images, labels)
    expected = of_torchvision(theirs, network, weights, images, labels)
    return {
        "train": _logits_apart(given.train, expected.train),
        "eval": _logits_apart(given.eval, expected.eval),
        "loss": abs(given.loss - expected.loss) / abs(expected.loss),
        "gradients": _gradients_apart(given.gradients, expected.gradients),
    }


def of_adapter(network: Network, weights: Weights, images: Array, labels: Array) -> Results:
    """Results of the spec's network."""
    adapter = UpdatingPyTorch(network, Training(), Setting(precision="float64", threads=1))
    adapter.set_weights(weights)
    for module in adapter.net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(module, StochasticDepth):
            module.remain = 1.0
    train: list[Tensor] = []
    hook = adapter.net.register_forward_hook(lambda module, inputs, output: train.append(output.detach()))
    loss, gradients = adapter.gradients(images, labels)
    hook.remove()
    train += [head.logits.detach() for head in adapter.heads]
    with torch.no_grad():
        return Results(train, [adapter.net.eval()(torch.from_numpy(images))], loss, gradients)


def of_torchvision(name: str, network: Network, weights: Weights, images: Array, labels: Array) -> Results:
    """Results of torchvision's network. The gradients have the names and shapes of the spec's arrays."""
    net = holding(model(name), network, weights)
    for module in net.modules():
        if isinstance(module, (nn.Dropout, torchvision.ops.StochasticDepth)):
            module.p = 0.0
        elif isinstance(module, nn.Hardsigmoid):  # whose gradient in PyTorch has a 1/6 in float32, which is off by 5e-8
            module.forward = lambda x: F.relu6(x + 3) / 6
    x, targets = torch.from_numpy(images).requires_grad_(), torch.from_numpy(labels)
    main, *heads = _in_order(net.train()(x))
    loss = F.cross_entropy(main, targets)
    for weight, logits in zip(HEADS.get(name, ()), heads, strict=True):
        loss = loss + weight * F.cross_entropy(logits, targets)
    arrays = {**dict(net.named_parameters()), "input": x}
    computed = dict(zip(arrays, torch.autograd.grad(loss, list(arrays.values()))))
    gradients = {"input": computed.pop("input").numpy()}
    for _, node in network.walk():
        for parameter in node.parameters:
            if parameter.trainable:
                gradient = computed.pop(state_dict_name(node, parameter))
                gradients[parameter.name] = gradient.numpy().reshape(parameter.shape)
    if computed:
        raise RuntimeError(f"{network.name} does not train {', '.join(computed)}")
    with torch.no_grad():
        evaluated = net.eval()(x)
    return Results([each.detach() for each in (main, *heads)], [evaluated], loss.item(), gradients)


def _logits_apart(given: list[Tensor], expected: list[Tensor]) -> list[float]:
    pairs = zip(given, expected, strict=True)
    return [((own - other).abs().max() / other.abs().max()).item() for own, other in pairs]


def _gradients_apart(given: Weights, expected: Weights) -> dict[str, float | None]:
    """Overwrites the given gradients: VGG's take a gigabyte."""
    if given.keys() != expected.keys():
        raise RuntimeError(f"only one network has gradients by {', '.join(given.keys() ^ expected.keys())}")
    norms = {name: (_norm(given[name]), _norm(array)) for name, array in expected.items()}
    rounding = ZERO * max(theirs for _, theirs in norms.values())
    return {
        name: None
        if max(norms[name]) <= rounding
        else _norm(np.subtract(given[name], array, out=given[name])) / norms[name][1]
        for name, array in expected.items()
    }


def _norm(array: Array) -> float:
    return float(np.linalg.norm(array))


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
