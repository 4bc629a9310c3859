"""Verification: correct adapters pass, wrong results differ, and runs look up certificates. See also test_faults.py."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from benchmarks.certification import lookup
from benchmarks.certification.lookup import RowIdentity, covering
from benchmarks.certification.verified_networks import case_sha256
from benchmarks.records.certificates import FRAMEWORK_CHECKS, StageRecord, read, write
from benchmarks.records.events import Certified
from benchmarks.verification import verify_run
from benchmarks.verification.case_runner import NetworkVerdict, Target, verify_cases
from benchmarks.verification.cases import (
    BATCH,
    STAGES,
    TRAININGS,
    Case,
    Evidence,
    Place,
    small,
)
from benchmarks.verification.comparison import (
    LIMITS,
    ROUNDING,
    ReferenceEvidence,
    RelativeErrors,
    StageVerdict,
    dropout,
    relative_errors,
    stage_verdicts,
)
from benchmarks.verification.evidence import EvidenceCollector, PlacedTensor, write_case_files
from benchmarks.verification.framework_checks import CHECKS
from benchmarks.verification.reference_client import ReferenceClient
from benchmarks.verify import command
from frameworks.adapter import Setting
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS, in_all, trained
from frameworks.spec import Dropout
from frameworks.training import Training
from tests.command_line import exit_code_of
from tests.conftest import THREADS, Bench, evidence_of_reference

main = exit_code_of(command)

SETTING = Setting(precision="float64", threads=THREADS)
DEPARTURE = "unbiased_running_variance"
NETS = ["lenet", "lenet_bn", "mlp", "cnn"]
FEW = ("nesterov, decay", "sgd, smoothed labels", "adam, decay")


def case(name: str) -> Case:
    """The case of a network with three trainings, which together have most terms of all trainings."""
    full = Case.for_network(NETWORKS[name](), seed=0, batch_size=BATCH, curve=12)
    return dataclasses.replace(full, trainings={training: TRAININGS[training] for training in FEW})


@pytest.mark.parametrize("framework", trained())
@pytest.mark.parametrize("name", NETS)
def test_unmodified_adapters_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, framework: str) -> None:
    target = Target(framework, FRAMEWORKS[framework].module, "", bench.session(framework), {})
    monkeypatch.setattr(target.client, "close", lambda: None)  # other tests use it
    ((finding,),) = verify_cases({name: lambda: case(name)}, [target], ["float64"], threads=THREADS, workers=1)
    verdicts = {stage.stage: stage.verdict for stage in finding.verdicts}
    assert tuple(verdicts) == STAGES and not finding.failed
    declared = bench.session(framework).build(NETWORKS[name](), Training(), SETTING).departures
    expected = "none" if name != "lenet_bn" else "explained" if DEPARTURE in declared else "ok"
    assert verdicts["running statistics"] == expected
    assert {verdicts[stage] for stage in STAGES if stage not in ("running statistics", "dropout")} == {"ok"}, finding


# --- departures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> ReferenceEvidence:
    lenet = case("lenet_bn")
    evidence = evidence_of_reference(lenet, tmp_path_factory.mktemp("reference"))
    return ReferenceEvidence.from_evidence(lenet, evidence)


@pytest.fixture(scope="module")
def unbiased(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return evidence_of_reference(case("lenet_bn"), tmp_path_factory.mktemp("departed"), [DEPARTURE])


@pytest.mark.parametrize("departs", [True, False], ids=["departs", "does not"])
@pytest.mark.parametrize("declares", [True, False], ids=["declares", "does not"])
def test_a_departure_passes_only_if_declared_and_present(
    reference: ReferenceEvidence, unbiased: Evidence, departs: bool, declares: bool
) -> None:
    """The formula of the departure is compared with a reference that departs at every step."""
    tensors = (unbiased if departs else reference.evidence).items()
    errors = relative_errors(tensors, reference, [DEPARTURE] if declares else [], "float64")
    judged = stage_verdicts({"it": errors}, reference.case, "float64")["it"]
    verdicts = {stage.stage: stage.verdict for stage in judged}
    expected = {(True, True): "explained", (False, False): "ok"}.get((departs, declares), "differs")
    assert verdicts.pop("running statistics") == expected
    assert set(verdicts.values()) <= {"ok", "none"}


# --- missing and malformed tensors ------------------------------------------------------------------------------------


def damaged(evidence: Evidence, how: str) -> Iterator[PlacedTensor]:
    """The evidence with the first gradient missing, with another shape, or not a number."""
    bad = next(place for place in evidence if place.stage == "gradients")
    for place, array in evidence.items():
        if place != bad:
            yield place, array
        elif how == "shape":
            yield place, array[..., None]
        elif how == "nan":
            yield place, np.full_like(array, np.nan)


@pytest.mark.parametrize("how", ["missing", "shape", "nan"])
def test_a_missing_or_malformed_tensor_differs(reference: ReferenceEvidence, how: str) -> None:
    errors = relative_errors(damaged(reference.evidence, how), reference, [], "float64")
    (gradients,) = [
        v for v in stage_verdicts({"it": errors}, reference.case, "float64")["it"] if v.stage == "gradients"
    ]
    assert (gradients.verdict, gradients.error) == ("differs", float("inf"))


def test_an_unexpected_tensor_differs(reference: ReferenceEvidence) -> None:
    extra = Place("parameters", "", 0, "one.weight"), np.array([1, 1])
    errors = relative_errors([*reference.evidence.items(), extra], reference, [], "float64")
    assert stage_verdicts({"it": errors}, reference.case, "float64")["it"][0].verdict == "differs"


# --- float32 ----------------------------------------------------------------------------------------------------------


def loss_error(error: float) -> RelativeErrors:
    return RelativeErrors(plain={Place("loss", "", 0, "loss"): error})


@pytest.mark.parametrize("errors, differing", [
    ((1e-5, 2e-5, 7e-5), ()),
    ((1e-5, 2e-5, 9e-5), (2,)),
    ((1e-5, 9e-5), (1,)),  # of two frameworks the better one counts: their median would accept any error
    ((1e-9, ROUNDING), ()),
    ((1e-9, 1e-9, 2 * ROUNDING), (2,)),
])  # fmt: skip
def test_float32_is_judged_by_the_median_framework(errors: tuple[float, ...], differing: tuple[int, ...]) -> None:
    judged = stage_verdicts({str(i): loss_error(error) for i, error in enumerate(errors)}, case("mlp"), "float32")
    differs = {int(name) for name, verdicts in judged.items() if verdicts[3].verdict == "differs"}
    assert differs == set(differing)


def test_a_stage_that_agrees_at_a_later_seed_agrees() -> None:
    target = Target("it", "m", "", None, {})  # type: ignore[arg-type]
    place = Place("loss", "", 0, "loss")
    first = [StageVerdict("loss", "differs", 1e-3, place), StageVerdict("curve", "differs", 1e-3, place)]
    later = [StageVerdict("loss", "ok", 1e-7, place), StageVerdict("curve", "differs", 2e-3, place)]
    findings = [NetworkVerdict("mlp", case("mlp"), "float32", target, {}, verdicts) for verdicts in (first, later)]
    merged = findings[0].merged(findings[1])
    assert [verdict.verdict for verdict in merged.verdicts] == ["ok", "differs"]
    assert (merged.seeds, merged.verdict) == (2, "differs")


def test_the_next_seed_gives_other_images() -> None:
    first = case("mlp")
    second = first.with_next_seed()
    assert (second.seed, second.network) == (1, first.network)
    assert not np.array_equal(first.images, second.images)


# --- dropout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault, note", [
    (None, "within"),
    ("scale", "not divided"),
    ("fraction", "the fraction of remaining values"),
    ("stripes", "neighbors"),
    ("one mask", "images"),
])  # fmt: skip
def test_dropout_must_be_scaled_and_independent(fault: str | None, note: str) -> None:
    stream = np.random.default_rng(0)
    before = stream.normal(size=(16, 2_000))
    mask = stream.random((16, 2_000)) < (0.6 if fault == "fraction" else 0.5)
    if fault == "stripes":
        mask = np.repeat(mask[:, ::2], 2, axis=1)
    if fault == "one mask":
        mask = np.broadcast_to(mask[0], mask.shape)
    after = before * mask * (1 if fault == "scale" else 2)
    place = Place("dropout", "", 0, "drop")
    verdict = dropout({place: np.stack([before, after])}, {"drop": Dropout("drop", rate=0.5)}, "float64")
    assert verdict.verdict == ("differs" if fault else "ok") and note in verdict.note


# --- cases ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_the_small_network_has_all_layers(name: str) -> None:
    full, reduced = NETWORKS[name](), small(NETWORKS[name]())
    assert [(depth, node.path, node.layer.kind) for depth, node in reduced.walk()] == [
        (depth, node.path, node.layer.kind) for depth, node in full.walk()
    ]
    assert reduced.macs <= full.macs


@pytest.mark.parametrize("name, images, steps", [("lenet", 16, 50), ("nin", 16, 4), ("inception_v3_aux", 4, 2)])
def test_larger_networks_have_smaller_cases(name: str, images: int, steps: int) -> None:
    reduced = Case.for_network(small(NETWORKS[name]()), seed=0, batch_size=BATCH)
    assert (len(reduced.images), reduced.curve) == (images, steps)
    assert len(reduced.order) >= steps * BATCH


def test_weights_have_no_zeros_or_ones_and_are_exact_in_float32() -> None:
    for name, array in case("lenet_bn").weights.items():
        assert np.array_equal(array.astype(np.float32), array), name
        assert (array != 0).all() and not (array == 1).all(), name


def test_every_limit_belongs_to_a_stage() -> None:
    assert set(LIMITS) < set(STAGES)


def test_worker_and_reference_yield_the_same_places(bench: Bench, tmp_path: Path) -> None:
    mlp = case("mlp")
    write_case_files(mlp, tmp_path)
    places = [place for place, _ in EvidenceCollector(ReferenceClient(tmp_path), mlp, SETTING, tmp_path).tensors()]
    client = bench.session("torch")
    assert [place for place, _ in EvidenceCollector(client, mlp, SETTING, tmp_path).tensors()] == places


@pytest.fixture
def few_framework_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the framework checks, because all take half a minute for each framework; see test_framework_checks.py."""
    monkeypatch.setattr(verify_run, "CHECKS", [check for check in CHECKS if check.stages[0] in ("counts", "threads")])


