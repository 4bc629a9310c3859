"""The primitives of a network in PyTorch: a table of builders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frameworks import spec
from frameworks.adapter import Builder
from frameworks.arrays import Array
from frameworks.spec import Layer, Node, lowering, pair
from frameworks.spec.lowering import leading

# --- layers -----------------------------------------------------------------------------------------------------------


class Function(nn.Module):
    """A layer without trained arrays: `function(x, *constants)`, the constants moving with the module."""

    def __init__(self, function: Callable[..., Tensor], *constants: Array) -> None:
        super().__init__()
        self.function = function
        for number, constant in enumerate(constants):
            self.register_buffer(str(number), torch.from_numpy(constant), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.buffers())


class BatchNorm(nn.Module):
    """`nn.BatchNorm1d` and `2d` in one, with gamma and beta apart and no count of batches."""

    def __init__(self, node: Node, layer: spec.BatchNorm) -> None:
        super().__init__()
        channels = node.input[0]
        self.options = {"momentum": layer.momentum, "eps": layer.eps}
        self.weight = nn.Parameter(torch.empty(channels)) if layer.gamma else None
        self.bias = nn.Parameter(torch.empty(channels)) if layer.beta else None
        self.register_buffer("running_mean", torch.empty(channels))
        self.register_buffer("running_var", torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        running = self.running_mean, self.running_var
        return F.batch_norm(x, *running, self.weight, self.bias, self.training, **self.options)


class Affine(nn.Module):
    def __init__(self, node: Node, layer: spec.Affine) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(node.input[0]))
        self.bias = nn.Parameter(torch.empty(node.input[0]))
        self.shape = by_channel(node)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias.view(self.shape), x, self.weight.view(self.shape))


class Concat(nn.Module):
    def __init__(self, node: Node, layer: spec.Concat, *chains: nn.Module) -> None:
        super().__init__()
        self.chains = nn.ModuleList(chains)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([chain(x) for chain in self.chains], dim=1)


class Residual(nn.Module):
    def __init__(self, node: Node, layer: spec.Residual, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class Auxiliary(nn.Module):
    """Keeps its head's logits for the loss; its input passes on."""

    def __init__(self, node: Node, layer: spec.Auxiliary, head: nn.Module) -> None:
        super().__init__()
        self.head, self.weight = head, layer.weight
        self.logits: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.logits = self.head(x) if self.training else None
        return x


def pad(node: Node, layer: lowering.Pad) -> nn.Module:
    (top, bottom), (left, right) = layer.padding
    return nn.ConstantPad2d((left, right, top, bottom), layer.value)


def conv(node: Node, layer: spec.Conv) -> nn.Module:
    window = pair(layer.kernel), pair(layer.stride), leading(layer)
    return nn.Conv2d(node.input[0], layer.channels, *window, groups=layer.groups, bias=layer.bias)


def multiply(node: Node, layer: lowering.Multiply) -> nn.Module:
    if isinstance(layer.factor, float):
        return Function(lambda x: layer.factor * x)
    return Function(torch.mul, layer.factor)


def constant_affine(node: Node, layer: lowering.ConstantAffine) -> nn.Module:
    gamma, beta = (values.reshape(by_channel(node)) for values in (layer.gamma, layer.beta))
    return Function(lambda x, gamma, beta: torch.addcmul(beta, x, gamma), gamma, beta)


def by_channel(node: Node) -> tuple[int, ...]:
    """The shape in which one value for each channel is combined with a batch."""
    return (-1, *[1] * (len(node.input) - 1))


# The module of each primitive, of its node, its layer and the modules of its branches.
LAYERS: dict[type[Layer], Builder] = {
    lowering.Pad: pad,
    spec.Conv: conv,
    spec.MaxPool: lambda node, layer: nn.MaxPool2d(pair(layer.kernel), pair(layer.stride), leading(layer)),
    spec.AvgPool: lambda node, layer: nn.AvgPool2d(pair(layer.kernel), pair(layer.stride), leading(layer)),
    spec.GlobalAvgPool: lambda node, layer: Function(lambda x: x.mean((2, 3), keepdim=True)),
    spec.Dense: lambda node, layer: nn.Linear(node.input[0], layer.units, bias=layer.bias),
    spec.BatchNorm: BatchNorm,
    spec.Affine: Affine,
    lowering.ConstantAffine: constant_affine,
    spec.LocalResponseNorm: lambda node, layer: nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k),
    spec.Dropout: lambda node, layer: nn.Dropout(layer.rate),
    spec.ReLU: lambda node, layer: nn.ReLU(),
    spec.Sigmoid: lambda node, layer: nn.Sigmoid(),
    spec.Tanh: lambda node, layer: nn.Tanh(),
    spec.Flatten: lambda node, layer: nn.Flatten(),
    lowering.Multiply: multiply,
    lowering.Interpolate: lambda node, layer: Function(
        lambda x, rows, columns: rows @ x @ columns.T, layer.rows, layer.columns
    ),
    spec.Select: lambda node, layer: Function(lambda x, maps: x.index_select(1, maps), np.array(layer.maps)),
    spec.Concat: Concat,
    spec.Residual: Residual,
    spec.Auxiliary: Auxiliary,
}
