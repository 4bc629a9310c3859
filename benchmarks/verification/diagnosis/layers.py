"""Guesses for a layer: its output if it were computed with a known mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations, product
from math import prod
from typing import Any

import numpy as np

from benchmarks.verification.cases import Place
from benchmarks.verification.diagnosis.difference import Difference, Guess
from frameworks import numpy_reference, spec
from frameworks.arrays import Array
from frameworks.numpy_reference import LAYERS, by_channel, channel_axes
from frameworks.spec import Layer, Node, sides


def computed(layer: Layer, x: Array, **arrays: Array) -> Array:
    return LAYERS[type(layer)](layer, x, **arrays)[0]


def of_layer(difference: Difference) -> Iterator[Guess]:
    """The layer at the place, computed with known mistakes from the correct input."""
    node, x, before = _node_at(difference)
    arrays = {parameter.role: difference.case.weights[parameter.name] for parameter in node.parameters}
    if isinstance(node.layer, spec.Residual):
        ends = [difference.output(branch[-1].path) if branch else x for branch in node.branches]
        yield "the shortcut is left out", ends[0]
        yield "the body is left out: the shortcut alone", ends[1]
    if isinstance(node.layer, spec.Concat) and len(node.branches) < 6:
        ends = [difference.output(branch[-1].path) if branch else x for branch in node.branches]
        for order in permutations(range(len(ends))):
            text = ", ".join(str(number + 1) for number in order)
            yield f"the branches in another order: {text}", np.concatenate([ends[number] for number in order], 1)
    if isinstance(node.layer, spec.Dropout):
        for _, own in difference.case.network_with_dropout.walk():  # in the other network of the case its rate is 0
            if isinstance(own.layer, spec.Dropout) and own.path == node.path:
                yield "dropout acts in evaluation", x * (difference.actual != 0) / (1 - own.layer.rate)
    if isinstance(node.layer, spec.BatchNorm):
        yield from batch_norm(difference, node.layer, x, **arrays)
    elif isinstance(node.layer, spec.Dense):
        yield from dense(node, before, x, **arrays)
    elif type(node.layer) in OTHERWISE:
        yield from OTHERWISE[type(node.layer)](node.layer, x, **arrays)
    yield "the layer is left out: its input passes on", x


def _node_at(difference: Difference) -> tuple[Node, Array, list[Node]]:
    """The node at the place, its input, and the nodes before it in reading order."""
    read: list[Node] = []

    def search(nodes: Sequence[Node], x: Array) -> tuple[Node, Array] | None:
        for node in nodes:
            if node.path == difference.place.tensor:
                return node, x
            read.append(node)
            for branch in node.branches:
                if inside := search(branch, x):
                    return inside
            if Place(difference.place.stage, "", 0, node.path) in difference.around:  # heads are absent in evaluation
                x = difference.output(node.path)
        return None

    answer = search(difference.case.network.nodes, difference.images)
    assert answer is not None, "every activation belongs to a layer"
    return *answer, read


def paddings(layer: Any, x: Array, **arrays: Array) -> Iterator[Guess]:
    """The same padding distributed differently over the sides."""
    (top, bottom), (left, right) = own = sides(layer.padding)
    vertical = {(top, bottom), (bottom, top), (0, top + bottom), (top + bottom, 0)}
    horizontal = {(left, right), (right, left), (0, left + right), (left + right, 0)}
    for around in product(sorted(vertical), sorted(horizontal)):
        if around != own:
            text = f"asymmetric padding: ((top, bottom), (left, right)) is {around}, not {own}"
            yield text, computed(replace(layer, padding=around), x, **arrays)


def conv(layer: spec.Conv, x: Array, weight: Array, bias: Array | float = 0.0) -> Iterator[Guess]:
    compute = partial(numpy_reference.conv, layer)
    if np.any(bias):
        yield "the bias is left out", compute(x, weight)[0]
    yield "the weights are 0: not loaded", compute(x, 0 * weight, bias)[0]
    yield "the kernels are mirrored: convolution, not cross-correlation", compute(x, weight[..., ::-1, ::-1], bias)[0]
    if weight.shape[2] == weight.shape[3]:
        yield "the kernels are transposed: rows for columns", compute(x, weight.swapaxes(2, 3), bias)[0]
    if weight.shape[0] == weight.shape[1]:
        yield "the kernels are transposed: inputs for outputs", compute(x, weight.swapaxes(0, 1), bias)[0]
    if layer.groups > 1:
        for inputs, outputs in zip(*(regrouped(maps, layer.groups) for maps in (x.shape[1], len(weight)))):
            yield "the groups take their inputs in another order", compute(x[:, inputs], weight, bias)[0]
            yield "the groups take their kernels in another order", compute(x, weight[outputs], bias)[0]
    yield from paddings(layer, x, weight=weight, bias=np.broadcast_to(bias, len(weight)))


def regrouped(maps: int, groups: int) -> list[Array]:
    """Orders of the maps: groups reversed, and one map of each group after the other, with its inverse."""
    parts = np.arange(maps).reshape(groups, -1)
    return [parts[::-1].ravel(), parts.T.ravel(), np.argsort(parts.T.ravel())]


def max_pool(layer: spec.MaxPool, x: Array) -> Iterator[Guess]:
    yield "the padding is 0, not minus infinity", computed(replace(layer, padding=0), numpy_reference.pad(x, layer))
    for count in (True, False):
        average = spec.AvgPool(layer.name, layer.kernel, layer.stride, layer.padding, count)
        yield "the mean of each window, not its largest value", computed(average, x)
    yield from paddings(layer, x)
    yield from rounded(layer, x)


def avg_pool(layer: spec.AvgPool, x: Array) -> Iterator[Guess]:
    other = replace(layer, count_padding=not layer.count_padding)
    yield f"the padding is {'not ' * layer.count_padding}counted in the average", computed(other, x)
    largest = spec.MaxPool(layer.name, layer.kernel, layer.stride, layer.padding)
    yield "the largest value of each window, not its mean", computed(largest, x)
    yield "the sum of each window, not its mean", computed(layer, x) * prod(spec.pair(layer.kernel))
    yield from paddings(layer, x)
    yield from rounded(layer, x)


def rounded(layer: spec.MaxPool | spec.AvgPool, x: Array) -> Iterator[Guess]:
    """The number of windows rounded up; positions beyond the input do not count."""
    pool = spec.MaxPool(layer.name, layer.kernel, layer.stride, layer.padding, ceil=True).resolved(x.shape[1:])
    words = "the number of windows is rounded up, not down"
    if isinstance(layer, spec.MaxPool):
        yield words, computed(pool, x)
    else:
        for count in (True, False):
            yield words, computed(replace(layer, padding=pool.padding, count_padding=count), x)


def global_avg_pool(layer: spec.GlobalAvgPool, x: Array) -> Iterator[Guess]:
    yield "the sum of each channel, not its mean", x.sum((2, 3), keepdims=True)
    yield "the largest value of each channel, not its mean", x.max((2, 3), keepdims=True)


def dense(node: Node, before: Sequence[Node], x: Array, weight: Array, bias: Array | float = 0.0) -> Iterator[Guess]:
    if np.any(bias):
        yield "the bias is left out", x @ weight.T
    yield "the weights are 0: not loaded", 0 * (x @ weight.T) + bias
    if weight.shape[0] == weight.shape[1]:
        yield "the weight is transposed", x @ weight + bias
    shapes = [other.input for other in before if other.output == node.input and len(other.input) == 3]
    for channels, height, width in shapes[-1:]:
        words = f"a permutation of the inputs of {node.path}: flatten order"
        last = np.moveaxis(x.reshape(-1, channels, height, width), 1, -1).reshape(x.shape)
        yield f"{words} H,W,C for C,H,W", last @ weight.T + bias
        first = np.moveaxis(x.reshape(-1, height, width, channels), -1, 1).reshape(x.shape)
        yield f"{words} C,H,W taken for H,W,C", first @ weight.T + bias


def flatten(layer: spec.Flatten, x: Array) -> Iterator[Guess]:
    if x.ndim == 4:
        for axes in permutations((1, 2, 3)):
            text = ",".join(" CHW"[axis] for axis in axes)
            yield f"flatten order: {text} for C,H,W", x.transpose(0, *axes).reshape(len(x), -1)


def batch_norm(difference: Difference, layer: spec.BatchNorm, x: Array, **arrays: Array) -> Iterator[Guess]:
    training, axes = difference.place.stage == "training", channel_axes(x)
    own = {"running_mean": arrays["running_mean"], "running_var": arrays["running_var"]}
    batch = {"running_mean": x.mean(axes), "running_var": x.var(axes)}
    used, other = (batch, own) if training else (own, batch)
    gamma, beta = arrays.get("gamma", 1.0), arrays.get("beta", 0.0)
    compute = partial(computed, layer, x)
    words = "running statistics in training" if training else "the batch's statistics in evaluation"
    yield words, compute(**arrays | other)
    count = x.size // x.shape[1]
    if training and count > 1:
        unbiased = batch | {"running_var": batch["running_var"] * count / (count - 1)}
        yield f"ratio {count}/{count - 1}: normalized by the unbiased variance", compute(**arrays | unbiased)
    for role in ("gamma", "beta"):
        yield f"{role} is left out", compute(**{key: array for key, array in (arrays | used).items() if key != role})
    mean, variance, factor, offset = (
        by_channel(values, x) for values in (used["running_mean"], used["running_var"], gamma, beta)
    )
    yield "epsilon outside the root", factor * (x - mean) / (np.sqrt(variance) + layer.eps) + offset
    # y = gamma (x - mean) / sqrt(variance + epsilon) + beta, solved for epsilon
    solved = float(np.nanmedian((factor * (x - mean) / (difference.actual - offset)) ** 2 - variance))
    epsilon = float(f"{solved:.2g}")
    if epsilon > 0:
        yield f"epsilon {epsilon:g} for {layer.eps:g}", computed(replace(layer, eps=epsilon), x, **arrays | used)


def affine(layer: spec.Affine, x: Array, gamma: Array, beta: Array) -> Iterator[Guess]:
    yield "beta is left out", computed(layer, x, gamma=gamma, beta=0 * beta)
    yield "gamma is left out", computed(layer, x, gamma=gamma**0, beta=beta)


def local_response_norm(layer: spec.LocalResponseNorm, x: Array) -> Iterator[Guess]:
    changed: dict[str, dict[str, Any]] = {
        "alpha is not divided by the size": {"alpha": layer.alpha * layer.size},
        "alpha is divided by the size twice": {"alpha": layer.alpha / layer.size},
        "the size is taken for the radius": {"size": 2 * layer.size + 1, "alpha": layer.alpha * (2 + 1 / layer.size)},
        "the size is taken for the radius, alpha undivided": {
            "size": 2 * layer.size + 1,
            "alpha": layer.alpha * (2 * layer.size + 1),
        },
    }
    for words, values in changed.items():
        yield words, computed(replace(layer, **values), x)
    yield "the window reaches one further up, not down", computed(layer, x[:, ::-1])[:, ::-1]


def activation(layer: Layer, x: Array) -> Iterator[Guess]:
    for other in (spec.ReLU(), spec.Sigmoid(), spec.Tanh()):
        yield f"{other.kind} for {layer.kind}", computed(other, x)


def normalize(layer: spec.Normalize, x: Array) -> Iterator[Guess]:
    turned = replace(layer, mean=layer.mean[::-1], std=layer.std[::-1])
    yield "mean and deviation by channel in reversed order: BGR for RGB", computed(turned, x)
    yield "the mean is not subtracted", computed(replace(layer, mean=(0.0,)), x)
    yield "not divided by the deviation", computed(replace(layer, std=(1.0,)), x)
    yield "divided by the variance, not the deviation", computed(replace(layer, std=tuple(s * s for s in layer.std)), x)


def resize(layer: spec.Resize, x: Array) -> Iterator[Guess]:
    sizes = x.shape[2:], (layer.height, layer.width)

    def at(position: Callable[[int, int], Array]) -> Array:
        rows, columns = (interpolation(position(size, to), size) for size, to in zip(*sizes))
        return rows @ x @ columns.T

    yield "half a pixel off: i size / to for (i + 1/2) size / to - 1/2", at(lambda size, to: np.arange(to) * size / to)
    yield "corners on corners: i (size - 1) / (to - 1)", at(lambda size, to: np.linspace(0, size - 1, to))
    yield "the nearest pixel, not linear", at(lambda size, to: ((np.arange(to) + 0.5) * size / to) // 1)


def interpolation(position: Array, size: int) -> Array:
    """The matrix of linear interpolation from `size` pixels to the positions."""
    return np.array([np.interp(position, np.arange(size), row) for row in np.eye(size)]).T


OTHERWISE: dict[type[Layer], Callable[..., Iterator[Guess]]] = {
    spec.Conv: conv,
    spec.MaxPool: max_pool,
    spec.AvgPool: avg_pool,
    spec.GlobalAvgPool: global_avg_pool,
    spec.Flatten: flatten,
    spec.Affine: affine,
    spec.LocalResponseNorm: local_response_norm,
    spec.ReLU: activation,
    spec.Sigmoid: activation,
    spec.Tanh: activation,
    spec.Normalize: normalize,
    spec.Resize: resize,
}
