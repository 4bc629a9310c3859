"""What a network is: layers, and the network that they form. Shapes, parameters and multiply-adds are computed.

Standard library only. Shapes are channels x height x width of one picture: (1, 28, 28); after `Flatten`, (400,).
Padding is explicit, in zeros (minus infinity under a maximum): one number, (vertical, horizontal), or
((top, bottom), (left, right)). Where a paper prints a layer's output, `out=` gives it and it is checked:

>>> Network("lenet", (1, 28, 28), [Conv("C1", 6, 5, out=(6, 28, 28))])
Traceback (most recent call last):
frameworks.spec.SpecError: lenet.C1: 1x28x28 gives 6x24x24, the paper says 6x28x28
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from math import prod
from typing import Any, TypeAlias

from frameworks.errors import OnespecError

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = "int | tuple[int, int]"  # both ways, or (vertical, horizontal)
Sides: TypeAlias = tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))
Padding: TypeAlias = "Pair | Sides"


class SpecError(OnespecError, ValueError):
    """A description that cannot be built, in one line: network, layer, what was found and what was expected."""


class _TooSmall(SpecError):
    """A window does not fit: the one error that a larger input mends."""


def times(shape: Shape) -> str:
    """A shape as papers write it: 6x28x28."""
    return "x".join(map(str, shape))


def pair(value: Pair) -> tuple[int, int]:
    """(vertical, horizontal) of a number given once for both."""
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def sides(padding: Padding) -> Sides:
    """((top, bottom), (left, right)) of a padding in any of its forms."""
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    vertical, horizontal = padding
    return (pair(vertical), pair(horizontal))


@dataclass(frozen=True)
class Parameter:
    """An array of a layer in canonical layout: convolution out,in/groups,kh,kw; dense out,in; vectors by channel."""

    name: str
    shape: Shape
    role: str  # weight, bias, gamma, beta, running_mean or running_var

    @property
    def trainable(self) -> bool:
        return not self.role.startswith("running_")

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def fans(self) -> tuple[int, int]:
        """(fan in, fan out) of a weight: connections into one output and out of one input (Glorot and Bengio 2010)."""
        outputs, inputs, *kernel = self.shape
        return inputs * prod(kernel), outputs * prod(kernel)


# --- layers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """One row of a paper's table. A layer without a name is called after the named one before it: C1, then C1_relu."""

    name: str
    out: Shape | None = field(default=None, kw_only=True)

    @property
    def kind(self) -> str:
        return type(self).__name__

    def output(self, shape: Shape) -> Shape:
        """The output's shape for this input's; `SpecError` where the layer cannot take it."""
        return shape

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        """Shapes of the layer's arrays for this input, by role, in the order in which they are counted and stored."""
        return {}

    def macs(self, shape: Shape) -> int:
        """Multiply-adds of convolutions and dense layers for one picture; the bias is not counted."""
        return 0

    def resolved(self, shape: Shape) -> Layer:
        """The same layer with nothing left to a framework's own idea: see `MaxPool`."""
        return self

    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        """The chains of layers inside, where there are any."""
        return ()


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution (cross-correlation, as every framework computes it): y[o] = b[o] + sum over i of w[o, i] * x[i]."""

    channels: int
    kernel: Pair
    stride: Pair = 1
    padding: Padding = 0
    groups: int = 1
    bias: bool = True

    def output(self, shape: Shape) -> Shape:
        maps = _maps(self, shape)
        if maps % self.groups or self.channels % self.groups:
            raise SpecError(f"{maps} and {self.channels} channels do not divide into {self.groups} groups")
        return (self.channels, *_windows(shape, self.kernel, self.stride, sides(self.padding)))

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        weight = (self.channels, shape[0] // self.groups, *pair(self.kernel))
        return {"weight": weight} | ({"bias": (self.channels,)} if self.bias else {})

    def macs(self, shape: Shape) -> int:
        return prod(self.output(shape)) * prod(self.parameters(shape)["weight"][1:])


@dataclass(frozen=True)
class _Pool(Layer):
    kernel: Pair
    stride: Pair
    padding: Padding = 0

    def output(self, shape: Shape) -> Shape:
        if any(side >= window for around, window in zip(sides(self.padding), pair(self.kernel)) for side in around):
            raise SpecError(f"padding {self.padding} fills a whole {times(pair(self.kernel))} window; less is needed")
        return (_maps(self, shape), *_windows(shape, self.kernel, self.stride, sides(self.padding)))


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest value of each window; the padding is minus infinity.

    `ceil=True` rounds the number of windows up, as Caffe does and `torch.nn.MaxPool2d(ceil_mode=True)`; it is
    resolved into padding at the bottom and the right, so no framework's own rule is used.
    """

    ceil: bool = False

    def output(self, shape: Shape) -> Shape:
        return super().output(shape) if not self.ceil else self.resolved(shape).output(shape)

    def resolved(self, shape: Shape) -> MaxPool:
        if not self.ceil:
            return self
        _maps(self, shape)
        ways = zip(shape[1:], pair(self.kernel), pair(self.stride), sides(self.padding))
        vertical, horizontal = (_ceil_sides(*way) for way in ways)
        return replace(self, padding=(vertical, horizontal), ceil=False)


