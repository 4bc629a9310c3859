"""The likely cause of a first difference: a wrong computation that gives exactly what was found.

A guess is computed, not felt: a layer, the loss or a step is computed anew as if it had been written in one of the ways
in which programs are known to differ, and it is named only where it gives the found tensor to rounding. Where none
does, the difference itself may tell: a constant ratio, another order of the same values, the edges alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import permutations, product
from math import prod
from typing import Any, TypeAlias

import numpy as np

from benchmarks.proof.evidence import LARGE, Evidence, Place, Trial
from frameworks import reference, spec
from frameworks.adapter import Array, Weights, batches
from frameworks.reference import LAYERS, Pass, Result, by_channel, channel_axes, cross_entropy
from frameworks.spec import Layer, Node, sides
from frameworks.training import SGD, Adam, Training

Back: TypeAlias = Callable[[Array], "tuple[Array, Weights]"]  # dy -> dx and gradients by role
Guess: TypeAlias = "tuple[str, Array]"  # the cause in words, and the tensor as it would then be


@dataclass(frozen=True)
class Difference:
    """A tensor that differs, what it should be, and what is known around it."""

    place: Place
    found: Array
    truth: Array
    around: Evidence  # the reference's
    trial: Trial
    eps: float  # a unit in the last place of 1, in the framework's precision

    def explained_by(self, guess: Array) -> bool:
        """Whether a guess leaves nothing but rounding, and at most a thousandth of the difference.

        Rounding: 2^14 units in the last place of the largest value, as ten steps of training may gather.
        """
        if guess.shape != self.found.shape or not np.isfinite(self.found).all():
            return False
        allowed = 2**14 * self.eps * np.abs(self.found).max(initial=0)
        if self.found.shape == self.truth.shape:
            allowed = min(allowed, 1e-3 * np.abs(self.found - self.truth).max(initial=0))
        return bool(np.abs(self.found - guess).max(initial=0) <= allowed)

    @property
    def agrees(self) -> bool:
        """Whether nothing differs after all: it does so from the departure that is declared."""
        if self.found.shape != self.truth.shape:
            return False
        gap, scale = (np.abs(values).max(initial=0) for values in (self.found - self.truth, self.truth))
        return bool(gap <= 64 * self.eps * scale)  # where the certificate sees rounding alone

    def output(self, path: str) -> Array:
        """What the reference's layer gives, in the mode of this stage."""
        return self.around[Place("evaluation" if self.place.stage == "evaluation" else "training", "", 0, path)]

    @property
    def images(self) -> Array:
        """The batch that activations, the loss and gradients are taken of."""
        return self.trial.images[: self.trial.batch_size].astype(np.float64)

    @property
    def labels(self) -> Array:
        return self.trial.labels[: self.trial.batch_size]

    @property
    def smoothing(self) -> float:
        """Of the labels, in the first case, in which the loss and the gradients are taken."""
        return next(iter(self.trial.cases.values())).label_smoothing


def likely(place: Place, found: Evidence, truth: Evidence, trial: Trial) -> str | None:
    """The likely cause of the first difference, which is at `place`, and what speaks for it; None where none is met."""
    if place not in found or place not in truth:
        return "the reference has no such tensor" if place in found else None
    kinds = {array.dtype for array in found.values() if array.dtype.kind == "f"}  # a loss is always a double
    eps = max((float(np.finfo(kind).eps) for kind in kinds), default=0.0)
    one = Difference(place, np.asarray(found[place]), truth[place], truth, trial, eps)
    if place.stage == "parameters":
        return described(one.found, one.truth)
    if one.agrees:
        return "the plain formula: a declared departure does not show"
    guesses = GUESSES.get(place.stage, nothing)
    with np.errstate(all="ignore"):  # a wrong guess may well divide by zero
        for words, guess in guesses(one):
            if one.explained_by(guess):
                return words
        if one.found.shape != one.truth.shape:
            return f"the shape is {spec.times(one.found.shape)}, not {spec.times(one.truth.shape)}"
        return next(filter(None, (pattern(one) for pattern in PATTERNS)), None)


