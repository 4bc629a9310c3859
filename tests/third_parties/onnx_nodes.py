"""ONNX' tests of single operators as layers of the spec, from the definitions in ONNX' operator specification.

`mapped` translates a test, or raises `Unmapped` with the reason. The axes of ONNX' data become images, channels and
pixels in the way that the operator allows: a function of one value takes any axes; an operator along some axes has
these as channels or as pixels and the others as images. So one layer takes the data of operators with any number of
axes, and the values are never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from math import ceil, floor, prod
from typing import Any, TypeAlias

import numpy as np

from frameworks import spec
from frameworks.arrays import Array
from frameworks.spec import Layer, Shape
from tests.third_parties.onnx_cases import ABSENT, EMPTY, Mapped, NodeTest, Unmapped, node_tests, real

Translation: TypeAlias = Callable[[NodeTest], Mapped]

THREE_DIMENSIONAL = "three-dimensional windows"
EXPANDED = "the definition of an operator by others; its data are those of the test of the operator"
SEVERAL = "a graph of several operators"
MOST_MAPS = 1000  # MXNet 1.9.1 fails to join 40,000 channels that it takes one by one
NEGATED = spec.Scale(factor=-1.0)
ABSOLUTE = spec.LeakyReLU(slope=-1.0)  # x above 0, else -x

# --- functions of one value -------------------------------------------------------------------------------------------


def image(x: Array) -> Array:
    """The same values as N x C x H x W: sizes of 1 in front where axes are missing; axes from the fourth on are W."""
    return x.reshape((*[1] * (4 - x.ndim), *x.shape) if x.ndim < 4 else (*x.shape[:3], -1))


def by_value(*layers: Layer) -> Translation:
    """An operator without attributes that computes a function of one value."""
    return lambda test: Mapped(layers, image(test.x()), image(test.y))


def leaky_relu(test: NodeTest) -> Mapped:
    return by_value(spec.LeakyReLU(slope=test.attribute("alpha", 0.01)))(test)


def elu(test: NodeTest) -> Mapped:
    return by_value(spec.ELU(alpha=test.attribute("alpha", 1.0)))(test)


def selu(test: NodeTest) -> Mapped:
    """gamma x above 0, else gamma alpha (exp(x) - 1): SELU for its own alpha and gamma, else a scaled ELU."""
    alpha, gamma = test.attribute("alpha", None), test.attribute("gamma", None)
    if alpha is None and gamma is None:
        return by_value(spec.SELU())(test)
    return by_value(spec.ELU(alpha=alpha), spec.Scale(factor=gamma))(test)


def celu(test: NodeTest) -> Mapped:
    """max(x, 0) + min(0, alpha (exp(x / alpha) - 1)): alpha ELU(x / alpha)."""
    alpha = test.attribute("alpha", 1.0)
    return by_value(spec.Scale(factor=1 / alpha), spec.ELU(), spec.Scale(factor=alpha))(test)


def hard_sigmoid(test: NodeTest) -> Mapped:
    """min(max(alpha x + beta, 0), 1), which is the spec's layer of x + (beta - 1/2) / alpha."""
    alpha, beta = test.attribute("alpha", 0.2), test.attribute("beta", 0.5)
    shift = [] if beta == 0.5 else [spec.Normalize(mean=(-(beta - 0.5) / alpha,))]
    return by_value(*shift, spec.HardSigmoid(slope=alpha))(test)


def gelu(test: NodeTest) -> Mapped:
    return by_value(spec.GELU(approximate=test.attribute("approximate", "none") == "tanh"))(test)


def swish(test: NodeTest) -> Mapped:
    """x sigmoid(alpha x)."""
    alpha = test.attribute("alpha", 1.0)
    if alpha == 1.0:
        return by_value(spec.SiLU())(test)
    return by_value(spec.Multiply("", [[], [spec.Scale(factor=alpha), spec.Sigmoid()]]))(test)


def prelu(test: NodeTest) -> Mapped:
    """One slope, a slope for each channel, or else a channel for each value."""
    x, slope = test.x(), test.x(1)
    maps = x.shape[1] if x.ndim > 1 else 1
    # Up to version 6, a vector is one slope for each channel; from 7 on its shape extends to the left, as in NumPy.
    if slope.size == 1 or test.version < 7 or slope.shape == (maps, *[1] * (x.ndim - 2)):
        images, slopes = x.reshape(len(x), maps, -1, 1), np.broadcast_to(slope.ravel(), maps)
    else:
        images, slopes = x.reshape(1, -1, 1, 1), np.broadcast_to(slope, x.shape).ravel()
    return Mapped([spec.PReLU("a")], images, test.y.reshape(images.shape), {"a.slope": slopes})


def shrink(test: NodeTest) -> Mapped:
    """x + bias below -lambd, x - bias above lambd, else 0: two ReLUs if bias is lambd; else it is not continuous."""
    lambd, bias = test.attribute("lambd", 0.5), test.attribute("bias", 0.0)
    if bias != lambd:
        raise Unmapped("a function that is not continuous")
    above = [spec.Normalize(mean=(lambd,)), spec.ReLU()]
    below = [NEGATED, spec.Normalize(mean=(lambd,)), spec.ReLU(), NEGATED]
    return by_value(spec.Add("", [above, below]))(test)