def _ceil_sides(size: int, kernel: int, stride: int, around: tuple[int, int]) -> tuple[int, int]:
    """Padding for the rounded-up number of windows; none may start beyond the picture and its first padding."""
    before, after = around
    windows = -(-(size + before + after - kernel) // stride) + 1
    if (windows - 1) * stride >= size + before:
        windows -= 1
    return before, max(after, (windows - 1) * stride + kernel - size - before)


@dataclass(frozen=True)
class AvgPool(_Pool):
    """The mean of each window; padded zeros count (divisor kh * kw), or with `count_padding=False` do not."""

    count_padding: bool = True


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """The mean of each channel: C x H x W gives C x 1 x 1."""

    name: str = ""

    def output(self, shape: Shape) -> Shape:
        return (_maps(self, shape), 1, 1)


@dataclass(frozen=True)
class Dense(Layer):
    """y = W x + b on a flat input."""

    units: int
    bias: bool = True

    def output(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise SpecError(f"a dense layer takes a flat input, not {times(shape)}; put Flatten() before it")
        return (self.units,)

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"weight": (self.units, shape[0])} | ({"bias": (self.units,)} if self.bias else {})

    def macs(self, shape: Shape) -> int:
        return self.units * shape[0]


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation (Ioffe and Szegedy 2015): gamma (x - mean) / sqrt(variance + eps) + beta, by channel.

    Training uses the batch's mean and biased variance, and moves the running ones towards them:
    r = (1 - momentum) r + momentum * batch's.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    gamma: bool = True
    beta: bool = True

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        roles = ["gamma"] * self.gamma + ["beta"] * self.beta + ["running_mean", "running_var"]
        return {role: (shape[0],) for role in roles}


@dataclass(frozen=True)
class Affine(Layer):
    """gamma[c] x[c] + beta[c]: one trained coefficient and bias a channel, as in LeNet-5's sub-sampling (1998)."""

    def parameters(self, shape: Shape) -> dict[str, Shape]:
        return {"gamma": (shape[0],), "beta": (shape[0],)}


@dataclass(frozen=True)
class LocalResponseNorm(Layer):
    """y[c] = x[c] / (k + alpha / size * sum of x[j]^2)^beta over j from c - size // 2 to c + (size - 1) // 2.

    Krizhevsky et al. 2012, section 3.3, has alpha undivided: its alpha of 1e-4 at size 5 is 5e-4 here.
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def output(self, shape: Shape) -> Shape:
        return (_maps(self, shape), *shape[1:])


@dataclass(frozen=True)
class Dropout(Layer):
    """In training each value is 0 with probability `rate`, else divided by 1 - rate; in evaluation unchanged."""

    name: str = ""
    rate: float = field(default=0.5, kw_only=True)

    def output(self, shape: Shape) -> Shape:
        if not 0 <= self.rate < 1:
            raise SpecError(f"rate is {self.rate}; it is the share that is dropped, 0 <= rate < 1")
        return shape


@dataclass(frozen=True)
class ReLU(Layer):
    """max(x, 0); its derivative at 0 is 0."""

    name: str = ""


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    name: str = ""


@dataclass(frozen=True)
class Tanh(Layer):
    """amplitude * tanh(slope * x); LeCun et al. 1998 has 1.7159 and 2/3."""

    name: str = ""
    amplitude: float = field(default=1.0, kw_only=True)
    slope: float = field(default=1.0, kw_only=True)


@dataclass(frozen=True)
class Flatten(Layer):
    """C x H x W gives C*H*W values in that order."""

    name: str = ""

    def output(self, shape: Shape) -> Shape:
        return (prod(shape),)


@dataclass(frozen=True)
class Scale(Layer):
    """factor * x: 1 / 255 brings pixels to 0..1."""

    name: str = ""
    factor: float = field(default=1 / 255, kw_only=True)


@dataclass(frozen=True)
class Normalize(Layer):
    """(x - mean[c]) / std[c] by channel; one value serves all channels."""

    name: str = ""
    mean: tuple[float, ...] = field(default=(0.0,), kw_only=True)
    std: tuple[float, ...] = field(default=(1.0,), kw_only=True)

    def output(self, shape: Shape) -> Shape:
        for values in (self.mean, self.std):
            if len(values) not in (1, shape[0]):
                raise SpecError(f"{len(values)} values for {shape[0]} channels")
        return shape


@dataclass(frozen=True)
class Resize(Layer):
    """Linear interpolation to height x width, pixel centres at (i + 1/2) / size, no smoothing when it shrinks."""

    height: int
    width: int

    def output(self, shape: Shape) -> Shape:
        return (_maps(self, shape), self.height, self.width)


@dataclass(frozen=True)
class Select(Layer):
    """Some of the channels, in the order given: LeNet-5's C3 sees three, four or six of its input's maps."""

    maps: tuple[int, ...]

    def output(self, shape: Shape) -> Shape:
        if not all(0 <= number < shape[0] for number in self.maps):
            raise SpecError(f"maps {', '.join(map(str, self.maps))} of an input with {shape[0]}, counted from 0")
        return (len(self.maps), *shape[1:])


@dataclass(frozen=True)
class Concat(Layer):
    """The outputs of several chains on the same input, joined by channel."""

    chains: Sequence[Sequence[Layer]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "chains", tuple(tuple(chain) for chain in self.chains))

    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        return tuple(tuple(chain) for chain in self.chains)


@dataclass(frozen=True)
class Residual(Layer):
    """body(x) + shortcut(x); an empty shortcut is the input itself (He et al. 2015)."""

    body: Sequence[Layer]
    shortcut: Sequence[Layer] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "body", tuple(self.body))
        object.__setattr__(self, "shortcut", tuple(self.shortcut))

    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        return tuple(self.body), tuple(self.shortcut)


@dataclass(frozen=True)
class Auxiliary(Layer):
    """A classifier beside the main one: its loss, times `weight`, is added in training; in evaluation it is absent.

    The input passes on unchanged (Szegedy et al. 2014, section 5).
    """

    head: Sequence[Layer]
    weight: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "head", tuple(self.head))

    def branches(self) -> tuple[tuple[Layer, ...], ...]:
        return (tuple(self.head),)


def _maps(layer: Layer, shape: Shape) -> int:
    """Channels of an input that must have height and width."""
    if len(shape) != 3:
        raise SpecError(f"{layer.kind} takes channels x height x width, not {times(shape)}")
    return shape[0]


def _windows(shape: Shape, kernel: Pair, stride: Pair, padding: Sides) -> Shape:
    """Rows and columns of windows: floor((size + padding - kernel) / stride) + 1 (Dumoulin and Visin 2016)."""
    ways = zip(shape[1:], padding, pair(kernel), pair(stride))
    return tuple(max(0, (size + sum(around) - window) // step + 1) for size, around, window, step in ways)


# --- network ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A layer in its place: its full name, the shapes around it, its arrays, and the chains of nodes inside it."""

    path: str
    layer: Layer
    input: Shape
    output: Shape
    parameters: tuple[Parameter, ...]
    macs: int
    branches: tuple[tuple[Node, ...], ...] = ()

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Node]]:
        """This node and all inside it with their depth, in reading order."""
        yield depth, self
        for branch in self.branches:
            for node in branch:
                yield from node.walk(depth + 1)

    def parameter(self, role: str) -> Parameter:
        """The node's own array of this role; `KeyError` where it has none."""
        for parameter in self.parameters:
            if parameter.role == role:
                return parameter
        raise KeyError(f"{self.path} has no {role}")


