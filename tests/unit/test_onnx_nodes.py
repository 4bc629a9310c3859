"""The reference computes the expected outputs of ONNX' own tests, and docs/onnx-nodes.md lists them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frameworks import spec
from tests.third_parties.onnx_cases import Mapped, node_tests
from tests.third_parties.onnx_groups import Group, groups
from tests.third_parties.onnx_nodes import REASONS, TRANSLATIONS, nearest, tolerance, translated
from tests.third_parties.onnx_table import page

PAGE = Path(__file__).parents[2] / "docs" / "onnx-nodes.md"
MAPPED, _ = translated()
GROUPS = groups(MAPPED)


@pytest.mark.parametrize("name", MAPPED)
def test_the_reference_computes_the_expected_output(name: str) -> None:
    assert MAPPED[name].error(MAPPED[name].reference()) <= tolerance(name)


def test_at_least_250_tests_of_operators_are_mapped() -> None:
    assert sum(node_tests()[name].group == "node" for name in MAPPED) >= 250


def test_every_operator_has_a_translation_or_one_reason() -> None:
    operators = {test.operator for test in node_tests().values() if not test.expanded and len(test.operators) == 1}
    explained = Counter([*TRANSLATIONS, *" ".join(REASONS.values()).split()])
    assert set(explained) == operators
    assert set(explained.values()) == {1}


def test_every_translation_maps_a_test() -> None:
    assert {node_tests()[name].operator for name in MAPPED} == set(TRANSLATIONS)


def test_the_page_is_that_of_the_installed_version() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


# --- what the comparison notices --------------------------------------------------------------------------------------

CHANGES: dict[str, spec.Layer] = {
    "leakyrelu": spec.LeakyReLU(slope=0.11),
    "gelu_default_1": spec.GELU(approximate=True),
    "hardswish": spec.SiLU(),
    "averagepool_2d_pads": spec.AvgPool("", 3, 1, 2, count_padding=True),
    "maxpool_2d_same_lower": spec.MaxPool("", 2, 1, ((0, 1), (0, 1))),
    "lrn": spec.LocalResponseNorm("", 3, alpha=0.0002 * 3, beta=0.5, k=2.0),
    "resize_upsample_scales_linear": spec.Resize("", 4, 4, "linear", "asymmetric"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_layer_is_noticed(name: str) -> None:
    wrong = replace(MAPPED[name], layers=[CHANGES[name]])
    assert wrong.error(wrong.reference()) > 10 * tolerance(name)


@pytest.mark.parametrize("name", [name for name, test in MAPPED.items() if test.network.parameters][::10])
def test_another_weight_is_noticed(name: str) -> None:
    test = MAPPED[name]
    trained = [parameter.name for parameter in test.network.parameters if parameter.trainable]
    wrong = replace(test, weights={**test.weights, trained[0]: np.asarray(test.weights[trained[0]]) + 0.01})
    assert wrong.error(wrong.reference()) > 10 * tolerance(name)


# --- groups -----------------------------------------------------------------------------------------------------------


def test_groups_hold_each_test_once() -> None:
    assert Counter(name for group in GROUPS for name in group.tests) == Counter(MAPPED.keys())


@pytest.mark.parametrize(
    "group", [group for group in GROUPS if group.images.shape[1] < 1000], ids=lambda group: next(iter(group.tests))
)
def test_a_group_computes_what_its_tests_compute_alone(group: Group) -> None:
    together = Mapped(group.network.layers, group.images, np.zeros(1), group.weights, group.training)
    outputs = group.outputs(together.activations())
    assert set(outputs) == set(group.tests)
    for name, test in group.tests.items():
        assert test.error(outputs[name]) <= tolerance(name), name


# --- rounding of positions --------------------------------------------------------------------------------------------


def test_nearest_pixels_by_hand() -> None:
    """Two pixels enlarged to four have the positions -1/4, 1/4, 3/4, 5/4; four shrunk to two have 1/2 and 5/2."""
    assert nearest("half_pixel", 2, 4, "round_prefer_floor") == [0, 0, 1, 1]
    assert nearest("half_pixel", 4, 2, "round_prefer_floor") == [0, 2]
    assert nearest("half_pixel", 4, 2, "round_prefer_ceil") == [1, 3]
    assert nearest("asymmetric", 4, 3, "floor") == [0, 1, 2]
    assert nearest("asymmetric", 4, 3, "ceil") == [0, 2, 3]
    assert nearest("aligned_corners", 3, 2, "floor") == [0, 2]