def clip(test: NodeTest) -> Mapped:
    """min(max(x, low), high), low first: ReLU6 from 0 to 6, moved and scaled for other limits."""
    x = test.numbers()
    limits = []
    for name, number in (("min", 1), ("max", 2)):
        value = test.attribute(name, None) if name in test.attributes else test.given(number)
        limits.append(None if value is None else float(np.asarray(value).ravel()[0]))
    low, high = limits
    layers: list[Layer]
    if low is not None and high is not None and low < high:
        part = (high - low) / 6
        layers = [] if (low, high) == (0, 6) else [spec.Normalize(mean=(low,), std=(part,))]
        layers.append(spec.ReLU6())
        if (low, high) != (0, 6):
            layers += [spec.Scale(factor=part), spec.Normalize(mean=(-low,))]
    else:
        layers = [] if low is None else [spec.Normalize(mean=(low,)), spec.ReLU(), spec.Normalize(mean=(-low,))]
        if high is not None:  # high - max(high - x, 0)
            layers += [NEGATED, spec.Normalize(mean=(-high,)), spec.ReLU(), spec.Normalize(mean=(high,)), NEGATED]
    return Mapped(layers or [spec.Dropout()], image(x), image(test.exact_y))


def dropout(test: NodeTest) -> Mapped:
    """The first output; a mask is not compared."""
    ratio = test.attribute("ratio", None)
    if ratio is None:
        given = test.optional(1)
        ratio = 0.5 if given is None else float(given)
    training = test.given(2) is not None and bool(test.given(2))
    if training and ratio:
        raise Unmapped("random numbers")
    return Mapped([spec.Dropout(rate=ratio)], image(test.x()), image(test.y), training=training)


# --- sums, products and largest values of several inputs --------------------------------------------------------------


def beside(inputs: Sequence[Array]) -> Array:
    """Inputs of one shape as the channels of one image of n x 1 pixels."""
    full = np.broadcast_arrays(*inputs)
    return np.stack([each.ravel() for each in full]).reshape(1, len(full), -1, 1)


def of_channels(test: NodeTest, *layers: Layer) -> Mapped:
    """Layers that compute one channel from those of `beside`."""
    return Mapped(layers, beside(test.all_inputs()), test.y.reshape(1, 1, -1, 1))


def each_channel(count: int) -> list[list[Layer]]:
    return [[spec.Select("", (number,))] for number in range(count)]


def add(test: NodeTest) -> Mapped:
    return of_channels(test, spec.Add("", each_channel(len(test.inputs))))


def mean(test: NodeTest) -> Mapped:
    count = len(test.inputs)
    return of_channels(test, spec.Add("", each_channel(count)), spec.Scale(factor=1 / count))


def multiply(test: NodeTest) -> Mapped:
    return of_channels(test, spec.Multiply("", each_channel(len(test.inputs))))


def subtract(test: NodeTest) -> Mapped:
    first, second = each_channel(2)
    return of_channels(test, spec.Add("", [first, [*second, NEGATED]]))


def divide(test: NodeTest) -> Mapped:
    """Division by a constant is multiplication by its reciprocal, a channel for each value."""
    x, divisor = np.broadcast_arrays(test.x(), test.x(1))
    weights = {"a.gamma": 1 / divisor.astype(np.float64).ravel()}
    return Mapped([spec.Affine("a", beta=False)], x.reshape(1, -1, 1, 1), test.y.reshape(1, -1, 1, 1), weights)


def power(test: NodeTest) -> Mapped:
    exponent = test.given(1)
    assert exponent is not None
    number = exponent.ravel()[0]
    if not (exponent == number).all() or number != int(number) or number < 1:
        raise Unmapped("exponents that differ, or are no positive whole number")
    return by_value(spec.Multiply("", [[]] * int(number)))(test)


def largest(test: NodeTest, sign: float = 1.0) -> Mapped:
    """A window over the inputs, which are the rows of one channel."""
    rows = beside([test.numbers(number) for number in range(len(test.inputs))]).reshape(1, 1, len(test.inputs), -1)
    return Mapped(around_maximum(len(test.inputs), sign), rows, test.exact_y.reshape(1, 1, 1, -1))


def smallest(test: NodeTest) -> Mapped:
    return largest(test, -1.0)


def around_maximum(rows: int, sign: float) -> list[Layer]:
    """The maximum of so many rows; with the sign -1 the minimum."""
    pool = spec.MaxPool("", (rows, 1), 1)
    return [pool] if sign > 0 else [spec.Scale(factor=sign), pool, spec.Scale(factor=sign)]


# --- sums, means and largest values along axes ------------------------------------------------------------------------