@dataclass(frozen=True)
class Network:
    """A name, the input's shape and the layers; what they need and give is computed when it is made.

    departures: where the built net leaves its paper, in words. source: the paper. SpecError: a row that cannot be.
    """

    name: str
    input: Shape
    layers: Sequence[Layer]
    departures: tuple[str, ...] = ()
    source: str = ""
    as_printed: bool = True  # `out=` is checked; off where the input is another than the paper's

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "input", tuple(self.input))
        if not self.layers:
            raise SpecError(f"{self.name}: no layers")
        if not self.input or min(self.input) < 1:
            raise SpecError(f"{self.name}: the input is {times(self.input)}; every size is at least 1")
        self.nodes  # noqa: B018  a wrong row fails now, not where it is used

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The layers in their places, as a tree."""
        try:
            return _chain(self, self.layers, self.input)
        except _TooSmall as error:
            raise SpecError(f"{error}{_smallest(self)}") from None

    def walk(self) -> Iterator[tuple[int, Node]]:
        """(depth, node) of every layer, in reading order."""
        for node in self.nodes:
            yield from node.walk()

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every array, trained and running, in reading order."""
        return tuple(parameter for _, node in self.walk() for parameter in node.parameters)

    @property
    def output(self) -> Shape:
        return self.nodes[-1].output

    @property
    def classes(self) -> int:
        return self.output[0]

    @cached_property
    def heads(self) -> tuple[Node, ...]:
        """The auxiliary classifiers, in reading order."""
        return tuple(node for _, node in self.walk() if isinstance(node.layer, Auxiliary))

    @property
    def params(self) -> int:
        """Number of trained values: the count that papers print."""
        return sum(parameter.size for parameter in self.parameters if parameter.trainable)

    @property
    def buffers(self) -> int:
        """Number of values that training updates without a gradient: batch norm's running means and variances."""
        return sum(parameter.size for parameter in self.parameters if not parameter.trainable)

    @property
    def macs(self) -> int:
        """Multiply-adds of one picture's forward pass in evaluation, auxiliary classifiers left out."""
        return sum(node.macs for top in self.nodes for _, node in _evaluated(top))

    def training_bytes(self, batch_size: int, slots: int = 0, itemsize: int = 4) -> int:
        """About what training takes beside the framework itself: an estimate to refuse by, not a figure to report.

        Every trained value with its gradient and the optimiser's `slots`, and every layer's output with its gradient.
        Workspaces are left out, and so is what a framework saves by computing in place: the two are of one size.
        """
        outputs = sum(prod(node.output) for _, node in self.walk() if not node.branches)
        values = self.params * (2 + slots) + self.buffers + 2 * batch_size * (outputs + prod(self.input))
        return values * itemsize

    def with_input(self, shape: Shape) -> Network:
        """The same layers on another input, where what the paper prints no longer holds and is not checked."""
        return self if shape == self.input else replace(self, input=shape, as_printed=False)

    def after(self, *layers: Layer, input: Shape) -> Network:
        """The same network behind other layers (`Scale`, `Resize`, ...) that take `input` and give what it takes."""
        return replace(self, input=input, layers=(*layers, *self.layers))

    @property
    def sha256(self) -> str:
        """The description's identity: the digest of its JSON, less departures and source, which are words."""
        return hashlib.sha256(json.dumps(to_json(replace(self, departures=(), source=""))).encode()).hexdigest()


