"""The primitives of a network in PyTorch: a table of builders."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frameworks import spec
from frameworks.adapter import Builder
from frameworks.arrays import Array
from frameworks.spec import Layer, Node, lowering, pair, sides
from frameworks.spec.lowering import leading

# Above it, softplus(x) is x: log(1 + exp(-40)) is 4e-18.
SOFTPLUS_LINEAR = 40.0

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
        self.bias = nn.Parameter(torch.empty(node.input[0])) if layer.beta else None
        self.shape = by_channel(node)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.view(self.shape)
        return x * weight if self.bias is None else torch.addcmul(self.bias.view(self.shape), x, weight)


class LayerNorm(nn.Module):
    """Over the channels of each pixel; channels are last in memory, so the transpositions move nothing."""

    def __init__(self, node: Node, layer: spec.LayerNorm) -> None:
        super().__init__()
        channels = node.input[0]
        self.shape, self.eps = (channels,), layer.eps
        self.weight = nn.Parameter(torch.empty(channels)) if layer.gamma else None
        self.bias = nn.Parameter(torch.empty(channels)) if layer.beta else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.movedim(1, -1), self.shape, self.weight, self.bias, self.eps).movedim(-1, 1)


class GroupNorm(nn.Module):
    """`nn.GroupNorm` with gamma and beta apart."""

    def __init__(self, node: Node, layer: spec.GroupNorm) -> None:
        super().__init__()
        channels = node.input[0]
        self.groups, self.eps, self.shape = layer.groups, layer.eps, by_channel(node)
        self.weight = nn.Parameter(torch.empty(channels)) if layer.gamma else None
        self.bias = nn.Parameter(torch.empty(channels)) if layer.beta else None

    def forward(self, x: Tensor) -> Tensor:
        if not x.requires_grad:  # PyTorch 2.13 ends the process in the backward pass, if channels are last in memory
            x = x.contiguous()
        if self.weight is None and self.bias is not None:  # of which the backward pass fails
            return F.group_norm(x, self.groups, eps=self.eps) + self.bias.view(self.shape)
        return F.group_norm(x, self.groups, self.weight, self.bias, self.eps)


class LocalResponseNorm(nn.LocalResponseNorm):
    """At least in float32: autocast leaves the squares in float16, which ends at 65504."""

    def __init__(self, node: Node, layer: spec.LocalResponseNorm) -> None:
        super().__init__(layer.size, layer.alpha, layer.beta, layer.k)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(torch.promote_types(x.dtype, torch.float32)))


class PReLU(nn.Module):
    def __init__(self, node: Node, layer: spec.PReLU) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.empty(node.input[0]))

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.slope)


class StochasticDepth(nn.Module):
    """Drops whole images."""

    def __init__(self, node: Node, layer: spec.StochasticDepth) -> None:
        super().__init__()
        self.remain = 1 - layer.rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.remain == 1:
            return x
        mask = torch.empty((len(x), *[1] * (x.dim() - 1)), dtype=x.dtype, device=x.device).bernoulli_(self.remain)
        return x * (mask / self.remain)


class Concat(nn.Module):
    def __init__(self, node: Node, layer: spec.Concat, *chains: nn.Module) -> None:
        super().__init__()
        self.chains = nn.ModuleList(chains)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([chain(x) for chain in self.chains], dim=1)


class Elementwise(nn.Module):
    """The chains' outputs, combined two by two."""

    def __init__(self, combine: Callable[[Tensor, Tensor], Tensor], *chains: nn.Module) -> None:
        super().__init__()
        self.combine, self.chains = combine, nn.ModuleList(chains)

    def forward(self, x: Tensor) -> Tensor:
        return reduce(self.combine, [chain(x) for chain in self.chains])


class Auxiliary(nn.Module):
    """Keeps its head's logits for the loss; its input passes on."""

    def __init__(self, node: Node, layer: spec.Auxiliary, head: nn.Module) -> None:
        super().__init__()
        self.head, self.weight = head, layer.weight
        self.logits: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.logits = self.head(x) if self.training else None
        return x