# --- the command and its records --------------------------------------------------------------------------------------


def test_the_command_writes_a_certificate_that_is_looked_up(
    bench: Bench,
    few_framework_checks: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pythons = [f"--python={name}={bench.python(name)}" for name in in_all()]
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path))
    monkeypatch.setattr(lookup, "SHIPPED", tmp_path / "shipped")  # the committed certificate may cover mlp, or not
    assert main(["--net", "mlp", "--precision", "float64", "--out", str(tmp_path / "out"), *pythons]) == 0
    assert capsys.readouterr().out.count("mlp ") == len(in_all())
    assert "| mlp" in (tmp_path / "out" / "certificate.md").read_text()
    certificate = read(tmp_path / "out")
    checks = [finding for finding in certificate.findings if finding.net == FRAMEWORK_CHECKS]
    assert [finding.framework for finding in checks] == in_all()
    assert all(finding.certified for finding in certificate.findings)
    rows = []
    for finding in certificate.findings[len(checks) :]:
        assert finding.case_sha256 == case_sha256("mlp")
        adapter = FRAMEWORKS[finding.framework].module
        row = RowIdentity("mlp", "mlp", finding.case_sha256, finding.framework, adapter, finding.versions, SETTING)
        rows.append(row)
        assert covering(row).text.startswith("not certified: framework checks: weaker verification: no stage weights")
    complete = replace(certificate, findings=[replace(each, weaker=[]) for each in certificate.findings])
    for kept in (complete, certificate):  # as if all checks had been made; a weaker finding does not replace that
        lookup.keep(kept)
        for row in rows:
            coverage = covering(row)
            assert (coverage.text, coverage.certificate) == ("certified", Certified(kept.sha256, "ok"))
    changed = dataclasses.replace(rows[0], case_sha256="0" * 64)
    assert covering(changed).text.startswith("not certified: the network changed since")


