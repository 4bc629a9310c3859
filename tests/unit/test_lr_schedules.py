"""Schedules against their formulas, written out by hand, and against PyTorch's schedulers."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.training.lr_schedules import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
    WarmUp,
    WarmUpBefore,
)
from tests.conftest import Bench

EVERY: list[Schedule] = [
    Constant(),
    Step(2, 0.5),
    MultiStep((1, 3), 0.1),
    Cosine(),
    Cosine(0.1),
    OneCycle(),
    OneCycle(0.5, first=0.1, last=0.01),
    WarmUp(1),
    WarmUp(2, Step(3, 0.1), first=0.2),
    Polynomial(),
    Polynomial(0.9, last=0.01),
    Exponential(0.97),
    Exponential(0.97, 2.4),
    Exponential(0.9, smooth=True),
    WarmUpBefore(1),
    WarmUpBefore(5, Polynomial()),
]


@pytest.mark.parametrize("schedule", EVERY, ids=repr)
def test_there_is_a_factor_for_every_step(schedule: Schedule) -> None:
    factors = schedule.factors(5, 7)
    assert factors.shape == (35,) and factors.dtype == np.float64
    assert (factors >= 0).all() and (factors <= 1).all() and factors.max() > 0.9


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(), [1, 1, 1, 1, 1, 1, 1, 1]),
        (Step(2, 0.5), [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]),
        (Step(1, 0.1), [1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001]),
        (MultiStep((1, 3), 0.1), [1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01]),
        (MultiStep((), 0.1), [1, 1, 1, 1, 1, 1, 1, 1]),
        (WarmUp(2), [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        (WarmUp(1, Step(2, 0.5), first=0.5), [0.75, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]),
        (OneCycle(0.5), [0.125, 0.375, 0.625, 0.875, 0.875, 0.625, 0.375, 0.125]),
        (OneCycle(0.5, first=1.0), [1, 1, 1, 1, 0.875, 0.625, 0.375, 0.125]),
        (Polynomial(), [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        (Polynomial(2), [1, 49 / 64, 36 / 64, 25 / 64, 16 / 64, 9 / 64, 4 / 64, 1 / 64]),
        (Polynomial(1, last=0.5), [1, 0.9375, 0.875, 0.8125, 0.75, 0.6875, 0.625, 0.5625]),
        (Exponential(0.5), [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]),
        (Exponential(0.5, 1.5), [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]),
        (Exponential(0.25, smooth=True), [1, 0.5, 0.25, 0.125, 1 / 16, 1 / 32, 1 / 64, 1 / 128]),
        (WarmUpBefore(1, Polynomial()), [0.5, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6]),
        (WarmUpBefore(2, Step(1, 0.1), first=0.5), [0.625, 0.75, 0.875, 1, 1, 1, 0.1, 0.1]),
        (WarmUpBefore(3, Cosine()), [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1, 0.5]),
        (WarmUpBefore(8), [1 / 16, 2 / 16, 3 / 16, 4 / 16, 5 / 16, 6 / 16, 7 / 16, 8 / 16]),
    ],
    ids=repr,
)
def test_four_epochs_of_two_steps(schedule: Schedule, expected: list[float]) -> None:
    np.testing.assert_allclose(schedule.factors(4, 2), expected, rtol=1e-15)


def test_cosine_is_half_in_the_middle() -> None:
    """cos(pi / 2) is 0 up to rounding; the first step has the full learning rate."""
    factors = Cosine().factors(4, 5)
    assert factors[0] == 1 and factors[10] == pytest.approx(0.5, abs=1e-15) and factors[-1] < 0.01


@pytest.mark.parametrize("every, steps", [(0.7, 10), (1.1, 30), (2.3, 100), (2.4, 5), (0.1, 30)])
def test_a_period_ends_at_its_step(every: float, steps: int) -> None:
    """The quotient of the step and the length of a period is off a whole number by rounding."""
    length = round(every * steps)
    assert Exponential(0.5, every).factors(40, steps).tolist() == [0.5 ** (t // length) for t in range(40 * steps)]


def test_a_run_may_end_within_the_warm_up() -> None:
    assert WarmUpBefore(4, Exponential(0.9)).factors(1, 2).tolist() == [1 / 8, 2 / 8]


@pytest.mark.parametrize("warm, epochs, steps", [(2, 10, 7), (5, 90, 3)])
def test_cosine_after_a_warm_up(warm: int, epochs: int, steps: int) -> None:
    """CosineAnnealingLR in steps, (1 + cos(pi t / T)) / 2, of the steps after the warm-up."""
    factors, begun, total = WarmUpBefore(warm).factors(epochs, steps), warm * steps, (epochs - warm) * steps
    for t, factor in enumerate(factors):
        place = t - begun
        expected = (t + 1) / begun if place < 0 else (1 + math.cos(math.pi * place / total)) / 2
        assert factor == pytest.approx(expected, rel=1e-14)


def test_polynomial_and_exponential_by_pytorchs_recursions() -> None:
    """PolynomialLR: lr ((1 - t / T) / (1 - (t - 1) / T))^power from step to step; ExponentialLR: lr factor."""
    polynomial, exponential = [1.0], [1.0]
    for t in range(1, 6):
        polynomial.append(polynomial[-1] * ((1 - t / 6) / (1 - (t - 1) / 6)) ** 0.9)
        exponential.append(exponential[-1] * 0.98)
    np.testing.assert_allclose(Polynomial(0.9).factors(6, 1), polynomial, rtol=1e-14)
    np.testing.assert_allclose(Exponential(0.98).factors(6, 1), exponential, rtol=1e-14)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Step(0),
        lambda: Step(1, -0.1),
        lambda: MultiStep((3, 1)),
        lambda: MultiStep((1, 1)),
        lambda: Cosine(1.5),
        lambda: OneCycle(0.0),
        lambda: OneCycle(1.0),
        lambda: WarmUp(0),
        lambda: WarmUp(1, first=2.0),
        lambda: Polynomial(0.0),
        lambda: Polynomial(float("nan")),
        lambda: Polynomial(1.0, last=-0.1),
        lambda: Exponential(0.0),
        lambda: Exponential(1.5),
        lambda: Exponential(0.9, every=0.0),
        lambda: Exponential(0.9, every=float("inf")),
        lambda: WarmUpBefore(0),
        lambda: WarmUpBefore(1, first=-0.5),
    ],
    ids=range(18),
)
def test_wrong_parameters_are_refused(wrong: Callable[[], Schedule]) -> None:
    with pytest.raises(ValueError, match="="):
        wrong()


# Stepped by epoch: (schedule, PyTorch's scheduler of the optimizer `o`).
EQUAL = [
    (Step(2, 0.5), "StepLR(o, 2, 0.5)"),
    (MultiStep((1, 4), 0.1), "MultiStepLR(o, [1, 4], 0.1)"),
    (Cosine(), "CosineAnnealingLR(o, 6)"),
    (Cosine(0.25), "CosineAnnealingLR(o, 6, eta_min=0.25)"),
    (Polynomial(0.9), "PolynomialLR(o, 6, 0.9)"),
    (Exponential(0.97), "ExponentialLR(o, 0.97)"),
]


@pytest.mark.parametrize(("schedule", "scheduler"), EQUAL, ids=lambda value: value if isinstance(value, str) else "")
def test_factors_are_those_of_pytorch(bench: Bench, schedule: Schedule, scheduler: str) -> None:
    """One step per epoch. PyTorch multiplies step by step, so rounding accumulates: a few units in the last place."""
    program = (
        "import torch; from torch.optim.lr_scheduler import *\n"
        "o = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)\n"
        f"s = {scheduler}\n"
        "lrs = []\n"
        "for _ in range(6): lrs.append(o.param_groups[0]['lr']); o.step(); s.step()\n"
        "print(lrs)"
    )
    done = subprocess.run([bench.python("torch"), "-c", program], capture_output=True, text=True, check=True)
    np.testing.assert_allclose(schedule.factors(6, 1), json.loads(done.stdout), rtol=1e-14)