def _evaluated(node: Node) -> Iterator[tuple[int, Node]]:
    if not isinstance(node.layer, Auxiliary):
        yield 0, node
        for branch in node.branches:
            for inner in branch:
                yield from _evaluated(inner)


def _chain(
    network: Network, layers: Sequence[Layer], shape: Shape, prefix: str = "", taken: set[str] | None = None
) -> tuple[Node, ...]:
    """Place the layers one after the other, naming the nameless; `taken` holds the paths already given."""
    taken = set() if taken is None else taken
    nodes: list[Node] = []
    last = prefix
    for layer in layers:
        if layer.name:
            path, last = prefix + layer.name, prefix + layer.name + "_"
        else:
            path = _free(last + layer.kind.lower(), taken)
        if path in taken:
            raise SpecError(f"{network.name}.{path}: two layers have this name")
        taken.add(path)
        inside = path + "." if layer.name else prefix  # a nameless layer adds nothing to the names in it
        nodes.append(_place(network, layer, shape, path, inside, taken))
        shape = nodes[-1].output
    return tuple(nodes)


def _free(stem: str, taken: set[str]) -> str:
    """The stem, or the stem and the first number from 2 on that makes it new."""
    path, number = stem, 2
    while path in taken:
        path, number = f"{stem}{number}", number + 1
    return path


