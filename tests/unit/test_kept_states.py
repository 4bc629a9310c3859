"""How often the state of a cell is kept: at a small price, and often enough that a stopped run loses little."""

from __future__ import annotations

import random

import pytest

from benchmarks.training.kept_states import ASSUMED_SPEED, LONGEST, PRICE, AtAPrice, EveryEpoch
from frameworks.networks import NETWORKS
from frameworks.training import SGD, Adam, Training

LENET = NETWORKS["lenet"]()


@pytest.mark.parametrize("cost", [0.001, 0.1, 3.0, 60.0])
@pytest.mark.parametrize("epoch", [0.01, 1.0, 100.0, 5000.0])
def test_states_cost_a_small_part_of_the_time(epoch: float, cost: float) -> None:
    """Epochs of different lengths; every state takes as long as the one before, or a little less or more."""
    stream, keeping = random.Random(0), AtAPrice(LENET, Training())
    keeping.cost = cost  # measured at the state before
    trained = spent = since = longest = 0.0
    for _ in range(2000):
        seconds = epoch * stream.uniform(0.8, 1.2)
        trained, since = trained + seconds, since + seconds
        if keeping.is_due(seconds, is_last=False):
            took = cost * stream.uniform(0.8, 1.2)
            keeping.kept(took)
            spent, since = spent + took, 0.0
        longest = max(longest, since)
    assert PRICE * 1.2 / 0.8 <= 0.03
    assert spent <= max(1.2 / 0.8 * PRICE, 1.2 * cost / LONGEST) * trained
    assert longest <= min(1.2 * cost / PRICE, LONGEST) + 1.2 * epoch
    assert spent or trained * PRICE < 1.2 * cost, "no state is kept"


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_the_last_epoch_needs_no_state(seconds: float) -> None:
    assert not AtAPrice(LENET, Training()).is_due(seconds, is_last=True)
    assert EveryEpoch().is_due(seconds, is_last=True)


@pytest.mark.parametrize(("training", "arrays"), [(Training(SGD()), 1), (Training(Adam(), average=0.9), 4)])
def test_the_first_state_has_an_assumed_cost(training: Training, arrays: int) -> None:
    keeping = AtAPrice(LENET, training)
    cost = arrays * 4 * LENET.params / ASSUMED_SPEED
    assert not keeping.is_due(0.99 * cost / PRICE, is_last=False)
    assert keeping.is_due(0.02 * cost / PRICE, is_last=False)