def nothing(one: Difference) -> Iterator[Guess]:
    yield from ()


def described(found: Array, truth: Array) -> str:
    """How an array that a framework has built differs from the spec's; both are (*shape, whether it is trained)."""
    shape, right = tuple(found[:-1].astype(int)), tuple(truth[:-1].astype(int))
    if shape == right:
        return "it is trained and should not be" if found[-1] else "it is not trained and should be"
    order = "its axes are in another order: " if sorted(shape) == sorted(right) else ""
    return f"{order}the shape is {spec.times(shape)}, not {spec.times(right)}"


# --- layers -----------------------------------------------------------------------------------------------------------


def computed(layer: Layer, x: Array, **arrays: Array) -> Array:
    return LAYERS[type(layer)](layer, x, **arrays)[0]


def of_layer(one: Difference) -> Iterator[Guess]:
    """The layer at the place computed otherwise from the right input."""
    node, x, before = _found_node(one)
    arrays = {parameter.role: one.trial.weights[parameter.name] for parameter in node.parameters}
    if isinstance(node.layer, spec.Residual):
        ends = [one.output(branch[-1].path) if branch else x for branch in node.branches]
        yield "the shortcut is left out", ends[0]
        yield "the body is left out: the shortcut alone", ends[1]
    if isinstance(node.layer, spec.Concat) and len(node.branches) < 6:
        ends = [one.output(branch[-1].path) if branch else x for branch in node.branches]
        for order in permutations(range(len(ends))):
            told = ", ".join(str(number + 1) for number in order)
            yield f"the branches in another order: {told}", np.concatenate([ends[number] for number in order], 1)
    if isinstance(node.layer, spec.Dropout):
        for _, own in one.trial.dropping.walk():  # in the trial's other network its rate is 0
            if isinstance(own.layer, spec.Dropout) and own.path == node.path:
                yield "dropout acts in evaluation", x * (one.found != 0) / (1 - own.layer.rate)
    if isinstance(node.layer, spec.BatchNorm):
        yield from batch_norm(one, node.layer, x, **arrays)
    elif isinstance(node.layer, spec.Dense):
        yield from dense(node, before, x, **arrays)
    elif type(node.layer) in OTHERWISE:
        yield from OTHERWISE[type(node.layer)](node.layer, x, **arrays)
    yield "the layer is left out: its input passes on", x


def _found_node(one: Difference) -> tuple[Node, Array, list[Node]]:
    """The node at the place, its input, and the nodes before it in reading order."""
    read: list[Node] = []

    def search(nodes: Sequence[Node], x: Array) -> tuple[Node, Array] | None:
        for node in nodes:
            if node.path == one.place.tensor:
                return node, x
            read.append(node)
            for branch in node.branches:
                if inside := search(branch, x):
                    return inside
            if Place(one.place.stage, "", 0, node.path) in one.around:  # heads are absent in evaluation
                x = one.output(node.path)
        return None

    answer = search(one.trial.network.nodes, one.images)
    assert answer is not None, "every activation is some layer's"
    return *answer, read


def paddings(layer: Any, x: Array, **arrays: Array) -> Iterator[Guess]:
    """The same padding shared otherwise between the sides."""
    (top, bottom), (left, right) = own = sides(layer.padding)
    vertical = {(top, bottom), (bottom, top), (0, top + bottom), (top + bottom, 0)}
    horizontal = {(left, right), (right, left), (0, left + right), (left + right, 0)}
    for around in product(sorted(vertical), sorted(horizontal)):
        if around != own:
            told = f"asymmetric padding: ((top, bottom), (left, right)) is {around}, not {own}"
            yield told, computed(replace(layer, padding=around), x, **arrays)