def _place(network: Network, layer: Layer, shape: Shape, path: str, inside: str, taken: set[str]) -> Node:
    where = f"{network.name}.{path}"
    branches = tuple(_chain(network, chain, shape, inside, taken) for chain in layer.branches())
    try:
        _positive(layer)
        output = _joined(layer, shape, branches) if branches else layer.output(shape)
        arrays = layer.parameters(shape)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None
    if min(output) < 1:
        raise _TooSmall(f"{where}: {times(output[1:])} output for input {times(network.input)}")
    if network.as_printed and layer.out is not None and layer.out != output:
        raise SpecError(f"{where}: {times(shape)} gives {times(output)}, the paper says {times(layer.out)}")
    parameters = tuple(Parameter(f"{path}.{role}", size, role) for role, size in arrays.items())
    return Node(path, layer.resolved(shape), shape, output, parameters, layer.macs(shape), branches)


def _positive(layer: Layer) -> None:
    """Counts and sizes are at least 1; a stride of 0 would divide by it."""
    for name in ("channels", "kernel", "stride", "groups", "units", "size", "height", "width"):
        value = getattr(layer, name, 1)
        if min(value if isinstance(value, tuple) else (value,)) < 1:
            raise SpecError(f"{name} is {value}; it is at least 1")


def _joined(layer: Layer, shape: Shape, branches: tuple[tuple[Node, ...], ...]) -> Shape:
    """What a layer with chains inside gives: channels side by side, a sum, or its own input."""
    ends = [branch[-1].output if branch else shape for branch in branches]
    if isinstance(layer, Auxiliary):
        return shape
    if isinstance(layer, Residual):
        if ends[0] != ends[1]:
            raise SpecError(f"the body gives {times(ends[0])}, the shortcut {times(ends[1])}")
        return ends[0]
    if len({end[1:] for end in ends}) > 1:
        raise SpecError(f"branches give {', '.join(map(times, ends))}: heights and widths differ")
    return (sum(end[0] for end in ends), *ends[0][1:])


def _smallest(network: Network) -> str:
    """The remedy for an input that is too small: the smallest square one."""
    channels, *size = network.input
    unchecked = copy(network)
    object.__setattr__(unchecked, "as_printed", False)

    def error(side: int) -> type[SpecError] | None:
        try:
            _chain(unchecked, network.layers, (channels, side, side))
        except SpecError as raised:
            return type(raised)
        return None

    sides = range(min(size) + 1, 1025)
    large_enough = bisect_left(sides, True, key=lambda side: error(side) is not _TooSmall)
    for side in sides[large_enough:]:  # branches may not fit together at every size
        if error(side) is None:
            return f"; the smallest input is {channels}x{side}x{side}"
    return ""


# --- as JSON ----------------------------------------------------------------------------------------------------------


def to_json(thing: Any) -> Any:
    """A network or layer as lists and dictionaries, `kind` naming the class; defaults are left out."""
    if isinstance(thing, (Layer, Network)):
        given = {item.name: getattr(thing, item.name) for item in fields(thing)}
        defaults = {item.name: item.default for item in fields(thing)}
        told = {name: to_json(value) for name, value in given.items() if value != defaults[name]}
        return {"kind": type(thing).__name__, **told}
    if isinstance(thing, (tuple, list)):
        return [to_json(item) for item in thing]
    return thing


def from_json(thing: Any) -> Any:
    """The inverse of `to_json`; SpecError for a kind that is none."""
    if isinstance(thing, dict):
        given = {name: from_json(value) for name, value in thing.items() if name != "kind"}
        classes: list[type] = [Network, *Layer.__subclasses__(), *_Pool.__subclasses__()]
        kinds = {kind.__name__: kind for kind in classes if kind is not _Pool}
        if thing.get("kind") not in kinds:
            raise SpecError(f"no layer kind {thing.get('kind')!r}; there are {', '.join(sorted(kinds))}")
        return kinds[thing["kind"]](**given)
    if isinstance(thing, list):
        return tuple(from_json(item) for item in thing)
    return thing