def test_resume_keeps_only_valid_findings(
    bench: Bench,
    few_framework_checks: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pythons = [f"--python={name}={bench.python(name)}" for name in ("torch", "mxnet")]
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path))
    out = tmp_path / "certificate"
    options = ["--fw", "torch,mxnet", "--precision", "float64", "--steps", "2", "--out", str(out), *pythons]
    assert main(["--net", "mlp", *options]) == 0
    assert main(["--net", "cnn", *options]) == 0  # into the same folder
    certificate = read(out)
    assert {each.net for each in certificate.findings} == {FRAMEWORK_CHECKS, "cnn", "mlp"}
    findings = [
        replace(each, verdict="differs", stages=[StageRecord("loss", "differs", 1.0, limit=1e-10)])
        if (each.net, each.framework) == ("cnn", "mxnet")
        else each
        for each in certificate.findings
    ]
    write(replace(certificate, findings=findings), out)
    capsys.readouterr()
    assert main(["--net", "cnn,mlp", "--resume", *options]) == 0
    progress = capsys.readouterr().err
    assert "already certified: 2 of 3\n" in progress
    assert "cnn mxnet float64: ok" in progress and "mlp mxnet" not in progress
    findings = read(out).findings
    assert [each.net for each in findings] == [FRAMEWORK_CHECKS] * 2 + ["cnn"] * 2 + ["mlp"] * 2
    assert all(each.certified for each in findings)
    fewer = ["--fw", "torch", *options[2:]]
    assert main(["--net", "mlp", "--resume", *fewer]) == 0  # a part of what the folder holds
    assert "already certified: 2 of 2\n" in capsys.readouterr().err
    assert len(read(out).findings) == 6
    assert main(["--net", "mlp", "--resume", "--seed", "7", *options]) == 2
    assert "was made with --seed 0" in capsys.readouterr().err
    assert main(["--net", "mlp", "--resume", *options, "--steps", "3"]) == 2
    assert "was made with --steps 2" in capsys.readouterr().err