def conv(layer: spec.Conv, x: Array, weight: Array, bias: Array | float = 0.0) -> Iterator[Guess]:
    compute = partial(reference.conv, layer)
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
    """Maps with their groups reversed; and one of each group in turn, there and back."""
    parts = np.arange(maps).reshape(groups, -1)
    return [parts[::-1].ravel(), parts.T.ravel(), np.argsort(parts.T.ravel())]


def max_pool(layer: spec.MaxPool, x: Array) -> Iterator[Guess]:
    yield "the padding is 0, not minus infinity", computed(replace(layer, padding=0), reference.pad(x, layer))
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
    """The number of windows rounded up, what is beyond the input left out of them."""
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
            told = ",".join(" CHW"[axis] for axis in axes)
            yield f"flatten order: {told} for C,H,W", x.transpose(0, *axes).reshape(len(x), -1)


def batch_norm(one: Difference, layer: spec.BatchNorm, x: Array, **arrays: Array) -> Iterator[Guess]:
    training, axes = one.place.stage == "training", channel_axes(x)
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
        yield f"ratio {count}/{count - 1}: normalised by the unbiased variance", compute(**arrays | unbiased)
    for role in ("gamma", "beta"):
        yield f"{role} is left out", compute(**{key: array for key, array in (arrays | used).items() if key != role})
    mean, variance, factor, offset = (
        by_channel(values, x) for values in (used["running_mean"], used["running_var"], gamma, beta)
    )
    yield "epsilon outside the root", factor * (x - mean) / (np.sqrt(variance) + layer.eps) + offset
    # y = gamma (x - mean) / sqrt(variance + epsilon) + beta, solved for epsilon
    solved = float(np.nanmedian((factor * (x - mean) / (one.found - offset)) ** 2 - variance))
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
    """The matrix that takes `size` pixels to those at `position`, between the two around each."""
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


# --- loss and gradients -----------------------------------------------------------------------------------------------


def of_loss(one: Difference) -> Iterator[Guess]:
    """The loss of the right logits, taken otherwise."""
    network, labels, entropy = one.trial.network, one.labels, partial(_entropy, one)
    logits, heads = one.output(network.nodes[-1].path), {}
    for node in network.heads:
        assert isinstance(node.layer, spec.Auxiliary), "nothing else is a head"
        heads[node.path] = node.layer.weight, entropy(one.output(node.branches[0][-1].path))
    aside = sum(weight * loss for weight, loss in heads.values())
    main, whole = entropy(logits), entropy(logits) + aside
    count, classes = logits.shape
    yield f"ratio {count}, the batch: the loss is summed, not averaged", count * np.array(whole)
    yield f"ratio 1/{classes}, the classes: averaged over them too", np.array(whole / classes)
    yield "softmax is applied twice", np.array(entropy(softmax(logits, 1)) + aside)
    across = -np.log(softmax(logits, 0)[np.arange(count), labels]).mean()
    yield "cross-entropy on the wrong axis: softmax over the batch", np.array(across + aside)
    if one.smoothing:
        yield "labels are not smoothed", np.array(cross_entropy(logits, labels)[0])
    if heads:
        shares = " + ".join(f"{weight:g} x {loss:.4g}" for weight, loss in heads.values())
        yield f"auxiliary classifiers are left out: lower by {shares}", np.array(main)
        full = sum(loss for _, loss in heads.values())
        yield "auxiliary classifiers count in full, not by their weight", np.array(main + full)


def _entropy(one: Difference, logits: Array) -> float:
    return cross_entropy(logits, one.labels, one.smoothing)[0]


