"""Words in tables."""

from __future__ import annotations

import pytest

from benchmarks.cli.progress import told
from benchmarks.reporting.tables import per_second


@pytest.mark.parametrize(
    "speed, text",
    [(0.43, "0.4"), (2.6, "2.6"), (9.94, "9.9"), (9.96, "10"), (57.4, "57"), (12_778.2, "12,778")],
)
def test_a_slow_network_has_a_speed_too(speed: float, text: str) -> None:
    assert f"{speed:{per_second(speed)}}" == text


def test_an_epoch_in_a_few_words() -> None:
    record = {"slices": [[8, 16.0], [8, 16.0]], "train_loss": 2.5, "test_accuracy": 0.125}
    assert told(record) == "loss 2.5000, test accuracy 0.1250, 0.5 examples/s"
