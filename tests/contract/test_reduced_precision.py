"""Training in 16 bits: layers compute in them, arrays and their updates stay in float32."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from benchmarks.runtime.worker_client import WorkerClient
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights, initial
from frameworks.numpy_reference import Reference
from frameworks.spec import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Network,
    ReLU,
    Residual,
    Scale,
)
from frameworks.training import FINITE_STEPS, LOSS_SCALE, SCALE, SGD, Adam, Training
from tests.conftest import THREADS, Bench

FRAMEWORKS = ("torch", "keras", "jax", "keras@jax", "keras@torch")
PRECISIONS: tuple[Any, ...] = ("bfloat16", "float16")
UNIT = {"bfloat16": 2.0**-8, "float16": 2.0**-11}  # half of the distance between 1 and the next value
IMAGE_COUNT, BATCH_SIZE = 24, 8
MOMENTUM = 0.25
LR, SMALL_LR = 0.5, 0.01


def network(*dropout: Layer) -> Network:
    body = [Conv("C2", 6, 3, 1, 1, bias=False), BatchNorm("B2", momentum=MOMENTUM), ReLU("R2")]
    layers = [
        Scale("pixels"), Conv("C1", 6, 3, 1, 1), BatchNorm("B1", momentum=MOMENTUM), ReLU("R1"), Residual("S", body),
        GlobalAvgPool("G"), Flatten("F"), *dropout, Dense("D", 10),
    ]  # fmt: skip
    return Network("small", (3, 8, 8), layers)


PLAIN, DROPPING = network(), network(Dropout("drop", rate=0.25))
PLAIN_SGD = Training(SGD())


@cache
def given() -> tuple[Weights, Array, Array]:
    """Weights that float32 has and 16 bits have not, images and labels."""
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (IMAGE_COUNT, *PLAIN.input), dtype=np.uint8)
    weights = {name: array.astype(np.float32) for name, array in initial(PLAIN, seed=1).items()}
    return weights, images, stream.integers(0, 10, IMAGE_COUNT)


def built(bench: Bench, framework: str, precision: Any, net: Network, training: Training) -> WorkerClient:
    """A worker with the network, its images and its weights."""
    session = bench.session(framework)
    session.build(net, training, Setting(precision=precision, threads=THREADS))
    weights, images, labels = given()
    session.set_weights(weights)
    session.load("train", images, labels)
    session.load("test", images, labels)
    return session


def trained(session: WorkerClient, steps: int, lr: float = LR, seed: int = 0) -> list[float]:
    """The losses of steps on the first images."""
    order = np.arange(steps * BATCH_SIZE) % IMAGE_COUNT
    return session.train(order, BATCH_SIZE, [lr] * steps, stop=len(order), seed=seed).losses


def everything(session: WorkerClient) -> Weights:
    return {name: array.copy() for name, array in session.get_weights().items()}


def apart(one: Weights, other: Weights) -> list[str]:
    """The names of arrays that are not the same in every bit, or that one side lacks."""
    return sorted(
        name for name in one.keys() | other.keys()
        if name not in one or name not in other or not np.array_equal(one[name], other[name])
    )  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_arrays_are_in_float32(bench: Bench, framework: str, precision: str) -> None:
    weights, _, _ = given()
    found = everything(built(bench, framework, precision, DROPPING, PLAIN_SGD))
    state = {"step", SCALE, FINITE_STEPS} if precision == "float16" else {"step"}
    assert found.keys() == weights.keys() | state
    assert apart(weights, {name: found[name] for name in weights}) == []
    assert {found[name].dtype for name in weights} == {np.dtype(np.float32)}
    if precision == "float16":
        assert (float(found[SCALE]), int(found[FINITE_STEPS])) == (LOSS_SCALE.first, 0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_layers_compute_in_16_bits(bench: Bench, framework: str, precision: str) -> None:
    """Logits, loss and gradients differ from the reference by more than float32 does, and by few units of 16 bits."""
    weights, images, labels = given()
    reference = Reference(PLAIN, PLAIN_SGD, Setting(precision="float64"))
    reference.set_weights(weights)
    reference.load("test", images, labels)
    right_loss, right = reference.gradients(images, labels)
    right_logits = reference.predict("test", BATCH_SIZE)
    session = built(bench, framework, precision, PLAIN, PLAIN_SGD)
    logits = session.predict("test", BATCH_SIZE)
    loss, found = session.gradients(images, labels)
    error = np.abs(logits - right_logits).max() / np.abs(right_logits).max()
    assert logits.dtype == np.float32
    assert 1e-5 < error < 30 * UNIT["bfloat16"]
    assert 1e-7 < abs(loss / right_loss - 1) < 30 * UNIT["bfloat16"]
    largest = max(np.abs(gradient).max() for gradient in right.values())
    assert {gradient.dtype for gradient in dict(found).values()} == {np.dtype(np.float32)}
    for name, gradient in right.items():
        # Rounding of a sum is relative to its terms: a gradient that cancels to 0 has none of its own.
        scale = max(np.abs(gradient).max(), 0.1 * largest if name != "input" else 0)
        assert np.abs(found[name] - gradient).max() < 60 * UNIT["bfloat16"] * scale, name


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_layers_output_what_16_bits_can_hold(bench: Bench, framework: str, precision: str) -> None:
    """A convolution's output has no more digits; it comes as an array of float32."""
    session = built(bench, framework, precision, PLAIN, PLAIN_SGD)
    outputs = dict(session.activations(given()[1], training=True))
    assert {output.dtype for output in outputs.values()} == {np.dtype(np.float32)}
    assert on_grid(outputs["C1"], precision) and on_grid(outputs["S.C2"], precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_update_is_not_rounded_to_16_bits(bench: Bench, framework: str, precision: str) -> None:
    weights, images, labels = given()
    session = built(bench, framework, precision, PLAIN, PLAIN_SGD)
    gradients = dict(session.gradients(images[:BATCH_SIZE], labels[:BATCH_SIZE])[1])
    trained(session, 1)
    after = everything(session)
    for name in gradients.keys() - {"input"}:
        step = LR * gradients[name].astype(np.float64)
        rounding = 2.0**-23 * np.abs(weights[name]).max()
        assert np.abs(after[name] - (weights[name] - step)).max() <= 1e-6 * np.abs(step).max() + rounding, name
    assert not on_grid(after["C1.weight"], precision) and not on_grid(after["D.weight"], precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_running_statistics_are_in_float32(bench: Bench, framework: str, precision: str) -> None:
    weights, images, _ = given()
    session = built(bench, framework, precision, PLAIN, PLAIN_SGD)
    outputs = dict(session.activations(images[:BATCH_SIZE], training=True))
    trained(session, 1)
    after = everything(session)
    for norm, source in {"B1": "C1", "S.B2": "S.C2"}.items():
        values = outputs[source].astype(np.float64)
        for role, of_batch in {"running_mean": values.mean((0, 2, 3)), "running_var": values.var((0, 2, 3))}.items():
            name = f"{norm}.{role}"
            expected = (1 - MOMENTUM) * weights[name] + MOMENTUM * of_batch
            assert np.abs(after[name] - expected).max() < 1e-2 * np.abs(expected).max(), name
            assert not on_grid(after[name], precision), name


@pytest.mark.parametrize("training", [Training(SGD(momentum=0.9)), Training(Adam(), clip_norm=1.0, average=0.9)])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_step_with_infinite_gradients_is_skipped(bench: Bench, framework: str, training: Training) -> None:
    """It changes the running statistics and the scale, and nothing else."""
    session = built(bench, framework, "float16", DROPPING, training)
    trained(session, 2, SMALL_LR)
    before = everything(session)
    assert int(before["step"]) == 2 and int(before[FINITE_STEPS]) == 2
    session.set_weights(before | {SCALE: np.array(2.0**40)})
    (loss,) = trained(session, 1, SMALL_LR)
    after = everything(session)
    statistics = {name for name in before if "running_" in name}
    assert np.isfinite(loss) and set(apart(before, after)) == statistics | {SCALE, FINITE_STEPS}
    assert (float(after[SCALE]), int(after[FINITE_STEPS])) == (2.0**40 * LOSS_SCALE.backoff, 0)


@pytest.mark.parametrize("framework", ["torch", "keras@torch"])
def test_a_scale_that_is_too_large_leaves_gradients_finite(bench: Bench, framework: str) -> None:
    """Of these two; those of the other frameworks are then infinite, as their scale says."""
    weights, images, labels = given()
    session = built(bench, framework, "float16", PLAIN, PLAIN_SGD)
    usual = dict(session.gradients(images, labels)[1])
    session.set_weights(weights | {SCALE: np.array(2.0**30)})
    found = dict(session.gradients(images, labels)[1])
    for name in usual:
        assert np.abs(found[name] - usual[name]).max() <= 0.01 * np.abs(usual[name]).max() + 1e-6, name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_scale_grows_after_enough_finite_steps(bench: Bench, framework: str) -> None:
    weights, _, _ = given()
    session = built(bench, framework, "float16", PLAIN, PLAIN_SGD)
    near = {SCALE: np.array(1024.0), FINITE_STEPS: np.array(LOSS_SCALE.interval - 1)}
    session.set_weights(weights | near)
    trained(session, 1)
    after = everything(session)
    assert (float(after[SCALE]), int(after[FINITE_STEPS])) == (1024 * LOSS_SCALE.growth, 0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_training_is_resumed_in_every_bit(bench: Bench, framework: str, precision: str) -> None:
    training = replace(Training(Adam()), clip_norm=1.0, average=0.9)
    session = built(bench, framework, precision, DROPPING, training)
    trained(session, 2, SMALL_LR, seed=0)
    middle = everything(session)
    losses = trained(session, 2, SMALL_LR, seed=1)
    right = everything(session)
    session = built(bench, framework, precision, DROPPING, training)
    session.set_weights(middle)
    assert apart(middle, everything(session)) == []
    assert trained(session, 2, SMALL_LR, seed=1) == losses
    assert apart(right, everything(session)) == []


def on_grid(values: Array, precision: str) -> bool:
    """Whether a format of 16 bits has all of these values of float32."""
    if precision == "float16":
        return bool(np.array_equal(values, values.astype(np.float16).astype(np.float32)))
    return not (np.ascontiguousarray(values, np.float32).view(np.uint32) & 0xFFFF).any()
