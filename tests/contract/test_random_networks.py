"""Unmodified adapters agree with the reference on random small networks of all kinds of layers, in float64.

`python -m research.random_networks` verifies 200 of them; results/random_networks.md has its result.
"""

from __future__ import annotations

import pytest

from benchmarks.verification.case_runner import Target
from frameworks.registry import FRAMEWORKS, in_all
from frameworks.spec.layers import KINDS
from research.random_networks import findings, kinds, random_network
from tests.conftest import THREADS, Bench

NUMBERS = range(12)


def test_no_false_alarm(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """All frameworks in one test, so that the reference computes each network once."""
    targets = [
        Target(name, info.module, "", bench.session(name), {}) for name, info in FRAMEWORKS.items() if info.in_all
    ]
    for target in targets:
        monkeypatch.setattr(target.client, "close", lambda: None)  # other tests use it
    found = {(each.net, each.target.label): each.verdict for each in findings(NUMBERS, targets, threads=THREADS)}
    assert list(found) == [(str(number), name) for number in NUMBERS for name in in_all()]
    assert set(found.values()) <= {"ok", "explained"}, found


def test_the_networks_hold_all_kinds_of_layers() -> None:
    assert set(kinds(range(40))) == set(KINDS)
    assert min(kinds(range(200)).values()) >= 15


def test_a_number_gives_one_network() -> None:
    assert random_network(3) == random_network(3)
    digests = {random_network(number).sha256 for number in range(50)}
    assert len(digests) == 50
