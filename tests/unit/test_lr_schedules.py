"""Schedules against their formulas, written out by hand, and against PyTorch's schedulers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.training.lr_schedules import Constant, Cosine, MultiStep, OneCycle, Schedule, Step, WarmUp
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
    ],
    ids=repr,
)
def test_four_epochs_of_two_steps(schedule: Schedule, expected: list[float]) -> None:
    np.testing.assert_allclose(schedule.factors(4, 2), expected, rtol=1e-15)


def test_cosine_is_half_in_the_middle() -> None:
    """cos(pi / 2) is 0 up to rounding; the first step has the full learning rate."""
    factors = Cosine().factors(4, 5)
    assert factors[0] == 1 and factors[10] == pytest.approx(0.5, abs=1e-15) and factors[-1] < 0.01


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
    ],
    ids=range(9),
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
