"""Hypotheses for a layer: its output if it were computed with a known mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce
from itertools import permutations, product
from math import prod
from typing import Any

import numpy as np

from benchmarks.verification.cases import LARGE, Place
from benchmarks.verification.diagnosis.activations import KINDS as ACTIVATIONS
from benchmarks.verification.diagnosis.activations import WITHOUT_NEGATIVE_SIDE, activation, prelu
from benchmarks.verification.diagnosis.difference import Difference, Hypothesis
from benchmarks.verification.diagnosis.dropout import at_rate_zero, in_evaluation
from benchmarks.verification.diagnosis.normalizations import (
    affine,
    batch_norm,
    local_response_norm,
    normalize,
    of_one_image,
)
from benchmarks.verification.narrow_numbers import NARROW, rounded
from frameworks import spec
from frameworks.adapter import batches
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass
from frameworks.reference_layers import LAYERS, windowed
from frameworks.reference_layers.base import channel_axes
from frameworks.spec import Layer, Node, sides
from frameworks.spec.joins import Join
from frameworks.spec.value_checks import METHODS, POSITIONS
from frameworks.spec.windowed import extent, gaps
from frameworks.spec.windowed import rounded_up as whole_windows


def computed(layer: Layer, x: Array, **arrays: Array) -> Array:
    return LAYERS[type(layer)](layer, x, **arrays)[0]


def of_layer(difference: Difference) -> Iterator[Hypothesis]:
    """The layer at the place, computed with known mistakes from the correct input."""
    found = _node_at(difference)
    if found is None:
        return
    node, x, before = found
    if difference.predicted:
        yield from predictions(difference)
    arrays = {parameter.role: difference.case.weights[parameter.name] for parameter in node.parameters}
    yield from of_kind(difference, node, before, x, arrays)
    yield from other_arrays(difference, node, x, arrays)
    correct = difference.outputs[node.path]
    if not isinstance(node.layer, WITHOUT_NEGATIVE_SIDE):
        yield Hypothesis("ReLU acts on the output", np.maximum(correct, 0))
    if node is difference.case.network.nodes[-1] and correct.ndim == 2:
        yield Hypothesis("softmax acts on the logits", softmax(correct, 1))
        yield Hypothesis("log softmax acts on the logits", np.log(softmax(correct, 1)))
    yield Hypothesis("the layer is left out: its input passes on", x)
    for name in NARROW:
        if np.any(rounded(x, name) != x) and not node.branches:
            narrow = recomputed(difference, node, rounded(x, name), arrays)
            yield Hypothesis("the input passes through {}", narrow, (name,))
        if any(np.any(rounded(array, name) != array) for array in arrays.values()):
            narrow = recomputed(difference, node, x, {role: rounded(array, name) for role, array in arrays.items()})
            yield Hypothesis("the arrays pass through {}", narrow, (name,))
        yield Hypothesis("the output passes through {}", rounded(correct, name), (name,))


def of_kind(
    difference: Difference, node: Node, before: Sequence[Node], x: Array, arrays: Weights
) -> Iterator[Hypothesis]:
    """The mistakes that this kind of layer knows."""
    match node.layer:
        case spec.Residual() | Join():
            yield from joined(difference, node, x)
        case spec.Dropout():
            in_training = difference.place.stage == "training"
            yield from at_rate_zero(x) if in_training else in_evaluation(difference, x)
        case spec.BatchNorm() as layer:
            yield from batch_norm(difference, layer, x, **arrays)
        case spec.Dense():
            yield from dense(node, before, x, **arrays)
        case layer if type(layer) in OTHERWISE:
            yield from OTHERWISE[type(layer)](layer, x, difference.actual, **arrays)


def _node_at(difference: Difference) -> tuple[Node, Array, list[Node]] | None:
    """The node at the place, its input, and the nodes before it in reading order; None if no layer has this path."""
    read: list[Node] = []

    def search(nodes: Sequence[Node], x: Array) -> tuple[Node, Array] | None:
        for node in nodes:
            if node.path == difference.place.tensor:
                return node, x
            read.append(node)
            for branch in node.branches:
                if inside := search(branch, x):
                    return inside
            if node.path in difference.outputs:  # heads are absent in evaluation
                x = difference.outputs[node.path]
        return None

    answer = search(difference.case.network.nodes, difference.images)
    if answer is None or answer[0].path not in difference.outputs:
        return None
    return (*answer, read) if difference.recomputes(difference.outputs[answer[0].path]) else None


def recomputed(difference: Difference, node: Node, x: Array, arrays: Weights) -> Array:
    """The output of a node without branches, for another input or with other arrays by role."""
    if isinstance(node.layer, spec.BatchNorm) and difference.place.stage == "training":
        axes = channel_axes(x)
        arrays = arrays | {"running_mean": x.mean(axes), "running_var": x.var(axes)}
    return computed(node.layer, x, **arrays)


# --- predictions ------------------------------------------------------------------------------------------------------


def predictions(difference: Difference) -> Iterator[Hypothesis]:
    """The logits of all images, computed by a network in another mode or from other pixels."""
    network, weights, images = difference.case.network, difference.case.weights, difference.images
    if network.params > LARGE:
        return  # a pass over all images for each mistake takes too long
    signed = images - 256.0 * (images > 127)
    logits = Pass(network, weights, signed, None, False).logits
    yield Hypothesis("pixels above 127 are read as negative numbers: signed bytes", logits)
    if any(isinstance(node.layer, spec.BatchNorm) for _, node in network.walk()):
        for size in range(1, len(images) + 1):  # the batch size of predictions is the framework's
            parts = batches(np.arange(len(images)), size)
            masks = np.random.default_rng(0)  # for training mode; the network of a case has no dropout
            logits = np.concatenate([Pass(network, weights, images[part], masks, False).logits for part in parts])
            yield Hypothesis("predictions are computed in training mode, with the statistics of each batch", logits)


def softmax(logits: Array, axis: int) -> Array:
    exponentials = np.exp(logits - logits.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


# --- arrays of other layers -------------------------------------------------------------------------------------------


def other_arrays(difference: Difference, node: Node, x: Array, arrays: Weights) -> Iterator[Hypothesis]:
    """The layer with arrays of another layer that has arrays of the same shapes, or with one of them."""
    shapes = {role: array.shape for role, array in arrays.items()}
    for _, other in difference.case.network.walk():
        theirs = {parameter.role: difference.case.weights[parameter.name] for parameter in other.parameters}
        if other.path == node.path or {role: array.shape for role, array in theirs.items()} != shapes or not arrays:
            continue
        swapped = recomputed(difference, node, x, theirs)
        exchanged = Hypothesis("the arrays of {} and {} are exchanged", swapped, (node.path, other.path))
        if difference.explained_by(swapped) and _exchanged(difference, node, other):
            yield exchanged
        else:
            yield Hypothesis("the arrays are those of {}", swapped, (other.path,))
        for role in shapes if len(shapes) > 1 else ():
            one = recomputed(difference, node, x, arrays | {role: theirs[role]})
            yield Hypothesis("{} is that of {}", one, (role, other.path))


def _exchanged(difference: Difference, node: Node, other: Node) -> bool:
    """Whether the output of the other layer, too, is that of a network in which the arrays are exchanged."""
    case, stage = difference.case, difference.place.stage
    place = Place(stage, "", 0, other.path)
    if place not in difference.observed or difference.predicted:
        return False
    names = {p.name: q.name for a, b in ((node, other), (other, node)) for p, q in zip(a.parameters, b.parameters)}
    weights = {name: case.weights[names.get(name, name)] for name in case.weights}
    masks = np.random.default_rng(0) if stage == "training" else None
    run = Pass(case.network, weights, difference.images, masks, False)
    return difference.agrees_at(place, run.outputs[other.path])


# --- layers with branches ---------------------------------------------------------------------------------------------


def joined(difference: Difference, node: Node, x: Array) -> Iterator[Hypothesis]:
    """A sum or a concatenation of branches."""
    ends = [difference.outputs[branch[-1].path] if branch else x for branch in node.branches]
    if isinstance(node.layer, spec.Concat):
        for order in permutations(range(len(ends))) if len(ends) < 6 else ():
            text = ", ".join(str(number + 1) for number in order)
            joint = np.concatenate([ends[number] for number in order], 1)
            yield Hypothesis("the branches in another order: {}", joint, (text,))
        return
    if not isinstance(node.layer, spec.Residual):
        yield from combined(ends, product_of=isinstance(node.layer, spec.Multiply))
        return
    body, shortcut = ends
    yield Hypothesis("the shortcut is left out", body)
    yield Hypothesis("the body is left out: the shortcut alone", shortcut)
    yield Hypothesis("ReLU acts on the body before the sum", np.maximum(body, 0) + shortcut)
    yield Hypothesis("ReLU acts on the shortcut before the sum", body + np.maximum(shortcut, 0))
    yield Hypothesis("ReLU acts on both terms before the sum", np.maximum(body, 0) + np.maximum(shortcut, 0))
    yield Hypothesis("the difference of body and shortcut, not their sum", body - shortcut)
    yield Hypothesis("the shortcut is added twice", body + 2 * shortcut)
    if node.branches[1]:
        yield Hypothesis("the input is added, not the shortcut of the input", body + x)


def combined(ends: Sequence[Array], product_of: bool) -> Iterator[Hypothesis]:
    """A sum or a product of branches: the other operation, or a branch left out."""
    right, other = (np.multiply, np.add) if product_of else (np.add, np.multiply)
    text = "the sum of the branches, not their product" if product_of else "the product of the branches, not their sum"
    if len(ends) > 1:
        yield Hypothesis(text, reduce(other, ends))
    for number in range(len(ends) if len(ends) > 1 else 0):
        rest = reduce(right, [*ends[:number], *ends[number + 1 :]])
        yield Hypothesis("branch {} is left out", rest, (number + 1,))


# --- windows ----------------------------------------------------------------------------------------------------------


def paddings(layer: Any, x: Array, **arrays: Array) -> Iterator[Hypothesis]:
    """The same padding distributed differently over the sides, or none; the dilation left out."""
    yield from distributed(layer, x, **arrays)
    window = [extent(*way) for way in zip(spec.pair(layer.kernel), spec.pair(gaps(layer)))]
    own = sides(layer.padding)
    if own != ((0, 0), (0, 0)) and all(size >= side for size, side in zip(x.shape[2:], window)):
        yield Hypothesis("the padding is left out", computed(replace(layer, padding=0), x, **arrays))
    if spec.pair(gaps(layer)) != (1, 1):
        less = [span - kernel for span, kernel in zip(window, spec.pair(layer.kernel))]  # of the size of the window
        for around in (own, tuple((a - n // 2, b - (n - n // 2)) for (a, b), n in zip(own, less))):
            if min(min(each) for each in around) >= 0:
                undilated = replace(layer, dilation=1, padding=around)
                yield Hypothesis("the dilation is left out", computed(undilated, x, **arrays))


def distributed(layer: Any, x: Array, **arrays: Array) -> Iterator[Hypothesis]:
    """The same padding distributed differently over the sides."""
    (top, bottom), (left, right) = own = sides(layer.padding)
    vertical = {(top, bottom), (bottom, top), (0, top + bottom), (top + bottom, 0)}
    horizontal = {(left, right), (right, left), (0, left + right), (left + right, 0)}
    for around in product(sorted(vertical), sorted(horizontal)):
        if around != own:
            cause = "asymmetric padding: ((top, bottom), (left, right)) is {}, not {}"
            yield Hypothesis(cause, computed(replace(layer, padding=around), x, **arrays), (around, own))


def pad(layer: spec.Pad, x: Array, actual: Array) -> Iterator[Hypothesis]:
    """The padding on other sides, or with another value."""
    yield from distributed(layer, x)
    around = computed(replace(layer, value=1.0), np.zeros_like(x)) > 0
    if actual.shape == around.shape and around.any():
        value = float(f"{np.median(actual[around]):.3g}")
        yield Hypothesis("padded by {:g}, not {:g}", computed(replace(layer, value=value), x), (value, layer.value))


def conv(layer: spec.Conv, x: Array, actual: Array, weight: Array, bias: Array | float = 0.0) -> Iterator[Hypothesis]:
    compute = partial(windowed.conv, layer)
    if np.any(bias):
        yield Hypothesis("the bias is left out", compute(x, weight)[0])
    yield Hypothesis("the weights are 0: not loaded", compute(x, 0 * weight, bias)[0])
    mirrored = compute(x, weight[..., ::-1, ::-1], bias)[0]
    yield Hypothesis("the kernels are mirrored: convolution, not cross-correlation", mirrored)
    if weight.shape[2] == weight.shape[3]:
        yield Hypothesis("the kernels are transposed: rows for columns", compute(x, weight.swapaxes(2, 3), bias)[0])
    if weight.shape[0] == weight.shape[1]:
        yield Hypothesis("the kernels are transposed: inputs for outputs", compute(x, weight.swapaxes(0, 1), bias)[0])
    if layer.groups > 1:
        for inputs, outputs in zip(*(regrouped(maps, layer.groups) for maps in (x.shape[1], len(weight)))):
            in_other_order = compute(x[:, inputs], weight, bias)[0]
            yield Hypothesis("the groups take their inputs in another order", in_other_order)
            yield Hypothesis("the groups take their kernels in another order", compute(x, weight[outputs], bias)[0])
    yield from paddings(layer, x, weight=weight, bias=np.broadcast_to(bias, len(weight)))


def regrouped(maps: int, groups: int) -> list[Array]:
    """Orders of the maps: groups reversed, and one map of each group after the other, with its inverse."""
    parts = np.arange(maps).reshape(groups, -1)
    return [parts[::-1].ravel(), parts.T.ravel(), np.argsort(parts.T.ravel())]


def max_pool(layer: spec.MaxPool, x: Array, actual: Array) -> Iterator[Hypothesis]:
    if np.any(sides(layer.padding)):
        zeros = computed(replace(layer, padding=0), windowed.pad(x, layer))
        yield Hypothesis("the padding is 0, not minus infinity", zeros)
    for count in (True, False):
        average = spec.AvgPool(layer.name, layer.kernel, layer.stride, layer.padding, count)
        yield Hypothesis("the mean of each window, not its largest value", computed(average, x))
    yield from paddings(layer, x)
    if spec.pair(layer.dilation) == (1, 1):
        yield from rounded_up(layer, x)


def avg_pool(layer: spec.AvgPool, x: Array, actual: Array) -> Iterator[Hypothesis]:
    other = replace(layer, count_padding=not layer.count_padding)
    yield Hypothesis(f"the padding is {'not ' * layer.count_padding}counted in the average", computed(other, x))
    largest = spec.MaxPool(layer.name, layer.kernel, layer.stride, layer.padding)
    yield Hypothesis("the largest value of each window, not its mean", computed(largest, x))
    total = computed(replace(layer, count_padding=True), x) * prod(spec.pair(layer.kernel))
    yield Hypothesis("the sum of each window, not its mean", total)
    if layer.ceil:
        whole = whole_windows(layer, x.shape[1:])
        beyond = computed(replace(whole, ceil=False, count_padding=True), x)
        yield Hypothesis("the places beyond the padding are counted in the average", beyond)
    yield from paddings(layer, x)
    yield from rounded_up(layer, x)


def rounded_up(layer: spec.MaxPool | spec.AvgPool, x: Array) -> Iterator[Hypothesis]:
    """The number of windows rounded up; positions beyond the input do not count.

    Either with the padding of the layer, as ceil_mode of PyTorch, or with TensorFlow's "same" padding.
    """
    ceil = spec.MaxPool(layer.name, layer.kernel, layer.stride, layer.padding, ceil=True).resolved(x.shape[1:])
    for padding in dict.fromkeys((sides(ceil.padding), same_padding(layer, x))):
        if isinstance(layer, spec.MaxPool):
            outputs = [computed(replace(layer, padding=padding), x)]
        else:
            outputs = [computed(replace(layer, padding=padding, count_padding=count), x) for count in (True, False)]
        for output in outputs if outputs[0].shape != computed(layer, x).shape else ():
            yield Hypothesis("the number of windows is rounded up, not down", output)


def same_padding(layer: spec.MaxPool | spec.AvgPool, x: Array) -> spec.Sides:
    """TensorFlow's "same": ceil(size / stride) windows; the odd pixel of padding is at the bottom and the right."""
    ways = zip(x.shape[2:], spec.pair(layer.kernel), spec.pair(layer.stride))
    totals = [max(0, (-(-size // stride) - 1) * stride + kernel - size) for size, kernel, stride in ways]
    vertical, horizontal = ((total // 2, total - total // 2) for total in totals)
    return vertical, horizontal


def global_avg_pool(layer: spec.GlobalAvgPool, x: Array, actual: Array) -> Iterator[Hypothesis]:
    yield Hypothesis("the sum of each channel, not its mean", x.sum((2, 3), keepdims=True))
    yield Hypothesis("the largest value of each channel, not its mean", x.max((2, 3), keepdims=True))


def adaptive_avg_pool(layer: spec.AdaptiveAvgPool, x: Array, actual: Array) -> Iterator[Hypothesis]:
    """Windows of one size, with the stride size // parts; the last one ends at the edge, or at a multiple of it."""
    steps = [size // parts for size, parts in zip(x.shape[2:], (layer.height, layer.width))]
    if min(steps) < 1:
        return
    ends = [size - (parts - 1) * step for size, parts, step in zip(x.shape[2:], (layer.height, layer.width), steps)]
    for kernel in dict.fromkeys((tuple(steps), tuple(ends))):
        equal = spec.AvgPool("", (kernel[0], kernel[1]), (steps[0], steps[1]))
        output = computed(equal, x)[:, :, : layer.height, : layer.width]
        yield Hypothesis("windows of equal size, {}x{}", output, kernel)


# --- dense layers, resizing -------------------------------------------------------------------------------------------


def dense(
    node: Node, before: Sequence[Node], x: Array, weight: Array, bias: Array | float = 0.0
) -> Iterator[Hypothesis]:
    if np.any(bias):
        yield Hypothesis("the bias is left out", x @ weight.T)
    yield Hypothesis("the weights are 0: not loaded", 0 * (x @ weight.T) + bias)
    if weight.shape[0] == weight.shape[1]:
        yield Hypothesis("the weight is transposed", x @ weight + bias)
    shapes = [other.input for other in before if other.output == node.input and len(other.input) == 3]
    for channels, height, width in shapes[-1:]:
        cause, values = "a permutation of the inputs of {}: flatten order", (node.path,)
        last = np.moveaxis(x.reshape(-1, channels, height, width), 1, -1).reshape(x.shape)
        yield Hypothesis(f"{cause} H,W,C for C,H,W", last @ weight.T + bias, values)
        first = np.moveaxis(x.reshape(-1, height, width, channels), -1, 1).reshape(x.shape)
        yield Hypothesis(f"{cause} C,H,W taken for H,W,C", first @ weight.T + bias, values)


def flatten(layer: spec.Flatten, x: Array, actual: Array) -> Iterator[Hypothesis]:
    if x.ndim == 4:
        for axes in permutations((1, 2, 3)):
            text = ",".join(" CHW"[axis] for axis in axes)
            yield Hypothesis("flatten order: {} for C,H,W", x.transpose(0, *axes).reshape(len(x), -1), (text,))


def resize(layer: spec.Resize, x: Array, actual: Array) -> Iterator[Hypothesis]:
    sizes = x.shape[2:], (layer.height, layer.width)

    def at(position: Callable[[int, int], Array]) -> Array:
        rows, columns = (interpolation(position(size, to), size) for size, to in zip(*sizes))
        return rows @ x @ columns.T

    corners = at(lambda size, to: np.linspace(0, size - 1, to))
    if (layer.method, layer.positions) == ("linear", "half_pixel"):
        half = at(lambda size, to: np.arange(to) * size / to)
        yield Hypothesis("half a pixel off: i size / to for (i + 1/2) size / to - 1/2", half)
        yield Hypothesis("corners on corners: i (size - 1) / (to - 1)", corners)
        nearest = at(lambda size, to: ((np.arange(to) + 0.5) * size / to) // 1)
        yield Hypothesis("the nearest pixel, not linear", nearest)
        legacy = at(lambda size, to: (np.arange(to) * size / to) // 1)
        yield Hypothesis("the nearest pixel to i size / to, rounded down, not linear", legacy)
        return
    own = f"{layer.method}, {layer.positions}"
    for method, positions in product(METHODS, POSITIONS):
        if (method, positions) != (layer.method, layer.positions):
            other = computed(replace(layer, method=method, positions=positions), x)
            yield Hypothesis("{} for {}", other, (f"{method}, {positions}", own))
    if layer.method == "nearest" and layer.positions == "half_pixel":
        first = at(lambda size, to: np.clip(np.ceil((np.arange(to) + 0.5) * size / to - 1), 0, size - 1))
        yield Hypothesis("of two pixels that are equally near the first, not the second", first)


def select(layer: spec.Select, x: Array, actual: Array) -> Iterator[Hypothesis]:
    if None in layer.maps:
        for channel in range(x.shape[1]):
            filled = replace(layer, maps=tuple(channel if each is None else each for each in layer.maps))
            yield Hypothesis("channel {} in place of zeros", computed(filled, x), (channel,))


def interpolation(position: Array, size: int) -> Array:
    """The matrix of linear interpolation from `size` pixels to the positions."""
    return np.array([np.interp(position, np.arange(size), row) for row in np.eye(size)]).T


# Of a layer, its input, the framework's output and the arrays by role.
OTHERWISE: dict[type[Layer], Callable[..., Iterator[Hypothesis]]] = {
    spec.Conv: conv,
    spec.MaxPool: max_pool,
    spec.AvgPool: avg_pool,
    spec.GlobalAvgPool: global_avg_pool,
    spec.Flatten: flatten,
    spec.Affine: affine,
    spec.LocalResponseNorm: local_response_norm,
    **dict.fromkeys(ACTIVATIONS, activation),
    spec.PReLU: prelu,
    spec.LayerNorm: of_one_image,
    spec.GroupNorm: of_one_image,
    spec.InstanceNorm: of_one_image,
    spec.Pad: pad,
    spec.AdaptiveAvgPool: adaptive_avg_pool,
    spec.Select: select,
    spec.Normalize: normalize,
    spec.Resize: resize,
}
