"""Adapters compute the expected outputs of ONNX' own tests of its operators, in both precisions.

docs/onnx-nodes.md lists which tests are layers of the spec, and why the others are not. The reference is compared with
them in tests/unit/test_onnx_nodes.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from frameworks.adapter import Setting
from frameworks.arrays import Weights
from frameworks.registry import in_all
from frameworks.training import Training
from tests.conftest import THREADS, Bench
from tests.third_parties.onnx_groups import groups
from tests.third_parties.onnx_nodes import tolerance, translated

MAPPED, _ = translated()
GROUPS = groups(MAPPED)
GROUP_OF = {name: number for number, group in enumerate(GROUPS) for name in group.tests}

# All tests of a group follow each other, so that a process that runs a part of the tests builds few groups.
CASES = [(framework, name) for framework in in_all() for name in sorted(MAPPED, key=GROUP_OF.__getitem__)]
Outputs = Callable[[str, str, int], Weights]


@pytest.fixture(scope="module")
def outputs(bench: Bench) -> Outputs:
    """The outputs of a group of tests by their names: of framework, precision and number of the group."""

    @cache
    def computed(framework: str, precision: str, number: int) -> Weights:
        group, client = GROUPS[number], bench.session(framework)
        client.build(group.network, Training(), Setting(precision=precision, threads=THREADS))  # type: ignore[arg-type]
        client.set_weights(group.weights)
        return group.outputs(client.activations(group.images, group.training))

    return computed


@pytest.mark.parametrize(("framework", "name"), CASES)
def test_onnx_node(outputs: Outputs, framework: str, name: str) -> None:
    found = {
        precision: MAPPED[name].error(outputs(framework, precision, GROUP_OF[name])[name])
        for precision in ("float32", "float64")
    }
    assert max(found.values()) <= tolerance(name), found
