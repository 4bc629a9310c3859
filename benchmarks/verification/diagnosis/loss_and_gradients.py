"""Guesses for the loss and the gradients: their values with known mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from benchmarks.verification.diagnosis.difference import Difference, Guess
from frameworks import spec
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass, Result, by_channel, channel_axes, cross_entropy
from frameworks.spec import Layer, Node

Back: TypeAlias = Callable[[Array], "tuple[Array, Weights]"]  # dy -> dx and gradients by role


def of_loss(difference: Difference) -> Iterator[Guess]:
    """The loss of the correct logits, computed with known mistakes."""
    network, labels, entropy = difference.case.network, difference.labels, partial(_entropy, difference)
    logits, heads = difference.output(network.nodes[-1].path), {}
    for node in network.heads:
        assert isinstance(node.layer, spec.Auxiliary), "only an auxiliary classifier is a head"
        heads[node.path] = node.layer.weight, entropy(difference.output(node.branches[0][-1].path))
    aside = sum(weight * loss for weight, loss in heads.values())
    main, whole = entropy(logits), entropy(logits) + aside
    count, classes = logits.shape
    yield f"ratio {count}, the batch: the loss is summed, not averaged", count * np.array(whole)
    yield f"ratio 1/{classes}, the classes: averaged over them too", np.array(whole / classes)
    yield "softmax is applied twice", np.array(entropy(softmax(logits, 1)) + aside)
    across = -np.log(softmax(logits, 0)[np.arange(count), labels]).mean()
    yield "cross-entropy on the wrong axis: softmax over the batch", np.array(across + aside)
    if difference.smoothing:
        yield "labels are not smoothed", np.array(cross_entropy(logits, labels)[0])
    if heads:
        terms = " + ".join(f"{weight:g} x {loss:.4g}" for weight, loss in heads.values())
        yield f"auxiliary classifiers are left out: lower by {terms}", np.array(main)
        full = sum(loss for _, loss in heads.values())
        yield "auxiliary classifiers count in full, not by their weight", np.array(main + full)


def _entropy(difference: Difference, logits: Array) -> float:
    return cross_entropy(logits, difference.labels, difference.smoothing)[0]


def softmax(logits: Array, axis: int) -> Array:
    exponentials = np.exp(logits - logits.max(axis, keepdims=True))
    return exponentials / exponentials.sum(axis, keepdims=True)


class Otherwise(Pass):
    """A pass of the reference with another derivative for one kind of layer."""

    def __init__(self, kind: type[Layer], back: Callable[[Node, Array], Back], *arguments: Any) -> None:
        self.kind, self.back = kind, back
        super().__init__(*arguments)

    def _layer(self, node: Node, x: Array) -> Result:
        result = super()._layer(node, x)
        return (result[0], self.back(node, x)) if isinstance(node.layer, self.kind) else result


def of_gradients(difference: Difference) -> Iterator[Guess]:
    """The gradients with a wrong derivative of one kind of layer."""
    for words, kind, back in (
        ("ReLU's derivative at 0 is 1, not 0", spec.ReLU, partial(_relu_back, 1.0)),
        ("ReLU's derivative at 0 is 1/2, not 0", spec.ReLU, partial(_relu_back, 0.5)),
        (
            "the batch's statistics are held constant on the way back",
            spec.BatchNorm,
            partial(_constant_back, difference),
        ),
    ):
        if any(isinstance(node.layer, kind) for _, node in difference.case.network.walk()):
            masks = np.random.default_rng(0)  # for training; the network of a case has no dropout
            run = Otherwise(
                kind, back, difference.case.network, difference.case.weights, difference.images, masks, False
            )
            run.backward(difference.labels, difference.smoothing)
            yield words, run.gradients[difference.place.tensor]


def _relu_back(at_zero: float, node: Node, x: Array) -> Back:
    return lambda dy: (dy * ((x > 0) + at_zero * (x == 0)), {})


def _constant_back(difference: Difference, node: Node, x: Array) -> Back:
    """dx = gamma / sqrt(variance + eps) dy, without the terms of the statistics."""
    layer, axes = node.layer, channel_axes(x)
    assert isinstance(layer, spec.BatchNorm)
    inverse = by_channel(1 / np.sqrt(x.var(axes) + layer.eps), x)
    z = (x - by_channel(x.mean(axes), x)) * inverse
    factor = by_channel(difference.case.weights[f"{node.path}.gamma"], x) if layer.gamma else 1.0
    return lambda dy: (dy * factor * inverse, {"gamma": (dy * z).sum(axes), "beta": dy.sum(axes)})