def reduced(layers: Callable[[int], Sequence[Layer]]) -> Translation:
    """An operator along some axes, which become the rows of an image; `layers` of the number of rows."""

    def translation(test: NodeTest) -> Mapped:
        x, given = test.x(), test.integers(1)
        axes = given if given is not None else test.attribute("axes", None)
        if not axes and test.attribute("noop_with_empty_axes", 0):
            return Mapped(layers(1), x.reshape(1, -1, 1, 1), test.y.reshape(1, -1, 1, 1))
        over = sorted({axis % x.ndim for axis in axes or range(x.ndim)})
        others = [axis for axis in range(x.ndim) if axis not in over]
        rows = prod(x.shape[axis] for axis in over)
        images = x.transpose(*others, *over).reshape(1, -1, rows, 1)
        return Mapped(layers(rows), images, test.y.reshape(1, -1, 1, 1))

    return translation


def total(rows: int) -> list[Layer]:
    """The sum of so many rows."""
    return [spec.GlobalAvgPool(), spec.Scale(factor=float(rows))]


def global_pool(layers: Callable[[Shape], Sequence[Layer]]) -> Translation:
    """A pool over all pixels, N x C x H x W; `layers` of the number of rows and columns."""

    def translation(test: NodeTest) -> Mapped:
        x = test.x()
        if x.ndim != 4:
            raise Unmapped(THREE_DIMENSIONAL)
        return Mapped(layers(x.shape[2:]), x, test.y)

    return translation


# --- windows ----------------------------------------------------------------------------------------------------------


def rows_and_columns(values: Sequence[int]) -> tuple[int, int]:
    """Values of one or two dimensions; one dimension is the rows, with 1 for the columns."""
    return (values[0], 1) if len(values) == 1 else (values[0], values[1])


def pixels(x: Array) -> Array:
    """N x C x L or N x C x H x W as N x C x H x W."""
    if x.ndim not in (3, 4):
        raise Unmapped(THREE_DIMENSIONAL)
    return x if x.ndim == 4 else x[..., None]


def window(test: NodeTest, kernel: Sequence[int], size: Shape) -> dict[str, Any]:
    """Kernel, stride, padding and dilation, by the names of the spec; size: (height, width) of the input."""
    dimensions = len(kernel)
    stride = rows_and_columns(test.attribute("strides", [1] * dimensions))
    gaps = rows_and_columns(test.attribute("dilations", [1] * dimensions))
    begin_end = test.attribute("pads", [0] * 2 * dimensions)
    around = [(begin_end[number], begin_end[number + dimensions]) for number in range(dimensions)]
    padding: Any = (*around, (0, 0))[:2]
    rule, spans = test.attribute("auto_pad", "NOTSET"), rows_and_columns(kernel)
    if rule.startswith("SAME"):
        padding = spec.same(spans, stride, (size[0], size[1]), dilation=gaps, lower=rule == "SAME_LOWER")
    return {"kernel": spans, "stride": stride, "padding": padding, "dilation": gaps}


def conv(test: NodeTest) -> Mapped:
    return convolution(test, test.x(), test.x(1), test.optional(2))


def convolution(test: NodeTest, x: Array, weight: Array, bias: Array | None) -> Mapped:
    images, groups = pixels(x), test.attribute("group", 1)
    form = window(test, weight.shape[2:], images.shape[2:])
    layer = spec.Conv("c", len(weight), groups=groups, bias=bias is not None, **form)
    weights = {"c.weight": weight} | ({} if bias is None else {"c.bias": bias})
    return Mapped([layer], images, pixels(test.exact_y), weights)


def conv_integer(test: NodeTest) -> Mapped:
    """Whole numbers below 2^24, which both precisions hold exactly, without their zero points."""
    x, weight = without_zero_points(test)
    return convolution(test, x, weight, None)


def without_zero_points(test: NodeTest) -> tuple[Array, Array]:
    """Both inputs of an operator on whole numbers as real numbers, minus their zero points (inputs 2 and 3)."""
    x, weight = test.numbers(), test.numbers(1)
    of_x, of_weight = (test.given(number) for number in (2, 3))
    if of_x is not None:
        x = x - float(of_x.ravel()[0]) if of_x.size == 1 else x - of_x[:, None]
    if of_weight is not None:  # one for each channel of output: the first axis of a convolution, the last of a matrix
        weight = weight - np.reshape(of_weight.astype(np.float64), (-1, *[1] * (weight.ndim - 1) * (weight.ndim > 2)))
    return x, weight


def max_pool(test: NodeTest) -> Mapped:
    """The first output; the positions of the largest values are not compared."""
    images = pixels(test.numbers())
    form = window(test, test.attributes["kernel_shape"], images.shape[2:])
    layer = spec.MaxPool("", ceil=bool(test.attribute("ceil_mode", 0)), **form)
    return Mapped([layer], images, pixels(test.exact_y))


def average_pool(test: NodeTest) -> Mapped:
    images = pixels(test.x())
    form = window(test, test.attributes["kernel_shape"], images.shape[2:])
    if form.pop("dilation") != (1, 1):
        raise Unmapped("an average over a dilated window")
    counted = bool(test.attribute("count_include_pad", 0))
    layer = spec.AvgPool("", ceil=bool(test.attribute("ceil_mode", 0)), count_padding=counted, **form)
    return Mapped([layer], images, pixels(test.y))


