"""The table of round trips: what counts as equal, and what is named."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from frameworks.networks import NETWORKS
from frameworks.spec import Auxiliary
from frameworks.spec.layers import KINDS
from research import round_trips
from research.round_trips import SAME, TOLERANCE, Trip

GOOD: dict[str, Any] = {
    "network": "lenet",
    "target": "torch",
    "input": "1x28x28",
    "logits": 1e-15,
    "gradients": 2e-13,
    "imported": SAME,
    "problem": "",
    "commit": "0123456789ab",
}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({}, ""),
        ({"gradients": "", "imported": ""}, ""),
        ({"logits": 2 * TOLERANCE}, "logits: 2e-10"),
        ({"gradients": float("nan")}, "gradients: nan"),
        ({"imported": "refused: no layer"}, "imported: refused: no layer"),
        ({"logits": "", "gradients": "", "imported": "", "problem": "no source"}, "no source"),
    ],
)
def test_what_is_not_equal_is_named(change: dict[str, Any], text: str) -> None:
    line = GOOD | change
    assert round_trips.not_equal(line) == text
    page = round_trips.report(pd.DataFrame([GOOD | {"network": "cnn"}, line]).astype(object))
    assert (f"| lenet | torch | {text} |" in page) is bool(text)


REASON = "PyTorch has 1/6 in float32 in the gradient of Hardsigmoid"


@pytest.mark.parametrize(
    ("change", "text", "unexpected"),
    [
        ({}, f"gradients: 3e-08 ({REASON})", False),
        ({"gradients": 1e-6}, "gradients: 1e-06", True),
        ({"network": "lenet"}, "gradients: 3e-08", True),
        ({"target": "keras"}, "gradients: 3e-08", True),
        ({"logits": 1e-8}, f"logits: 1e-08; gradients: 3e-08 ({REASON})", True),
    ],
)
def test_a_known_difference_has_its_reason(change: dict[str, Any], text: str, unexpected: bool) -> None:
    line = GOOD | {"network": "mobilenet_v3_small", "gradients": 3e-8} | change
    assert round_trips.not_equal(line) == text and round_trips.is_unexpected(line) == unexpected


def test_a_row_counts_what_is_equal() -> None:
    lines = [GOOD, GOOD | {"logits": 1.0, "imported": "other arrays"}, GOOD | {"gradients": "", "imported": ""}]
    counts = dict(zip(round_trips.HEAD, round_trips.row("torch", pd.DataFrame(lines).astype(object))))
    assert counts["networks"] == "3" and counts["logits equal"] == "2 of 3" and counts["imported the same"] == "1 of 2"


def test_a_trip_has_the_small_input_and_scales_what_the_network_does_not(tmp_path: Path) -> None:
    trip = Trip.of("alexnet", tmp_path)
    assert trip.network.input[1] < NETWORKS["alexnet"]().input[1] and trip.network.classes == 10
    assert trip.images.max() <= 1 and trip.parts == [1.0]
    assert len(Trip.of("googlenet_aux", tmp_path).parts) == 3


def test_only_an_auxiliary_classifier_has_a_weight() -> None:
    """The name says that a difference is that of the weight of an auxiliary loss."""
    named = [kind for kind in KINDS.values() if round_trips.AUXILIARY_WEIGHT in {each.name for each in fields(kind)}]
    assert named == [Auxiliary]


@pytest.mark.parametrize(("name", "most"), [("lenet", 0), ("efficientnet_b3", 4 << 30), ("efficientnet_b6", 13 << 30)])
def test_kernels_in_groups_are_counted_as_dense(name: str, most: int) -> None:
    found = round_trips.as_dense(NETWORKS[name]())
    assert 0.75 * most <= found <= most and (found > round_trips.DENSE) == (name == "efficientnet_b6")
