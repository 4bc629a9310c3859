"""The certificate: right programs pass it, others do not, and runs find it again. See also test_faults.py."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.runtime.worker_client import Session
from benchmarks.verification import certificates
from benchmarks.verification.case_runner import Finding, Target, verify_cases
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
from benchmarks.verification.evidence import EvidenceCollector, PlacedTensor, ReferenceClient, write_case_files
from benchmarks.verify import command
from frameworks.adapter import Setting
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from tests.command_line import exit_code_of
from tests.conftest import THREADS, Bench, evidence_of_reference

main = exit_code_of(command)

DEPARTURE = "unbiased_running_variance"
NETS = ["lenet", "lenet_bn", "mlp", "cnn"]
FEW = ("nesterov, decay", "sgd, smoothed labels", "adam, decay")


def case(name: str) -> Case:
    """A network's trial with three trainings, which between them hold most of what the others do."""
    made = Case.for_network(NETWORKS[name](), seed=0, batch_size=BATCH, curve=12)
    return dataclasses.replace(made, trainings={training: TRAININGS[training] for training in FEW})


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("name", NETS)
def test_unchanged_adapters_pass(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, framework: str) -> None:
    target = Target(framework, FRAMEWORKS[framework].module, "", bench.session(framework), {})
    monkeypatch.setattr(target.client, "close", lambda: None)  # other tests use it
    ((finding,),) = verify_cases({name: lambda: case(name)}, [target], ["float64"], threads=THREADS, workers=1)
    found = {verdict.stage: verdict.verdict for verdict in finding.verdicts}
    assert tuple(found) == STAGES and not finding.failed
    bn = name == "lenet_bn"
    assert found["running statistics"] == ("none" if not bn else "explained" if framework == "torch" else "ok")
    assert {found[stage] for stage in STAGES if stage not in ("running statistics", "dropout")} == {"ok"}, finding


# --- departures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> ReferenceEvidence:
    one = case("lenet_bn")
    return ReferenceEvidence.from_evidence(one, evidence_of_reference(one, tmp_path_factory.mktemp("truth")))