def space_to_depth(test: NodeTest) -> Mapped:
    """A convolution whose windows do not overlap, with a channel of output for each place and channel of a block."""
    x, size = test.x(), test.attributes["blocksize"]
    maps = x.shape[1]
    weight = np.zeros((size * size * maps, maps, size, size))
    for row, column, channel in np.ndindex(size, size, maps):
        depth_first = (row * size + column) * maps + channel
        column_first = (channel * size + row) * size + column
        to = column_first if test.attribute("mode", "DCR") == "CRD" else depth_first
        weight[to, channel, row, column] = 1
    layer = spec.Conv("c", len(weight), size, size, bias=False)
    return Mapped([layer], x, test.y, {"c.weight": weight})


# --- normalizations ---------------------------------------------------------------------------------------------------


def batch_norm(test: NodeTest) -> Mapped:
    """The first output; new running statistics are not compared."""
    x = test.x()
    images = x.reshape(*x.shape[:2], -1, 1)
    scale, bias, running_mean, running_var = (test.x(number) for number in range(1, 5))
    weights = {"b.gamma": scale, "b.beta": bias, "b.running_mean": running_mean, "b.running_var": running_var}
    layer = spec.BatchNorm("b", test.attribute("epsilon", 1e-5))
    training = bool(test.attribute("training_mode", 0))
    return Mapped([layer], images, test.y.reshape(images.shape), weights, training)


def mean_variance_normalization(test: NodeTest) -> Mapped:
    """Batch normalization in training without gamma, beta and epsilon; ONNX adds 1e-9 to the deviation."""
    x, axes = test.x(), test.attribute("axes", [0, 2, 3])
    if list(axes) != [0, 2, 3]:
        raise Unmapped("other axes than those of batch normalization")
    maps = x.shape[1]
    weights = {"b.running_mean": np.zeros(maps), "b.running_var": np.ones(maps)}
    return Mapped([spec.BatchNorm("b", 1e-18, gamma=False, beta=False)], x, test.y, weights, training=True)


def from_axis(test: NodeTest, x: Array) -> tuple[int, int]:
    """(images, channels) of a normalization over the axes from `axis` on."""
    axis = test.attribute("axis", -1) % x.ndim
    return prod(x.shape[:axis]), prod(x.shape[axis:])


def layer_norm(test: NodeTest) -> Mapped:
    """The values from the axis on are the channels of one pixel. The first output; statistics are not compared."""
    x, beta = test.x(), test.optional(2)
    shape = (*from_axis(test, x), 1, 1)
    layer = spec.LayerNorm("n", test.attribute("epsilon", 1e-5), beta=beta is not None)
    weights = {"n.gamma": np.broadcast_to(test.x(1), x.shape[x.ndim - test.x(1).ndim :]).ravel()}
    weights |= {} if beta is None else {"n.beta": beta.ravel()}
    return Mapped([layer], x.reshape(shape), test.y.reshape(shape), weights)


def rms_norm(test: NodeTest) -> Mapped:
    """scale x / sqrt(mean of x^2 + epsilon): a local response norm whose window holds all channels."""
    x = test.x()
    images, maps = from_axis(test, x)
    size = 2 * maps - 1
    norm = spec.LocalResponseNorm("", size, alpha=size / maps, beta=0.5, k=test.attribute("epsilon", 1e-5))
    shape = (images, maps, 1, 1)
    weights = {"a.gamma": test.x(1).ravel()}
    return Mapped([norm, spec.Affine("a", beta=False)], x.reshape(shape), test.y.reshape(shape), weights)


def lp_normalization(test: NodeTest) -> Mapped:
    """x / sqrt(sum of x^2), like `rms_norm`; the number in place of epsilon is too small to have an effect."""
    x = test.x()
    if test.attribute("p", 2) != 2:
        raise Unmapped("division by the sum of absolute values")
    rows = np.moveaxis(x, test.attribute("axis", -1), -1)
    maps = rows.shape[-1]
    size = 2 * maps - 1
    expected = np.moveaxis(test.y, test.attribute("axis", -1), -1).reshape(-1, maps, 1, 1)
    norm = spec.LocalResponseNorm("", size, alpha=float(size), beta=0.5, k=1e-30)
    return Mapped([norm], rows.reshape(-1, maps, 1, 1), expected)


def group_norm(test: NodeTest) -> Mapped:
    x = test.x()
    images = x.reshape(*x.shape[:2], -1, 1)
    groups = test.attributes["num_groups"]
    weights = {"n.gamma": test.x(1), "n.beta": test.x(2)}
    layer = spec.GroupNorm("n", groups, test.attribute("epsilon", 1e-5))
    return Mapped([layer], images, test.y.reshape(images.shape), weights)


def instance_norm(test: NodeTest) -> Mapped:
    x = test.x()
    images = x.reshape(*x.shape[:2], -1, 1)
    weights = {"n.gamma": test.x(1), "n.beta": test.x(2)}
    layer = spec.InstanceNorm("n", test.attribute("epsilon", 1e-5))
    return Mapped([layer], images, test.y.reshape(images.shape), weights)


