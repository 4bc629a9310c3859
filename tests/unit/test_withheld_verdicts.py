"""Verdicts that neither accept nor refuse: their reason is reported, and they certify nothing."""

from __future__ import annotations

import pytest

from benchmarks.records.certificates import Finding, PlaceRecord, StageRecord
from benchmarks.reporting.certificate_pages import WITHHELD, difference, row

PLACE = PlaceRecord("curve", "sgd", 9, "loss")


def finding(verdict: str) -> Finding:
    stages = [
        StageRecord("evaluation", "ok", 1e-7, limit=1e-6),
        StageRecord("optimizers", verdict, 0.3, PLACE, "an error below 2e-01 would not be seen", limit=0.5),
        StageRecord("curve", verdict, 0.2, PLACE, "an error below 2e-01 would not be seen", limit=0.5),
    ]
    return Finding(
        net="net", input=[1, 8, 8], images=(4, 16), case_sha256="", framework="torch", version="torch 1", versions={},
        mode="", code_sha256="", precision="float32", seeds=1, device="cpu", settings={}, verdict=verdict,
        stages=stages,
    )  # fmt: skip


@pytest.mark.parametrize("verdict", WITHHELD)
def test_the_reason_is_reported_once_for_all_stages(verdict: str) -> None:
    withheld = finding(verdict)
    assert withheld.contradiction is None and not withheld.certified
    assert list(difference(withheld)) == [
        f"torch in float32: net: {verdict} at stage optimizers, curve: an error below 2e-01 would not be seen"
    ]
    assert f"{verdict} 3e-01" in row(withheld)