def softmax(logits: Array, axis: int) -> Array:
    exponentials = np.exp(logits - logits.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


class Otherwise(Pass):
    """A pass of the reference whose layers of one kind go back in another way."""

    def __init__(self, kind: type[Layer], back: Callable[[Node, Array], Back], *arguments: Any) -> None:
        self.kind, self.back = kind, back
        super().__init__(*arguments)

    def _layer(self, node: Node, x: Array) -> Result:
        result = super()._layer(node, x)
        return (result[0], self.back(node, x)) if isinstance(node.layer, self.kind) else result


def of_gradients(one: Difference) -> Iterator[Guess]:
    """The gradients with the derivative of one kind of layer taken otherwise."""
    for words, kind, back in (
        ("ReLU's derivative at 0 is 1, not 0", spec.ReLU, partial(_relu_back, 1.0)),
        ("ReLU's derivative at 0 is 1/2, not 0", spec.ReLU, partial(_relu_back, 0.5)),
        ("the batch's statistics are held constant on the way back", spec.BatchNorm, partial(_constant_back, one)),
    ):
        if any(isinstance(node.layer, kind) for _, node in one.trial.network.walk()):
            masks = np.random.default_rng(0)  # for training; the trial's network drops nothing
            run = Otherwise(kind, back, one.trial.network, one.trial.weights, one.images, masks, False)
            run.backward(one.labels, one.smoothing)
            yield words, run.gradients[one.place.tensor]


def _relu_back(at_zero: float, node: Node, x: Array) -> Back:
    return lambda dy: (dy * ((x > 0) + at_zero * (x == 0)), {})


def _constant_back(one: Difference, node: Node, x: Array) -> Back:
    """dx = gamma / sqrt(variance + eps) dy alone."""
    layer, axes = node.layer, channel_axes(x)
    assert isinstance(layer, spec.BatchNorm)
    inverse = by_channel(1 / np.sqrt(x.var(axes) + layer.eps), x)
    z = (x - by_channel(x.mean(axes), x)) * inverse
    factor = by_channel(one.trial.weights[f"{node.path}.gamma"], x) if layer.gamma else 1.0
    return lambda dy: (dy * factor * inverse, {"gamma": (dy * z).sum(axes), "beta": dy.sum(axes)})


# --- steps ------------------------------------------------------------------------------------------------------------


def of_steps(one: Difference) -> Iterator[Guess]:
    """The trial's steps taken by another rule."""
    place, training = one.place, one.trial.cases[one.place.case]
    if place.step > 1 and one.trial.network.trainable > LARGE:
        return  # ten steps in each of so many ways would take longer than the certificate
    rates = one.trial.rates(place.case, place.step)
    take = partial(replayed, one.trial)
    for words, other in otherwise(training):
        yield words, take(other, rates)[place.tensor]
    yield "the rate changes one step late", take(training, [rates[0], *rates[:-1]])[place.tensor]
    cleared = "the gradient is not cleared: each step takes the sum of all so far"
    yield cleared, take(training, rates, kept=1.0)[place.tensor]
    yield "the rate is left out", take(training, [1.0] * len(rates))[place.tensor]
    for share, form in ((1 / one.trial.batch_size, "divided by"), (one.trial.batch_size, "multiplied by")):
        scaled = take(training, rates, share=share)[place.tensor]
        yield f"the gradient of the mean loss is {form} the batch, {one.trial.batch_size}", scaled
    if isinstance(training.optimizer, Adam):
        yield "steps are counted from 2, not from 1", take(training, rates, ahead=1)[place.tensor]
        yield "the bias correction is left out", take(training, rates, ahead=1_000_000)[place.tensor]


def otherwise(training: Training) -> Iterator[tuple[str, Training]]:
    """What is written in other ways by others, and what is easily forgotten."""
    rule = training.optimizer
    if rule.weight_decay:
        yield "decay acts on biases, gamma and beta too", replace(training, decay_all=True)
    if training.label_smoothing:
        yield "labels are not smoothed", replace(training, label_smoothing=0.0)
    for words, changes in (_sgd(rule) if isinstance(rule, SGD) else _adam(rule)).items():
        yield words, replace(training, optimizer=replace(rule, **changes))


def _decay(rule: SGD | Adam) -> dict[str, dict[str, Any]]:
    if not rule.weight_decay:
        return {}
    form = "L2, in the gradient, not decoupled" if rule.decoupled else "decoupled, not L2 in the gradient"
    return {
        "no weight decay": {"weight_decay": 0.0},
        "twice the weight decay": {"weight_decay": 2 * rule.weight_decay},
        f"weight decay is {form}": {"decoupled": not rule.decoupled},
    }


def _sgd(rule: SGD) -> dict[str, dict[str, Any]]:
    if not rule.momentum:
        return _decay(rule)
    ways: dict[str, dict[str, Any]] = {
        f"Nesterov's form is {'left out' if rule.nesterov else 'taken'}": {"nesterov": not rule.nesterov},
        "momentum holds the rate: v = momentum v + rate g": {"rate_inside": True},
        "no momentum": {"momentum": 0.0, "nesterov": False},
    }
    others = sorted({0.1, 0.5, 0.9, 0.99} - {rule.momentum})
    return ways | {f"momentum {other} for {rule.momentum}": {"momentum": other} for other in others} | _decay(rule)


def _adam(rule: Adam) -> dict[str, dict[str, Any]]:
    others = (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
    return {
        "epsilon inside the bias correction": {"epsilon_hat": True},
        **{f"epsilon {other:g} for {rule.epsilon:g}": {"epsilon": other} for other in others if other != rule.epsilon},
        "beta2 0.99 for 0.999": {"beta2": 0.99},
        **_decay(rule),
    }


def replayed(
    trial: Trial, training: Training, rates: Sequence[float], share: float = 1.0, kept: float = 0.0, ahead: int = 0
) -> Weights:
    """The reference's arrays after a step for each rate, from the trial's weights and on its batches.

    share: what each gradient is multiplied by. kept: the share of the last one that is added to the next. ahead: what
    is added to the count of steps.
    """
    weights = {name: np.array(array, np.float64) for name, array in trial.weights.items()}
    sums: Weights = {}
    for step, (taken, rate) in enumerate(zip(batches(trial.order, trial.batch_size), rates), 1):
        run = Pass(trial.network, weights, trial.images[taken], np.random.default_rng(0), False)
        run.backward(trial.labels[taken], training.label_smoothing)
        weights |= run.running
        for name in [parameter.name for parameter in trial.network.parameters if parameter.trainable]:
            sums[name] = share * run.gradients[name] + kept * sums.get(name, 0.0)
            reference.update(weights, name, sums[name], training, rate, step + ahead)
    return weights


def of_running(one: Difference) -> Iterator[Guess]:
    """A running statistic after its first move, r = (1 - momentum) r + momentum * batch's, moved otherwise."""
    if one.place.step != 1:
        return
    path, _, role = one.place.tensor.rpartition(".")
    node = next(node for _, node in one.trial.network.walk() if node.path == path)
    assert isinstance(node.layer, spec.BatchNorm), "nothing else has running statistics"
    momentum, before = node.layer.momentum, one.trial.weights[one.place.tensor]
    batch = before + (one.truth - before) / momentum
    yield "it does not move: stale statistics", before
    if role == "running_var":
        count = one.trial.batch_size * prod(node.input[1:])
        for words, value in {
            f"ratio {count}/{count - 1}: unbiased for biased variance": batch * count / (count - 1),
            "the deviation for the variance": np.sqrt(batch),
        }.items():
            yield words, (1 - momentum) * before + momentum * value
    other = float(f"{np.median((one.found - before) / (batch - before)):.3g}")
    turned = ": the share of the old value for that of the new" if np.isclose(other, 1 - momentum) else ""
    yield f"momentum {other:g} for {momentum:g}{turned}", before + other * (batch - before)


# --- patterns of any tensor -------------------------------------------------------------------------------------------


def not_finite(one: Difference) -> str | None:
    wrong = int((~np.isfinite(one.found)).sum())
    return f"{wrong} of {one.found.size} values are not finite" if wrong else None


def zero(one: Difference) -> str | None:
    return None if np.any(one.found) else "every value is 0"


def ratio(one: Difference) -> str | None:
    """The same factor everywhere, as a fraction where it is one."""
    there = np.abs(one.truth) > 1e-3 * np.abs(one.truth).max(initial=0)
    if one.found.size < 2 or not there.any():
        return None
    factor = float(np.median(one.found[there] / one.truth[there]))
    if not one.explained_by(factor * one.truth):
        return None
    batch = one.trial.batch_size
    meaning = {batch: ": the batch's sum, not its mean", Fraction(1, batch): ": divided by the batch once too often"}
    simple = Fraction(factor).limit_denominator(1000)
    exact = np.isclose(float(simple), factor, rtol=64 * one.eps, atol=0)
    return f"ratio {simple}{meaning.get(simple, '')}" if exact else f"ratio {factor:.6g}"


def order(one: Difference) -> str | None:
    """The same values in another order: the channels, two axes, or anyhow within each picture."""
    found, truth = one.found, one.truth
    if found.ndim > 1 and found.shape[1] > 1:
        means = found.mean(channel_axes(found)), truth.mean(channel_axes(truth))
        taken = np.abs(np.subtract.outer(*means)).argmin(1)
        if len(set(taken.tolist())) == len(taken) and one.explained_by(truth[:, taken]):
            return f"the channels in another order: {', '.join(map(str, taken[:16]))}"
    for first in range(found.ndim - 1):
        for second in range(first + 1, found.ndim):
            if one.explained_by(truth.swapaxes(first, second)):
                return f"transposed: axes {first} and {second} exchanged"
    if found.ndim < 2 or found.size <= 3 * len(found):
        return None  # of so few values, some are in order by chance
    ours, theirs = (values.reshape(len(values), -1) for values in (found, truth))
    guess = np.empty_like(theirs)
    np.put_along_axis(guess, ours.argsort(1), np.sort(theirs, 1), 1)
    return "a permutation: the same values in another order" if one.explained_by(guess.reshape(truth.shape)) else None


def constant_by_channel(one: Difference) -> str | None:
    if one.found.ndim < 2 or one.found.size <= one.found.shape[1]:
        return None
    offset = (one.found - one.truth).mean(channel_axes(one.truth))
    return "off by a constant in each channel" if one.explained_by(one.truth + by_channel(offset, one.truth)) else None


def edges(one: Difference) -> str | None:
    """Differences in the outer rows and columns alone."""
    if one.found.ndim != 4 or min(one.found.shape[2:]) < 3:
        return None
    wrong = np.abs(one.found - one.truth).max((0, 1)) > 1e-10 * np.abs(one.truth).max()
    at = {"top": wrong[0], "bottom": wrong[-1], "left": wrong[:, 0], "right": wrong[:, -1]}
    inner = [name for name in at if not at[name][1:-1].any()]
    if wrong[1:-1, 1:-1].any() or len(inner) == len(at):
        return None
    told = " and ".join(name for name in at if name not in inner)
    return f"differs at the {told} edge alone: asymmetric padding" if inner else "differs at the edges alone: padding"


def single(one: Difference) -> str | None:
    """Errors of the size of float32's rounding, 2^-24, in a tensor of float64."""
    if one.found.dtype != np.float64:
        return None
    error = np.abs(one.found - one.truth).max() / np.abs(one.truth).max()
    if not 2**-27 < error < 2**-20:
        return None
    return f"relative error {error:.0e}, the size of float32's rounding: something on the way is float32"


GUESSES: dict[str, Callable[[Difference], Iterator[Guess]]] = {
    "evaluation": of_layer,
    "training": of_layer,
    "loss": of_loss,
    "gradients": of_gradients,
    "optimisers": of_steps,
    "running statistics": of_running,
}
PATTERNS: tuple[Callable[[Difference], str | None], ...] = (
    not_finite, zero, ratio, order, constant_by_channel, edges, single,
)  # fmt: skip