def test_a_framework_that_fails_does_not_stop_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = bench.session("torch")
    monkeypatch.setattr(session, "close", lambda: None)
    right = Target("right", "frameworks.pytorch", "", session, {})
    wrong = Target("wrong", "frameworks.pytorch", "no such mode", session, {}, lock=right.lock)
    ((first, second),) = verify_cases(
        {"mlp": lambda: case("mlp")}, [right, wrong], ["float64"], threads=THREADS, workers=2
    )
    assert (first.verdict, second.verdict) == ("ok", "failed")
    assert second.failed and "no such mode" in second.failed


WRONG = [
    "--net lennet", "--fw tortch", "--precision half", "--threads 0", "--batch-size 1", "--steps 0", "--seed -1",
    "--python torch", "--out /proc/onespec", "--resume",
]  # fmt: skip


@pytest.mark.parametrize("options", WRONG)
def test_bad_input_gives_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], options: str) -> None:
    assert main(options.split()) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_float32_needs_two_frameworks(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    python = f"--python=torch={bench.python('torch')}"
    assert main(["--net", "mlp", "--fw", "torch", "--precision", "float32", python]) == 2
    assert "two or more" in capsys.readouterr().err


# --- workers that end -------------------------------------------------------------------------------------------------

DYING = """
import os
import signal

from frameworks.numpy_reference import Reference


class Dying(Reference):
    def __init__(self, network, training, setting, departures=()):
        super().__init__(network, training, setting, departures)
        if network.name == "dies":
            os.kill(os.getpid(), signal.SIGFPE)
"""


def test_a_worker_that_dies_fails_one_network_only(tmp_path: Path) -> None:
    (tmp_path / "dying.py").write_text(DYING, encoding="utf-8")
    request = verify_run.VerifyRequest(frameworks="dying", adapters=(f"{tmp_path / 'dying.py'}:Dying",))
    verify_run.register(request.adapters)
    cases = {}
    for name in ("first", "dies", "last"):
        network = dataclasses.replace(NETWORKS["mlp"](), name=name)
        few = dataclasses.replace(Case.for_network(network, 0, BATCH, curve=2), trainings={"sgd": TRAININGS["sgd"]})
        cases[name] = lambda few=few: few
    with contextlib.ExitStack() as stack:
        targets, skipped = verify_run.start_targets(request, tmp_path, stack, print)
        assert not skipped
        findings = [found for (found,) in verify_cases(cases, targets, ["float64"], threads=1, workers=1)]
    assert [(found.net, found.verdict) for found in findings] == [("first", "ok"), ("dies", "failed"), ("last", "ok")]
    assert findings[1].failed is not None and "SIGFPE" in findings[1].failed
    assert targets[0].client.process.poll() is not None, "the second worker is closed, too"
