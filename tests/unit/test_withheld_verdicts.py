"""Verdicts that neither accept nor refuse: their reason is reported, and they certify nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.records.certificates import Finding, PlaceRecord, StageRecord
from benchmarks.reporting.certificate_pages import WITHHELD, _asked, by_framework, difference, row
from benchmarks.verification.case_runner import NetworkVerdict, Target
from benchmarks.verification.cases import Case
from benchmarks.verification.comparison import StageVerdict
from benchmarks.verification.findings import recorded
from frameworks.spec import Dense, Flatten, Network

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


@pytest.mark.parametrize("verdict", ["ok", "explained", "differs", *WITHHELD])
def test_the_verdict_on_a_network_is_that_of_its_worst_stage(verdict: Any) -> None:
    target = Target("torch", "frameworks.numpy_reference", "", None, {"torch": "1"})  # type: ignore[arg-type]
    case = Case.for_network(Network("net", (1, 2, 2), [Flatten(), Dense("out", 3)]), 0, 4)
    stages = [
        StageVerdict("evaluation", "ok"),
        StageVerdict("loss", verdict, 0.3, limit=0.2 if verdict == "differs" else 0.4),
    ]
    found = recorded(NetworkVerdict("net", case, "float32", target, {}, stages))
    assert found.verdict == verdict
    assert found.contradiction is None
    assert found.certified == (verdict in ("ok", "explained"))


@pytest.mark.parametrize(
    ("command", "precisions", "asked"),
    [
        ("verify --net mlp,cnn", ["float64", "float32"], True),
        ("verify --net mlp,cnn --precision both", ["float64", "float32"], True),
        ("verify --net all --out x", ["float64", "float32"], True),
        ("verify --net mlp,cnn --precision float64", ["float64"], True),
        ("verify --net mlp,cnn --precision float64", ["float64", "float32"], False),
        ("verify --net cnn", ["float64", "float32"], False),
        ("verify", ["float64"], False),
        ("verify --net mlp,cnn --fw all", ["float64"], True),
        ("verify --net mlp,cnn --fw jax,torch", ["float64"], True),
        ("verify --net mlp,cnn --fw jax", ["float64"], False),
    ],
)
def test_a_page_says_what_its_command_did_not_ask_for(command: str, precisions: list[str], asked: bool) -> None:
    assert _asked(command.split(), ["framework checks", "mlp", "cnn"], precisions, ["torch", "jax"]) == asked


def test_the_columns_are_in_the_order_of_the_frameworks() -> None:
    names = ["plugin", "keras:xla", "jax", "torch==2.12.1", "mxnet"]
    findings = [SimpleNamespace(framework=name) for name in names]
    ordered = [finding.framework for finding in by_framework(findings)]  # type: ignore[arg-type]
    assert ordered == ["torch==2.12.1", "mxnet", "keras:xla", "jax", "plugin"]