def pad(node: Node, layer: spec.Pad) -> nn.Module:
    (top, bottom), (left, right) = sides(layer.padding)
    return nn.ConstantPad2d((left, right, top, bottom), layer.value)


def conv(node: Node, layer: spec.Conv) -> nn.Module:
    window = pair(layer.kernel), pair(layer.stride), leading(layer), pair(layer.dilation)
    return nn.Conv2d(node.input[0], layer.channels, *window, groups=layer.groups, bias=layer.bias)


def max_pool(node: Node, layer: spec.MaxPool) -> nn.Module:
    return nn.MaxPool2d(pair(layer.kernel), pair(layer.stride), leading(layer), pair(layer.dilation))


def hard_sigmoid(node: Node, layer: spec.HardSigmoid) -> nn.Module:
    """By ReLU6: the gradient of `nn.Hardsigmoid` has a 1/6 in float32, that of clamp is 1 at both ends."""
    return Function(lambda x: F.relu6(6 * layer.slope * x + 3) / 6)


def select(node: Node, layer: spec.Select) -> nn.Module:
    zeros = node.input[0]  # the number of a channel of zeros after all others
    maps = np.array([zeros if number is None else number for number in layer.maps])
    if zeros in maps:
        return Function(lambda x, maps: F.pad(x, [0, 0] * (x.dim() - 2) + [0, 1]).index_select(1, maps), maps)
    return Function(lambda x, maps: x.index_select(1, maps), maps)


def multiply(node: Node, layer: lowering.ConstantMultiply) -> nn.Module:
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
    spec.Pad: pad,
    spec.Conv: conv,
    spec.MaxPool: max_pool,
    spec.AvgPool: lambda node, layer: nn.AvgPool2d(pair(layer.kernel), pair(layer.stride), leading(layer)),
    spec.GlobalAvgPool: lambda node, layer: Function(lambda x: x.mean((2, 3), keepdim=True)),
    spec.Dense: lambda node, layer: nn.Linear(node.input[0], layer.units, bias=layer.bias),
    spec.BatchNorm: BatchNorm,
    spec.LayerNorm: LayerNorm,
    spec.GroupNorm: GroupNorm,
    spec.Affine: Affine,
    lowering.ConstantAffine: constant_affine,
    spec.LocalResponseNorm: LocalResponseNorm,
    spec.Dropout: lambda node, layer: nn.Dropout(layer.rate),
    spec.StochasticDepth: StochasticDepth,
    spec.ReLU: lambda node, layer: nn.ReLU(),
    spec.ReLU6: lambda node, layer: nn.ReLU6(),
    spec.LeakyReLU: lambda node, layer: nn.LeakyReLU(layer.slope),
    spec.PReLU: PReLU,
    spec.ELU: lambda node, layer: nn.ELU(layer.alpha),
    spec.SELU: lambda node, layer: nn.SELU(),
    spec.Sigmoid: lambda node, layer: nn.Sigmoid(),
    spec.HardSigmoid: hard_sigmoid,
    spec.Tanh: lambda node, layer: nn.Tanh(),
    spec.SiLU: lambda node, layer: nn.SiLU(),
    spec.HardSwish: lambda node, layer: nn.Hardswish(),
    spec.GELU: lambda node, layer: nn.GELU("tanh" if layer.approximate else "none"),
    spec.Softplus: lambda node, layer: nn.Softplus(threshold=SOFTPLUS_LINEAR),
    spec.Mish: lambda node, layer: nn.Mish(),
    spec.Flatten: lambda node, layer: nn.Flatten(),
    lowering.ConstantMultiply: multiply,
    lowering.Interpolate: lambda node, layer: Function(
        lambda x, rows, columns: rows @ x @ columns.T, layer.rows, layer.columns
    ),
    spec.Select: select,
    spec.Concat: Concat,
    spec.Add: lambda node, layer, *chains: Elementwise(torch.add, *chains),
    spec.Multiply: lambda node, layer, *chains: Elementwise(torch.mul, *chains),
    spec.Auxiliary: Auxiliary,
}