@pytest.fixture(scope="module")
def unbiased(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return evidence_of_reference(case("lenet_bn"), tmp_path_factory.mktemp("departed"), [DEPARTURE])


@pytest.mark.parametrize("departs", [True, False], ids=["departs", "does not"])
@pytest.mark.parametrize("declares", [True, False], ids=["declares", "does not"])
def test_a_departure_passes_where_it_is_declared_and_shows(
    known: ReferenceEvidence, unbiased: Evidence, departs: bool, declares: bool
) -> None:
    """The formula of the declaration is held against the reference that computes so step by step."""
    pieces = (unbiased if departs else known.evidence).items()
    found = relative_errors(pieces, known, [DEPARTURE] if declares else [], "float64")
    verdicts = {
        verdict.stage: verdict.verdict for verdict in stage_verdicts({"it": found}, known.case, "float64")["it"]
    }
    expected = {(True, True): "explained", (False, False): "ok"}.get((departs, declares), "differs")
    assert verdicts.pop("running statistics") == expected
    assert set(verdicts.values()) <= {"ok", "none"}


# --- what is no number ------------------------------------------------------------------------------------------------


def bent(pieces: Evidence, how: str) -> Iterator[PlacedTensor]:
    """The evidence with the first gradient missing, of another shape, or not a number."""
    bad = next(place for place in pieces if place.stage == "gradients")
    for place, array in pieces.items():
        if place != bad:
            yield place, array
        elif how == "shape":
            yield place, array[..., None]
        elif how == "nan":
            yield place, np.full_like(array, np.nan)


@pytest.mark.parametrize("how", ["missing", "shape", "nan"])
def test_what_cannot_be_compared_differs(known: ReferenceEvidence, how: str) -> None:
    found = relative_errors(bent(known.evidence, how), known, [], "float64")
    (gradients,) = [v for v in stage_verdicts({"it": found}, known.case, "float64")["it"] if v.stage == "gradients"]
    assert (gradients.verdict, gradients.error) == ("differs", float("inf"))


def test_what_there_should_not_be_differs(known: ReferenceEvidence) -> None:
    extra = Place("parameters", "", 0, "one.weight"), np.array([1, 1])
    found = relative_errors([*known.evidence.items(), extra], known, [], "float64")
    assert stage_verdicts({"it": found}, known.case, "float64")["it"][0].verdict == "differs"


# --- float32 ----------------------------------------------------------------------------------------------------------


def off(error: float) -> RelativeErrors:
    return RelativeErrors(plain={Place("loss", "", 0, "loss"): error})


@pytest.mark.parametrize("errors, differing", [
    ((1e-5, 2e-5, 7e-5), ()),
    ((1e-5, 2e-5, 9e-5), (2,)),
    ((1e-5, 9e-5), (1,)),  # of two the better one is the measure: the median of both would pass anything
    ((1e-9, ROUNDING), ()),
    ((1e-9, 1e-9, 2 * ROUNDING), (2,)),
])  # fmt: skip
def test_float32_is_judged_by_the_median_framework(errors: tuple[float, ...], differing: tuple[int, ...]) -> None:
    judged = stage_verdicts({str(i): off(error) for i, error in enumerate(errors)}, case("mlp"), "float32")
    found = {int(name) for name, verdicts in judged.items() if verdicts[3].verdict == "differs"}
    assert found == set(differing)


def test_a_stage_that_agrees_at_a_later_seed_agrees() -> None:
    target = Target("it", "m", "", None, {})  # type: ignore[arg-type]
    place = Place("loss", "", 0, "loss")
    tipped = [StageVerdict("loss", "differs", 1e-3, place), StageVerdict("curve", "differs", 1e-3, place)]
    later = [StageVerdict("loss", "ok", 1e-7, place), StageVerdict("curve", "differs", 2e-3, place)]
    one, two = (Finding("mlp", case("mlp"), "float32", target, {}, verdicts) for verdicts in (tipped, later))
    merged = one.merged(two)
    assert [verdict.verdict for verdict in merged.verdicts] == ["ok", "differs"]
    assert (merged.seeds, merged.verdict) == (2, "differs")


def test_a_trial_again_has_other_numbers() -> None:
    one = case("mlp")
    two = one.with_next_seed()
    assert (two.seed, two.network) == (1, one.network)
    assert not np.array_equal(one.images, two.images)


# --- dropout ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault, said", [
    (None, "within"),
    ("scale", "not divided"),
    ("share", "the fraction of remaining values"),
    ("stripes", "neighbors"),
    ("one mask", "images"),
])  # fmt: skip
def test_dropout_is_a_fair_coin(fault: str | None, said: str) -> None:
    stream = np.random.default_rng(0)
    given = stream.normal(size=(16, 2_000))
    mask = stream.random((16, 2_000)) < (0.6 if fault == "share" else 0.5)
    if fault == "stripes":
        mask = np.repeat(mask[:, ::2], 2, axis=1)
    if fault == "one mask":
        mask = np.broadcast_to(mask[0], mask.shape)
    taken = given * mask * (1 if fault == "scale" else 2)
    place = Place("dropout", "", 0, "drop")
    verdict = dropout({place: np.stack([given, taken])}, {"drop": 0.5}, "float64")
    assert verdict.verdict == ("differs" if fault else "ok") and said in verdict.note


# --- trials -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_a_small_one_with_all_its_layers(name: str) -> None:
    full, made = NETWORKS[name](), small(NETWORKS[name]())
    assert [(depth, node.path, node.layer.kind) for depth, node in made.walk()] == [
        (depth, node.path, node.layer.kind) for depth, node in full.walk()
    ]
    assert made.macs <= full.macs


@pytest.mark.parametrize("name, pictures, steps", [("lenet", 16, 50), ("nin", 16, 10), ("inception_v3_aux", 4, 2)])
def test_larger_networks_have_shorter_trials(name: str, pictures: int, steps: int) -> None:
    made = Case.for_network(small(NETWORKS[name]()), seed=0, batch_size=BATCH)
    assert (len(made.images), made.curve) == (pictures, steps)
    assert len(made.order) >= steps * BATCH


def test_weights_hide_nothing_and_are_exact_in_float32() -> None:
    for name, array in case("lenet_bn").weights.items():
        assert np.array_equal(array.astype(np.float32), array), name
        assert (array != 0).all() and not (array == 1).all(), name


def test_every_limit_is_one_of_a_stage() -> None:
    assert set(LIMITS) < set(STAGES)