def lrn(test: NodeTest) -> Mapped:
    size = test.attributes["size"]
    if size % 2 == 0:
        raise Unmapped("a window of an even number of channels, which the spec places differently")
    alpha, beta = test.attribute("alpha", 1e-4), test.attribute("beta", 0.75)
    layer = spec.LocalResponseNorm("", size, alpha=alpha, beta=beta, k=test.attribute("bias", 1.0))
    return Mapped([layer], test.x(), test.y)


# --- matrices ---------------------------------------------------------------------------------------------------------


def gemm(test: NodeTest) -> Mapped:
    """alpha A' B' + beta C. Where C has more than one row, its rows are more features, with weight beta."""
    a, b, c = test.x(), test.x(1), test.optional(2)
    a = a.T if test.attribute("transA", 0) else a
    b = b.T if test.attribute("transB", 0) else b
    units, beta = b.shape[1], test.attribute("beta", 1.0)
    weight = test.attribute("alpha", 1.0) * b.T.astype(np.float64)
    if c is not None and c.ndim == 2 and len(c) > 1:
        rows = np.broadcast_to(c, (len(a), units))
        features, weight = np.hstack([a, rows]), np.hstack([weight, beta * np.eye(units)])
        return Mapped([spec.Dense("d", units, bias=False)], features, test.y, {"d.weight": weight})
    weights = {"d.weight": weight}
    if c is not None:
        weights["d.bias"] = beta * np.broadcast_to(c, (1, units)).ravel().astype(np.float64)
    return Mapped([spec.Dense("d", units, bias=c is not None)], a, test.y, weights)


def matmul(test: NodeTest) -> Mapped:
    return product(test.x(), test.x(1), test.y)


def matmul_integer(test: NodeTest) -> Mapped:
    """Whole numbers below 2^24, which both precisions hold exactly, without their zero points."""
    return product(*without_zero_points(test), test.exact_y)


def product(a: Array, b: Array, expected: Array) -> Mapped:
    """The product of matrices: a dense layer for one b, else a convolution of 1 x 1 with a group for each b."""
    a = a[None] if a.ndim == 1 else a
    b = b[:, None] if b.ndim == 1 else b
    inner, units = b.shape[-2:]
    if b.ndim == 2:
        weights = {"d.weight": b.T}
        return Mapped([spec.Dense("d", units, bias=False)], a.reshape(-1, inner), expected.reshape(-1, units), weights)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    rows, groups = a.shape[-2], prod(batch)
    left = np.broadcast_to(a, (*batch, rows, inner)).reshape(groups, rows, inner)
    right = np.broadcast_to(b, (*batch, inner, units)).reshape(groups, inner, units)
    images = left.transpose(0, 2, 1).reshape(1, groups * inner, rows, 1)
    weight = right.transpose(0, 2, 1).reshape(groups * units, inner, 1, 1)
    outputs = expected.reshape(groups, rows, units).transpose(0, 2, 1).reshape(1, groups * units, rows, 1)
    return Mapped([spec.Conv("c", groups * units, 1, groups=groups, bias=False)], images, outputs, {"c.weight": weight})


# --- layers that move values ------------------------------------------------------------------------------------------


def flat_axes(x: Array, axes: Sequence[int]) -> Array:
    """These axes as the channels, the others as the pixels: 1 x C x H x 1."""
    others = [axis for axis in range(x.ndim) if axis not in axes]
    return x.transpose(*axes, *others).reshape(1, prod(x.shape[axis] for axis in axes), -1, 1)


def numbered(shape: Sequence[int]) -> Array:
    """The number of each place of an array."""
    return np.arange(prod(shape)).reshape(shape)


def taken(x: Array, axes: Sequence[int], places: Array, expected: Array) -> Mapped:
    """An operator that takes values of x, whose `axes` become channels, at numbered places."""
    if places.size > MOST_MAPS:
        raise Unmapped(f"a selection of more than {MOST_MAPS} channels")
    maps = tuple(places.ravel().tolist())
    return Mapped([spec.Select("", maps)], flat_axes(x, axes), flat_axes(expected, axes))


def gather(test: NodeTest) -> Mapped:
    x, indices = test.x(), test.given(1)
    assert indices is not None
    axis = test.attribute("axis", 0) % x.ndim
    before, size, after = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
    expected = test.y.reshape(before, indices.size, after)
    return taken(x.reshape(before, size, after), [1], indices % size, expected)


def sliced(test: NodeTest) -> Mapped:
    x = test.x()
    starts, ends, axes, steps = (
        test.integers(number) if test.integers(number) is not None else test.attribute(name, None)
        for number, name in enumerate(("starts", "ends", "axes", "steps"), 1)
    )
    axes = [axis % x.ndim for axis in axes or range(len(starts))]
    whole = [slice(None)] * x.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps or [1] * len(axes)):
        whole[axis] = slice(start, end, step)
    changed = [axis for axis in axes if test.y.shape[axis] != x.shape[axis] or whole[axis].step != 1] or [0]
    places = numbered([x.shape[axis] for axis in changed])[tuple(whole[axis] for axis in changed)]
    return taken(x, changed, places, test.y)


