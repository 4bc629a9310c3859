"""Hypotheses for the loss and the gradients: their values with known mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from benchmarks.verification.diagnosis.difference import Difference, Hypothesis
from benchmarks.verification.diagnosis.layers import softmax
from frameworks import spec
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass, cross_entropy
from frameworks.reference_layers.base import Result, by_channel, channel_axes, mixed
from frameworks.spec import Layer, Node

Back: TypeAlias = Callable[[Array], "tuple[Array, Weights]"]  # dy -> dx and gradients by role
Entropy: TypeAlias = Callable[[Array], float]  # of logits

# --- loss -------------------------------------------------------------------------------------------------------------


def of_loss(difference: Difference) -> Iterator[Hypothesis]:
    """The loss of the correct logits, computed with known mistakes."""
    network, labels = difference.case.network, difference.labels
    logits = difference.outputs[network.nodes[-1].path]
    heads: dict[str, tuple[float, Array]] = {}  # weight and logits of auxiliary classifiers
    for node in network.heads:
        assert isinstance(node.layer, spec.Auxiliary), "only an auxiliary classifier is a head"
        heads[node.path] = node.layer.weight, difference.outputs[node.branches[0][-1].path]

    def total(entropy: Entropy) -> Array:
        return np.array(entropy(logits) + sum(weight * entropy(aside) for weight, aside in heads.values()))

    for smoothing in difference.smoothings:
        entropy = partial(_entropy, labels, smoothing)
        if difference.recomputes(total(entropy)):
            yield from _changed(logits, labels, smoothing, total)
            yield from _smoothed(difference, logits, labels, smoothing, total)
            yield from _auxiliary(difference, logits, heads, labels, smoothing)
            yield from _penalized(difference, total(entropy))
            return


def _entropy(labels: Array, smoothing: float, logits: Array) -> float:
    return cross_entropy(logits, labels, smoothing)[0]


def _changed(logits: Array, labels: Array, smoothing: float, total: Callable[[Entropy], Array]) -> Iterator[Hypothesis]:
    """Another reduction, or other probabilities."""
    (count, classes), entropy = logits.shape, partial(_entropy, labels, smoothing)
    whole = total(entropy)
    yield Hypothesis("ratio {}, the batch: the loss is summed, not averaged", count * whole, (count,))
    yield Hypothesis("ratio 1/{}, the classes: averaged over them too", whole / classes, (classes,))
    yield Hypothesis("the logarithm has base 2", whole / np.log(2))
    yield Hypothesis("softmax is applied twice", total(lambda values: entropy(softmax(values, 1))))
    across = total(lambda values: float(-np.log(softmax(values, 0)[np.arange(count), labels]).mean()))
    yield Hypothesis("cross-entropy on the wrong axis: softmax over the batch", across)
    target = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    for constant in (1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5):
        added = total(partial(_of_probabilities, target, partial(np.add, constant)))
        yield Hypothesis("{:g} is added to the probabilities before the logarithm", added, (constant,))
        clip = partial(np.clip, a_min=constant, a_max=1 - constant)
        yield Hypothesis(
            "probabilities are clipped to {0:g} and 1 - {0:g}",
            total(partial(_of_probabilities, target, clip)),
            (constant,),
        )


def _of_probabilities(target: Array, change: Callable[[Array], Array], logits: Array) -> float:
    return float(-(target * np.log(change(softmax(logits, 1)))).sum() / len(logits))


def _smoothed(
    difference: Difference, logits: Array, labels: Array, smoothing: float, total: Callable[[Entropy], Array]
) -> Iterator[Hypothesis]:
    """Another label smoothing."""
    plain, right = float(total(partial(_entropy, labels, 0.0))), float(difference.reference)
    classes = logits.shape[1]
    if not smoothing:
        for other in (0.1, 0.01, 0.05, 0.2):
            yield Hypothesis("labels are smoothed by {:g}", total(partial(_entropy, labels, other)), (other,))
        return
    yield Hypothesis("labels are not smoothed", np.array(plain))
    spread = smoothing * classes / (classes - 1)  # s / (classes - 1) for the other classes, 1 - s for the label
    others = total(partial(_entropy, labels, spread))
    yield Hypothesis("the smoothing is spread over the other classes only", others)
    # The loss is linear in the smoothing. A figure of two digits hardly reproduces a loss by chance.
    solved = smoothing * (float(difference.actual) - plain) / (right - plain)
    other = float(f"{solved:.2g}")
    if 0 < other < 1 and other != smoothing:
        yield Hypothesis("label smoothing {:g} for {:g}", total(partial(_entropy, labels, other)), (other, smoothing))


def _auxiliary(
    difference: Difference, logits: Array, heads: dict[str, tuple[float, Array]], labels: Array, smoothing: float
) -> Iterator[Hypothesis]:
    """Another contribution of the auxiliary classifiers."""
    if not heads:
        return
    entropy = partial(_entropy, labels, smoothing)
    main = entropy(logits)
    losses = {path: (weight, entropy(aside)) for path, (weight, aside) in heads.items()}
    terms = " + ".join(f"{weight:g} x {loss:.4g}" for weight, loss in losses.values())
    cause = "auxiliary classifiers are left out: lower by {}"
    yield Hypothesis(cause, np.array(main), (terms,))
    full = sum(loss for _, loss in losses.values())
    yield Hypothesis("auxiliary classifiers count in full, not by their weight", np.array(main + full))
    aside = sum(weight * loss for weight, loss in losses.values())
    for path, (weight, loss) in losses.items() if len(losses) > 1 else ():
        yield Hypothesis("auxiliary classifier {} is left out", np.array(main + aside - weight * loss), (path,))
    if smoothing:
        plain = sum(weight * _entropy(labels, 0.0, values) for weight, values in heads.values())
        yield Hypothesis("labels are not smoothed for auxiliary classifiers", np.array(main + plain))
        plain_main = np.array(_entropy(labels, 0.0, logits) + aside)
        yield Hypothesis("labels are smoothed for auxiliary classifiers only", plain_main)
    # A weight of two digits hardly reproduces a loss by chance.
    if len({weight for weight, _ in losses.values()}) == 1:
        (weight, *_), actual = (weight for weight, _ in losses.values()), float(difference.actual)
        other = float(f"{(actual - main) / full:.2g}")
        if other > 0 and other not in (weight, 1.0):
            cause = "the weight of auxiliary classifiers is {:g}, not {:g}"
            yield Hypothesis(cause, np.array(main + other * full), (other, weight))


def _penalized(difference: Difference, whole: Array) -> Iterator[Hypothesis]:
    """Weight decay as a term of the loss, over all arrays that decay."""
    case = difference.case
    for training in case.trainings.values():
        decay = training.optimizer.weight_decay
        squares = sum(float((case.weights[p.name] ** 2).sum()) for p in case.network.parameters if p.role == "weight")
        if decay:
            yield Hypothesis("the loss contains weight decay: decay / 2 times the squares", whole + decay / 2 * squares)
            yield Hypothesis("the loss contains weight decay: decay times the squares", whole + decay * squares)
            return


# --- gradients --------------------------------------------------------------------------------------------------------


class Otherwise(Pass):
    """A pass of the reference with another derivative for one kind of layer."""

    def __init__(self, kind: type[Layer], back: Callable[[Node, Array], Back], *arguments: Any) -> None:
        self.kind, self.back = kind, back
        super().__init__(*arguments)

    def _layer(self, node: Node, x: Array) -> Result:
        result = super()._layer(node, x)
        return (result[0], self.back(node, x)) if isinstance(node.layer, self.kind) else result


def of_gradients(difference: Difference) -> Iterator[Hypothesis]:
    """The gradients with another loss or a wrong derivative of one kind of layer."""
    network, weights, labels = difference.case.network, difference.case.weights, difference.labels
    for smoothing in difference.smoothings:
        run = Pass(network, weights, difference.images, _masks(), False)
        run.backward(labels, smoothing)
        right = run.gradients.get(difference.place.tensor)
        if right is not None and difference.recomputes(right):
            break
    else:
        return
    if smoothing:
        run = Pass(network, weights, difference.images, _masks(), False)
        run.backward(labels, 0.0)
        yield Hypothesis("the gradient is that of labels that are not smoothed", run.gradients[difference.place.tensor])
    if network.heads:
        run = Pass(network, weights, difference.images, _masks(), False)
        run.heads = {path: (logits, 0.0) for path, (logits, _) in run.heads.items()}
        run.backward(labels, smoothing)
        yield Hypothesis("auxiliary classifiers contribute no gradient", run.gradients[difference.place.tensor])
    for cause, kind, back in (
        ("ReLU's derivative at 0 is 1, not 0", spec.ReLU, partial(_relu_back, 1.0)),
        ("ReLU's derivative at 0 is 1/2, not 0", spec.ReLU, partial(_relu_back, 0.5)),
        ("the batch's statistics are held constant on the way back", spec.BatchNorm, partial(_constant_back, weights)),
        ("the denominator of LRN is held constant on the way back", spec.LocalResponseNorm, _denominator_back),
    ):
        if any(isinstance(node.layer, kind) for _, node in network.walk()):
            run = Otherwise(kind, back, network, weights, difference.images, _masks(), False)
            run.backward(labels, smoothing)
            yield Hypothesis(cause, run.gradients[difference.place.tensor])


def _masks() -> np.random.Generator:
    """For training mode; the network of a case has no dropout."""
    return np.random.default_rng(0)


def _relu_back(at_zero: float, node: Node, x: Array) -> Back:
    return lambda dy: (dy * ((x > 0) + at_zero * (x == 0)), {})


def _constant_back(weights: Weights, node: Node, x: Array) -> Back:
    """dx = gamma / sqrt(variance + eps) dy, without the terms of the statistics."""
    layer, axes = node.layer, channel_axes(x)
    assert isinstance(layer, spec.BatchNorm)
    inverse = by_channel(1 / np.sqrt(x.var(axes) + layer.eps), x)
    z = (x - by_channel(x.mean(axes), x)) * inverse
    factor = by_channel(weights[f"{node.path}.gamma"], x) if layer.gamma else 1.0
    return lambda dy: (dy * factor * inverse, {"gamma": (dy * z).sum(axes), "beta": dy.sum(axes)})


def _denominator_back(node: Node, x: Array) -> Back:
    """dx = dy s^-beta, without the derivative of s."""
    layer = node.layer
    assert isinstance(layer, spec.LocalResponseNorm)
    below, above = layer.size // 2, (layer.size - 1) // 2
    band = np.tri(x.shape[1], x.shape[1], above) - np.tri(x.shape[1], x.shape[1], -below - 1)
    s = layer.k + layer.alpha / layer.size * mixed(band, x * x)
    return lambda dy: (dy * s**-layer.beta, {})