def test_a_worker_is_asked_for_the_truth_as_the_reference_is(bench: Bench, tmp_path: Path) -> None:
    one = case("mlp")
    write_case_files(one, tmp_path)
    places = [place for place, _ in EvidenceCollector(ReferenceClient(tmp_path), one, SETTING, tmp_path).tensors()]
    session: Session = bench.session("torch")
    assert [place for place, _ in EvidenceCollector(session, one, SETTING, tmp_path).tensors()] == places


SETTING = Setting(precision="float64", threads=THREADS)


# --- the command and its records --------------------------------------------------------------------------------------


def test_the_command_writes_a_certificate_that_is_found_again(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pythons = [f"--python={name}={bench.python(name)}" for name in FRAMEWORKS]
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path))
    assert (
        main(["--net", "mlp", "--precision", "float64", "--steps", "2", "--out", str(tmp_path / "out"), *pythons]) == 0
    )
    assert capsys.readouterr().out.count("mlp") == len(FRAMEWORKS)
    assert "| mlp" in (tmp_path / "out" / "certificate.md").read_text()
    whole = json.loads((tmp_path / "out" / "certificate.json").read_text())
    assert {one["verdict"] for one in whole["findings"]} == {"ok"}
    for one in whole["findings"]:
        assert one["trial_sha256"] == certificates.trial_sha256("mlp")
        code = certificates.code_sha256(FRAMEWORKS[one["framework"]].module)
        about = [one["trial_sha256"], code, one["version"], "", "float64", "cpu"]
        assert certificates.find(certificates.key(*about)) == {"certificate": whole["sha256"], "verdict": "ok"}
        for place in range(len(about)):
            other = [*about[:place], "other", *about[place + 1 :]]
            assert certificates.find(certificates.key(*other)) is None


def test_resume_keeps_what_is_proved_and_nothing_else(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pythons = [f"--python={name}={bench.python(name)}" for name in FRAMEWORKS]
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path))
    out = tmp_path / "certificate"
    options = ["--precision", "float64", "--steps", "2", "--out", str(out), *pythons]
    assert main(["--net", "mlp,cnn", *options]) == 0
    whole = certificates.read(out)
    (shaken,) = (one for one in whole["findings"] if (one["net"], one["framework"]) == ("cnn", "mxnet"))
    shaken["verdict"] = "differs"
    (out / "certificate.json").write_text(certificates.text(whole))
    capsys.readouterr()
    assert main(["--net", "cnn,mlp", "--resume", *options]) == 0
    said = capsys.readouterr().err
    assert "already certified: mlp\n" in said and "cnn mxnet float64: ok" in said and "mlp mxnet" not in said
    again = certificates.read(out)["findings"]
    assert [one["net"] for one in again] == ["cnn"] * 3 + ["mlp"] * 3
    assert {one["verdict"] for one in again} == {"ok"}
    assert main(["--net", "mlp", "--resume", "--seed", "7", *options]) == 2
    assert "was made with --seed 0" in capsys.readouterr().err
    assert main(["--net", "mlp", "--resume", *options, "--steps", "3"]) == 2
    assert "was made with --steps 2" in capsys.readouterr().err


def test_a_framework_that_fails_does_not_stop_the_others(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = bench.session("torch")
    monkeypatch.setattr(session, "close", lambda: None)
    right = Target("right", "frameworks.pytorch", "", session, {})
    wrong = Target("wrong", "frameworks.pytorch", "no such mode", session, {}, lock=right.lock)
    ((one, two),) = verify_cases({"mlp": lambda: case("mlp")}, [right, wrong], ["float64"], threads=THREADS, workers=2)
    assert (one.verdict, two.verdict) == ("ok", "failed")
    assert two.failed and "no such mode" in two.failed


WRONG = [
    "--net lennet", "--fw tortch", "--precision half", "--threads 0", "--batch-size 1", "--steps 0", "--seed -1",
    "--python torch", "--out /proc/onespec", "--resume",
]  # fmt: skip


@pytest.mark.parametrize("options", WRONG)
def test_bad_input_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str], options: str) -> None:
    assert main(options.split()) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_float32_of_one_framework_alone_is_refused(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    python = f"--python=torch={bench.python('torch')}"
    assert main(["--net", "mlp", "--fw", "torch", "--precision", "float32", python]) == 2
    assert "two or more" in capsys.readouterr().err