def split(test: NodeTest) -> Mapped:
    """All outputs, joined in reverse order."""
    x = test.x()
    axis = test.attribute("axis", 0) % x.ndim
    sizes = [real(output).shape[axis] for output in test.outputs]
    ends = np.cumsum([0, *sizes])
    chains = [[spec.Select("", tuple(range(begin, end)))] for begin, end in zip(ends.tolist(), ends[1:].tolist())]
    expected = np.concatenate(test.outputs[::-1], axis)
    return Mapped([spec.Concat("", chains[::-1])], flat_axes(x, [axis]), flat_axes(expected, [axis]))


def concat(test: NodeTest) -> Mapped:
    """The inputs are in reverse order in the image."""
    inputs = test.all_inputs()
    axis = test.attribute("axis", 1) % inputs[0].ndim
    sizes = [each.shape[axis] for each in inputs]
    whole = np.concatenate(inputs[::-1], axis)
    ends = [sum(sizes[number:]) for number in range(len(sizes))]
    chains = [[spec.Select("", tuple(range(end - size, end)))] for end, size in zip(ends, sizes)]
    return Mapped([spec.Concat("", chains)], flat_axes(whole, [axis]), flat_axes(test.y, [axis]))


def transpose(test: NodeTest) -> Mapped:
    """A channel for each value."""
    x = test.x()
    places = numbered(x.shape).transpose(test.attribute("perm", None))
    return Mapped(
        [spec.Select("", tuple(places.ravel().tolist()))], x.reshape(1, -1, 1, 1), test.y.reshape(1, -1, 1, 1)
    )


def tile(test: NodeTest) -> Mapped:
    x, repeats = test.x(), test.integers(1)
    if repeats is None or len(repeats) != x.ndim:
        raise Unmapped(ABSENT)
    axes = [axis for axis, repeat in enumerate(repeats) if repeat > 1]
    return taken(x, axes, np.tile(numbered([x.shape[axis] for axis in axes]), [repeats[axis] for axis in axes]), test.y)


