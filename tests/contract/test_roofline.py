"""The roofline in every framework: its networks build and predict, on small sizes."""

from __future__ import annotations

import pytest

from benchmarks.timing import roofline
from frameworks.adapter import Setting
from frameworks.registry import in_all
from tests.conftest import THREADS, Bench


@pytest.mark.parametrize("framework", in_all())
def test_products_convolutions_and_copies_are_timed(
    framework: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(roofline.SIDES, "cpu", (4, 8))
    monkeypatch.setitem(roofline.MEBI_VALUES, "cpu", (1,))
    monkeypatch.setattr(roofline, "DISTINCT", float("-inf"))  # keep the copies, however their times compare
    raw = roofline.measure(bench.session(framework), Setting("cpu", "float32", THREADS, ""))
    assert [n for n, *_ in raw.products] == [n for n, *_ in raw.convolutions] == [16, 64]
    assert all(seconds > 0 for *_, seconds in (*raw.products, *raw.convolutions))
    assert len(raw.copies) == 1