def flatten(test: NodeTest) -> Mapped:
    """The axes from `axis` on are those of an image."""
    x = test.x()
    axis = test.attribute("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    inner = x.shape[axis:]
    images = x.reshape(prod(x.shape[:axis]), *(*inner[:2], *[1] * (2 - len(inner[:2]))), -1)
    return Mapped([spec.Flatten()], images, test.y)


def reshape(test: NodeTest) -> Mapped:
    x = test.x()
    if test.y.ndim > 2 or (test.y.ndim == 2 and test.y.shape[0] != x.shape[0]):
        raise Unmapped("a shape that is not flat")
    images = x.reshape(1, *x.shape) if test.y.ndim == 1 else x
    shape = (*images.shape[:3], -1) if images.ndim > 3 else (*images.shape, *[1] * (4 - images.ndim))
    return Mapped([spec.Flatten()], images.reshape(shape), test.y.reshape(len(images), -1))


def pad(test: NodeTest) -> Mapped:
    """Zeros or another value around two axes at most; copies of the input's own values are a `Select`."""
    x, y = test.numbers(), test.exact_y
    pads, axes = test.integers(1) or test.attribute("pads", None) or test.attribute("paddings", None), test.integers(3)
    axes = [axis % x.ndim for axis in axes] if axes is not None else list(range(x.ndim))
    around = {axis: (pads[number], pads[number + len(axes)]) for number, axis in enumerate(axes)}
    changed = [axis for axis, both in sorted(around.items()) if any(both)]
    sides = [around[axis] for axis in changed]
    mode = test.attribute("mode", "constant")
    if mode != "constant":
        places = np.pad(numbered([x.shape[axis] for axis in changed]), sides, mode=mode)
        return taken(x, changed, places, y)
    if len(changed) > 2 or min(map(min, sides)) < 0:
        raise Unmapped("padding of more than two axes, or negative padding")
    value = test.optional(2)
    number = test.attribute("value", 0.0) if value is None else float(value.ravel()[0])
    others = [axis for axis in range(x.ndim) if axis not in changed]

    def moved(array: Array) -> Array:
        sizes = [array.shape[axis] for axis in changed]
        return array.transpose(*others, *changed).reshape(1, -1, *(*sizes, 1)[:2])

    padding: Any = (*sides, (0, 0))[:2]
    return Mapped([spec.Pad("", padding, number)], moved(x), moved(y))


# --- interpolation ----------------------------------------------------------------------------------------------------

POSITIONS = {
    "half_pixel": "half_pixel",
    "half_pixel_symmetric": "half_pixel",  # they differ only where size times scale is no whole number
    "pytorch_half_pixel": "half_pixel",  # they differ only for one pixel of output
    "align_corners": "aligned_corners",
    "asymmetric": "asymmetric",
}


def upsample(test: NodeTest) -> Mapped:
    """Upsample is Resize with asymmetric positions, rounded down."""
    x = test.x()
    given = test.optional(1)
    scales = [float(each) for each in (test.attribute("scales", None) if given is None else given)]
    return interpolated(x, test.y, scales, test.attribute("mode", "nearest"), "asymmetric", "floor")


def resize(test: NodeTest) -> Mapped:
    x = test.x()
    if test.attribute("antialias", 0):
        raise Unmapped("smoothing when an image shrinks")
    axes = [axis % x.ndim for axis in test.attribute("axes", range(x.ndim))]
    only = len(test.inputs) == 2  # version 10 has the scales as its second input
    given, sizes = test.given(1 if only else 2), test.integers(3)
    scales = [1.0] * x.ndim
    if given is not None and given.size:
        factors = [float(each) for each in given]
    else:
        assert sizes is not None
        factors = [size / x.shape[axis] for axis, size in zip(axes, sizes)]
        policy = test.attribute("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factors = [min(factors) if policy == "not_larger" else max(factors)] * len(factors)
    for axis, factor in zip(axes, factors):
        scales[axis] = factor
    positions = test.attribute("coordinate_transformation_mode", "half_pixel" if not only else "asymmetric")
    rounding = test.attribute("nearest_mode", "round_prefer_floor" if not only else "floor")
    return interpolated(x, test.y, scales, test.attribute("mode", "nearest"), positions, rounding)


def interpolated(x: Array, y: Array, scales: Sequence[float], mode: str, positions: str, rounding: str) -> Mapped:
    if x.ndim != 4 or x.shape[:2] != y.shape[:2]:
        raise Unmapped("a resize of other axes than height and width")
    if mode == "cubic":
        raise Unmapped("cubic interpolation")
    if positions not in POSITIONS:
        raise Unmapped("a resize of a region")
    inexact = any(abs(size * scale - to) > 1e-5 for size, scale, to in zip(x.shape, scales, y.shape))
    if inexact:
        raise Unmapped("a size times a scale that is no whole number")
    if positions == "pytorch_half_pixel" and 1 in y.shape[2:]:
        raise Unmapped("one pixel of output at the position 0")
    kind = POSITIONS[positions]
    spec_rounding = "floor" if kind == "asymmetric" else "round_prefer_ceil"
    if mode == "nearest" and any(
        nearest(kind, size, to, rounding) != nearest(kind, size, to, spec_rounding)
        for size, to in zip(x.shape[2:], y.shape[2:])
    ):
        raise Unmapped("another rounding of the positions of the nearest pixels")
    return Mapped([spec.Resize("", *y.shape[2:], mode, kind)], x, y)


def nearest(kind: str, size: int, to: int, rounding: str) -> list[int]:
    """The pixel of the input that each pixel of the output takes, by ONNX' `nearest_mode`."""
    half = Fraction(1, 2)
    rules: dict[str, Callable[[Fraction], int]] = {
        "floor": floor,
        "ceil": ceil,
        "round_prefer_floor": lambda position: ceil(position - half),
        "round_prefer_ceil": lambda position: floor(position + half),
    }
    positions: dict[str, Callable[[int], Fraction]] = {
        "half_pixel": lambda pixel: (pixel + half) * Fraction(size, to) - half,
        "aligned_corners": lambda pixel: Fraction(pixel * (size - 1), max(to - 1, 1)),
        "asymmetric": lambda pixel: Fraction(pixel * size, to),
    }
    return [min(max(rules[rounding](positions[kind](pixel)), 0), size - 1) for pixel in range(to)]


# --- all --------------------------------------------------------------------------------------------------------------

TRANSLATIONS: dict[str, Translation] = {
    "Abs": by_value(ABSOLUTE),
    "Add": add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_norm,
    "Celu": celu,
    "Clip": clip,
    "Concat": concat,
    "Conv": conv,
    "ConvInteger": conv_integer,
    "Div": divide,
    "Dropout": dropout,
    "Elu": elu,
    "Flatten": flatten,
    "Gather": gather,
    "Gelu": gelu,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool(lambda size: [spec.GlobalAvgPool()]),
    "GlobalMaxPool": global_pool(lambda size: [spec.MaxPool("", (size[0], size[1]), 1)]),
    "GroupNormalization": group_norm,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": by_value(spec.HardSwish()),
    "Identity": by_value(spec.Add("", [[]])),
    "InstanceNormalization": instance_norm,
    "LRN": lrn,
    "LayerNormalization": layer_norm,
    "LeakyRelu": leaky_relu,
    "LpNormalization": lp_normalization,
    "MatMul": matmul,
    "MatMulInteger": matmul_integer,
    "Max": largest,
    "MaxPool": max_pool,
    "Mean": mean,
    "MeanVarianceNormalization": mean_variance_normalization,
    "Min": smallest,
    "Mish": by_value(spec.Mish()),
    "Mul": multiply,
    "Neg": by_value(NEGATED),
    "PRelu": prelu,
    "Pad": pad,
    "Pow": power,
    "RMSNormalization": rms_norm,
    "ReduceL1": reduced(lambda rows: [ABSOLUTE, *total(rows)]),
    "ReduceMax": reduced(lambda rows: around_maximum(rows, 1.0)),
    "ReduceMean": reduced(lambda rows: [spec.GlobalAvgPool()]),
    "ReduceMin": reduced(lambda rows: around_maximum(rows, -1.0)),
    "ReduceSum": reduced(total),
    "ReduceSumSquare": reduced(lambda rows: [spec.Multiply("", [[], []]), *total(rows)]),
    "Relu": by_value(spec.ReLU()),
    "Reshape": reshape,
    "Resize": resize,
    "Selu": selu,
    "Shrink": shrink,
    "Sigmoid": by_value(spec.Sigmoid()),
    "Slice": sliced,
    "Softplus": by_value(spec.Softplus()),
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Sub": subtract,
    "Sum": add,
    "Swish": swish,
    "Tanh": by_value(spec.Tanh()),
    "Tile": tile,
    "Transpose": transpose,
    "Upsample": upsample,
}


# Why operators without a translation have none.
REASONS = {
    "a function that the spec does not have": (
        "Acos Acosh Asin Asinh Atan Atanh Cos Cosh Erf Exp Log Reciprocal Sin Sinh Softsign Sqrt Tan "
        "ReduceL2 ReduceLogSum ReduceLogSumExp ReduceProd LpPool Det CumProd"
    ),
    "a function that is not continuous": "Ceil Floor Round Sign ThresholdedRelu Mod",
    "comparisons and Boolean values": (
        "And Or Xor Not Equal Greater GreaterOrEqual Less LessOrEqual IsInf IsNaN Where NonZero"
    ),
    "bits and other types of numbers": ("BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike"),
    "quantized numbers": "DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul QuantizeLinear",
    "softmax, which the spec has only in the loss": "Softmax LogSoftmax Hardmax",
    "a loss function": "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
    "an optimizer": "Adagrad Adam Momentum",
    "attention": "Attention FlexAttention LinearAttention RotaryEmbedding TensorScatter",
    "a recurrent network": "GRU LSTM RNN",
    "a transposed, deformable or causal convolution, or one with state": (
        "ConvTranspose DeformConv CausalConvWithState Col2Im"
    ),
    "positions that the input decides": (
        "ArgMax ArgMin Compress GatherElements GatherND GridSample MaxUnpool NonMaxSuppression OneHot ReverseSequence "
        "RoiAlign Scatter ScatterElements ScatterND TopK Unique AffineGrid"
    ),
    "sums and moves of values for which the spec has no layer": (
        "CenterCropPad CumSum DFT DepthToSpace Einsum Expand STFT Trilu"
    ),
    "shapes and constants: no values are computed": (
        "ConstantOfShape EyeLike Range Shape Size Squeeze Unsqueeze BlackmanWindow HammingWindow HannWindow "
        "MelWeightMatrix"
    ),
    "random numbers": "Bernoulli",
    "control flow, sequences and optional values": (
        "If Loop Scan OptionalGetElement OptionalHasElement SequenceInsert SequenceMap SplitToSequence"
    ),
    "text, encoded images and decision trees": (
        "ArrayFeatureExtractor Binarizer ImageDecoder LabelEncoder RegexFullMatch StringConcat StringNormalizer "
        "StringSplit TfIdfVectorizer TreeEnsemble"
    ),
}

# Tests of means whose inputs and expected outputs are written with four digits after the decimal point.
FOUR_DIGITS = {"averagepool_2d_ceil_last_window_starts_on_pad"}


def mapped(test: NodeTest) -> Mapped:
    """A test as layers; `Unmapped` where they do not exist."""
    if test.expanded:
        raise Unmapped(EXPANDED)
    if len(test.operators) != 1:
        raise Unmapped(SEVERAL)
    if test.operator not in TRANSLATIONS:
        raise Unmapped(reason_of_operator(test.operator))
    if any(value is not None and not value.size for value in (*test.inputs[:1], *test.outputs)):
        raise Unmapped(EMPTY)
    return TRANSLATIONS[test.operator](test)


def reason_of_operator(operator: str) -> str:
    return next(reason for reason, operators in REASONS.items() if operator in operators.split())


@cache
def translated() -> tuple[dict[str, Mapped], dict[str, str]]:
    """The mapped tests by name, and the reasons of the others."""
    found, reasons = {}, {}
    for name, test in node_tests().items():
        try:
            found[name] = mapped(test)
        except Unmapped as reason:
            reasons[name] = str(reason)
    return found, reasons


def tolerance(name: str) -> float:
    """The largest difference as a fraction of the largest expected value.

    ONNX' outputs are float32, each rounded by up to 6e-8 of its value; sums in float32 accumulate several such
    roundings. Where inputs and outputs of a mean are written with four digits, each is rounded by up to 0.5e-4.
    """
    if name in FOUR_DIGITS:
        return float(1e-4 / np.abs(translated()[0][name].expected).max())
    return 1e-6
