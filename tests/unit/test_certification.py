"""Which runs a certificate covers: whatever makes a run another computation voids it, and the row says why."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks.certification import covered_code, lookup
from benchmarks.certification.covered_code import PARTS, code_parts, code_sha256
from benchmarks.certification.lookup import RowIdentity, covering, covering_trained
from benchmarks.certification.verified_networks import case_sha256, small, verified_forms
from benchmarks.datasets.registry import DATASETS
from benchmarks.records import certificates
from benchmarks.records.certificates import FRAMEWORK_CHECKS, Certificate, Finding, StageRecord, digest
from benchmarks.reporting import certificate_pages
from benchmarks.reporting.number_formats import machine_text
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.machine import Machine
from benchmarks.runtime.networks import network
from benchmarks.verification.cases import STAGES, Case
from benchmarks.verification.findings import weaker
from benchmarks.verification.framework_checks import STAGES as CHECK_STAGES
from benchmarks.verification.verify_run import VerifyRequest, of_others
from frameworks.adapter import Setting
from frameworks.networks import NETWORKS
from frameworks.spec import Dense, Flatten, Network, Resize, Scale
from tests.records import BEGAN, MACHINE

VERSIONS = {"keras": "3.15.1", "tensorflow": "2.21.0", "numpy": "2.4.6"}
FLOAT64, FLOAT32 = Setting(precision="float64"), Setting(precision="float32")
ADAPTER = """
import json
from pathlib import Path

import helper
from frameworks.adapter import Adapter


class Mine(Adapter):
    constants = json.loads(Path(__file__).with_name("constants.json").read_text())

    def train(self):
        from package.steps import step

        return helper.scale(step)
"""
FILES = {
    "mine.py": ADAPTER,
    "helper.py": "from deeper import FACTOR\n\n\ndef scale(x):\n    return FACTOR * x\n",
    "deeper.py": "FACTOR = 1.0\n",
    "constants.json": "[1]",
    "package/__init__.py": "",
    "package/steps.py": "from . import rule\n\nstep = rule.lr\n",
    "package/rule.py": "lr = 0.1\n",
    "unrelated.py": "A = 1\n",
}


@pytest.fixture(autouse=True)
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache and a checkout without certificates."""
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lookup, "SHIPPED", tmp_path / "shipped")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """The user's own adapter, with modules and constants beside it."""
    for name, text in FILES.items():
        (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / name).write_text(text)
    return tmp_path / "own" / "mine.py"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code of the package, which a test may change."""
    for name, folder in (("FRAMEWORKS", covered_code.FRAMEWORKS), ("HARNESS", covered_code.HARNESS)):
        shutil.copytree(folder, tmp_path / "tree" / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setattr(covered_code, name, tmp_path / "tree" / folder.name)
    return tmp_path / "tree"


def stage(name: str, verdict: str = "ok", error: float = 1e-15) -> StageRecord:
    return StageRecord(name, verdict, error, limit=1e-10)


def a_row(adapter: Path | str, setting: Setting = FLOAT64, **other: Any) -> RowIdentity:
    return replace(RowIdentity("mine_net", "mine_net", "a" * 64, "mine", str(adapter), VERSIONS, setting), **other)


def a_finding(row: RowIdentity, **other: Any) -> Finding:
    """The finding of a complete verification that covers a row."""
    code = code_parts(row.adapter)
    finding = Finding(
        net=row.requested,
        name=row.name,
        input=[1, 28, 28],
        images=(4, 16),
        case_sha256=row.case_sha256,
        framework=row.framework,
        version="keras 3.15.1",
        versions=dict(row.versions),
        mode=row.setting.mode,
        code_sha256=code_sha256(code),
        code=code,
        weaker=[],
        precision=row.setting.precision,
        seeds=1,
        device=row.setting.device,
        settings={},
        verdict="ok",
        stages=[stage(name) for name in STAGES],
    )
    return msgspec.structs.replace(finding, **other)


def a_certificate(*findings: Finding, semantics: str = "aligned") -> Certificate:
    return Certificate(
        command=["verify"],
        began=BEGAN,
        semantics=semantics,
        seed=0,
        batch_size=4,
        steps=None,
        machine=MACHINE,
        commit=None,
        findings=list(findings),
    )


def with_checks(*findings: Finding, **change: Any) -> Certificate:
    """A certificate of these findings and, beside each, of framework checks that are ok or changed."""
    sound = {"verdict": "ok", "reason": None, "weaker": [], "stages": [stage(name) for name in CHECK_STAGES]}
    checks = [
        msgspec.structs.replace(
            finding, **{"net": FRAMEWORK_CHECKS, "name": "probe", "case_sha256": "c" * 64} | sound | change
        )
        for finding in findings
    ]
    return a_certificate(*checks, *findings)


def keep(*findings: Finding) -> Certificate:
    certificate = with_checks(*findings)
    lookup.keep(certificate)
    return certificate


# --- a valid certificate ----------------------------------------------------------------------------------------------


def test_a_complete_finding_certifies(adapter: Path) -> None:
    row = a_row(adapter)
    certificate = keep(a_finding(row))
    coverage = covering(row)
    assert coverage.text == "certified" and coverage.certificate
    assert coverage.certificate.certificate == certificate.sha256
    assert covering(replace(row, versions=dict(reversed(VERSIONS.items())))).text == "certified"
    assert covering(replace(row, setting=replace(FLOAT64, threads=8))).text == "certified"


@pytest.mark.parametrize("name", ["", "_bfloat16"])
def test_the_certificates_of_the_checkout_certify(adapter: Path, name: str) -> None:
    row = a_row(adapter)
    folder = lookup.SHIPPED.with_name(f"{lookup.SHIPPED.name}{name}")
    folder.mkdir()
    certificates.write(with_checks(a_finding(row)), folder)
    assert covering(row).text == "certified"


DIFFERS = {"verdict": "differs", "stages": [stage("loss"), stage("gradients", "differs", 1e-3)]}


@pytest.mark.parametrize(
    ("float64", "float32", "expected"),
    [
        ({}, {}, "certified"),
        ({}, None, "certified in float64 only"),
        ({}, {"verdict": "undecided", "stages": [stage("loss", "undecided")]}, "certified in float64 only"),
        ({}, DIFFERS, "not certified: differs at stage gradients in float32"),
        (DIFFERS, {}, "not certified: differs at stage gradients"),
        ({"verdict": "failed", "reason": "it died", "stages": []}, {}, "not certified: failed: it died"),
        (None, {}, "not certified: never verified in float64"),
        ({"verdict": "explained", "stages": [stage("loss", "explained")]}, {}, "certified"),
    ],
)
def test_a_float32_row_needs_both_precisions(
    adapter: Path, float64: dict[str, Any] | None, float32: dict[str, Any] | None, expected: str
) -> None:
    row = a_row(adapter, FLOAT32)
    given = ((FLOAT64, float64), (FLOAT32, float32))
    keep(*(a_finding(replace(row, setting=setting), **change) for setting, change in given if change is not None))
    assert covering(row).text == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "certified"),
        (DIFFERS, "not certified: framework checks: differs at stage gradients"),
        ({"weaker": ["no stage trainer"]}, "not certified: framework checks: weaker verification: no stage trainer"),
        (
            {"versions": VERSIONS | {"numpy": "1"}},
            "not certified: framework checks: other versions: numpy 2.4.6",
        ),
        (
            {"framework": "other"},
            "not certified: framework checks: never verified: onespec verify --net mine_net --fw mine",
        ),
    ],
)
def test_a_network_needs_the_checks_of_its_framework(adapter: Path, change: dict[str, Any], expected: str) -> None:
    if "framework" in change:  # of another adapter, too
        change = {**change, "code": {part: "0" * 64 for part in PARTS}}
    row = a_row(adapter)
    lookup.keep(with_checks(a_finding(row), **change))
    assert covering(row).text == expected


def test_float32_needs_the_checks_in_float32(adapter: Path) -> None:
    row = a_row(adapter, FLOAT32)
    both = [a_finding(replace(row, setting=setting)) for setting in (FLOAT64, FLOAT32)]
    lookup.keep(with_checks(both[0]))
    lookup.keep(a_certificate(both[1]))
    assert covering(row).text == "certified in float64 only"
    lookup.keep(with_checks(both[1], **DIFFERS))
    assert covering(row).text == "not certified: framework checks: differs at stage gradients in float32"


def test_reduced_precision_needs_a_finding_of_its_own(adapter: Path) -> None:
    """Its code is not that of float64, so a finding in float64 or float32 says nothing about it."""
    row = a_row(adapter, Setting(precision="bfloat16"))
    keep(*(a_finding(replace(row, setting=setting)) for setting in (FLOAT64, FLOAT32)))
    assert covering(row).text == "not certified: never verified in bfloat16"
    keep(a_finding(row))
    assert covering(row).text == "certified"


def test_no_finding_covers_tf32(adapter: Path) -> None:
    row = a_row(adapter, Setting(device="cuda", tf32=True))
    keep(*(a_finding(replace(row, setting=replace(setting, device="cuda"))) for setting in (FLOAT64, FLOAT32)))
    assert covering(row).text == "not certified: never verified with TF32"
    assert covering(replace(row, setting=Setting(device="cuda"))).text == "certified"


def test_a_weaker_finding_does_not_replace_a_complete_one(adapter: Path) -> None:
    row = a_row(adapter)
    keep(a_finding(row))
    keep(a_finding(row, weaker=["--steps 1"]))
    assert covering(row).text == "certified"
    keep(a_finding(row, weaker=["--steps 1"], **DIFFERS))
    assert covering(row).text == "not certified: differs at stage gradients"


def test_default_settings_of_a_framework_certify_nothing(adapter: Path) -> None:
    row = a_row(adapter)
    lookup.keep(a_certificate(a_finding(row), semantics="native"))
    assert covering(row).text.startswith("not certified: never verified")


# --- another computation ----------------------------------------------------------------------------------------------

OTHER_FILES = ["mine.py", "helper.py", "deeper.py", "constants.json", "package/__init__.py", "package/rule.py"]


@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_change_in_what_the_adapter_uses_voids_the_certificate(adapter: Path, name: str) -> None:
    row = a_row(adapter)
    keep(a_finding(row))
    with (adapter.parent / name).open("a") as file:
        file.write("\nCHANGED = 1\n")
    assert covering(row).text == "not certified: adapter changed since"


@pytest.mark.parametrize("name", ["unrelated.py", "helper.py"])
def test_a_comment_or_an_unrelated_file_keeps_the_certificate(adapter: Path, name: str) -> None:
    row = a_row(adapter)
    keep(a_finding(row))
    with (adapter.parent / name).open("a") as file:
        file.write("\n# A comment.\n" if name == "helper.py" else "\nCHANGED = 1\n")
    assert covering(row).text == "certified"


CODE = {
    "frameworks/pytorch/layers.py": "adapter",
    "frameworks/spec/lowering.py": "spec",
    "frameworks/training.py": "spec",
    "frameworks/arrays.py": "spec",
    "frameworks/worker.py": "worker",
    "benchmarks/runtime/worker_client.py": "worker",
    "benchmarks/training/trainer.py": "trainer",
    "benchmarks/training/epoch_slices.py": "trainer",
    "benchmarks/training/lr_schedules.py": "trainer",
    "benchmarks/training/jobs.py": "trainer",
    "benchmarks/datasets/augmentation.py": "trainer",
    "frameworks/numpy_reference.py": "verification",
    "benchmarks/verification/cases.py": "verification",
    "benchmarks/verification/comparison.py": "verification",
    "benchmarks/certification/verified_networks.py": "verification",
}


@pytest.mark.parametrize("file", CODE)
def test_other_code_voids_the_certificate(tree: Path, file: str) -> None:
    row = a_row("frameworks.pytorch")
    keep(a_finding(row))
    with (tree / file).open("a") as changed:
        changed.write("\n_CHANGED = 1\n")
    of = "framework checks: " if CODE[file] == "trainer" else ""
    assert covering(row).text == f"not certified: {of}{CODE[file]} changed since"


@pytest.mark.parametrize("file", CODE)
def test_another_trainer_needs_new_framework_checks_alone(tree: Path, file: str) -> None:
    """No finding on a network runs it."""
    row = a_row("frameworks.pytorch")
    finding = a_finding(row)
    keep(finding)
    with (tree / file).open("a") as changed:
        changed.write("\n_CHANGED = 1\n")
    checks, _ = with_checks(a_finding(row)).findings
    lookup.keep(a_certificate(checks, finding))
    assert (covering(row).text == "certified") == (CODE[file] == "trainer")


@pytest.mark.parametrize("file", ["frameworks/registry.py", "frameworks/keras3/model.py", "benchmarks/run.py"])
def test_code_that_decides_no_number_keeps_the_certificate(tree: Path, file: str) -> None:
    row = a_row("frameworks.pytorch")
    keep(a_finding(row))
    with (tree / file).open("a") as changed:
        changed.write("\n_CHANGED = 1\n")
    assert covering(row).text == "certified"


# Modules that the trainer imports and that decide no number of a row: records, checkpoints of the trained weights,
# files of data sets (their digests are recorded), cores, recipes (all frameworks get the same), the number and the
# state of a GPU (a finding has its kind of device), which states are kept, and the lookup itself.
EXEMPT = {
    "certification/lookup.py", "datasets/registry.py", "records/events.py", "records/runs.py", "records/store.py",
    "runtime/affinity.py", "runtime/devices.py", "runtime/gpu_state.py", "runtime/worker_client.py",
    "training/checkpoints.py", "training/kept_states.py", "training/recipes.py",
}  # fmt: skip


def test_everything_that_the_trainer_imports_is_covered_or_exempt() -> None:
    harness = covered_code.HARNESS
    imported = {
        path.relative_to(harness).as_posix()
        for name in covered_code.TRAINING
        for path in covered_code._imported(harness / name, (harness / name).stat().st_mtime_ns, harness)
        if harness in path.parents and path.name != "__init__.py"
    }
    assert imported - set(covered_code.TRAINING) == EXEMPT & imported
    assert "training/epoch_slices.py" in imported


OTHER_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "version of a second package": (
        {"versions": VERSIONS | {"tensorflow": "2.20.0"}},
        "other versions: tensorflow 2.20.0",
    ),
    "version of NumPy": ({"versions": VERSIONS | {"numpy": "2.3.1"}}, "other versions: numpy 2.3.1"),
    "further package": ({"versions": VERSIONS | {"cuda": "12.8"}}, "other versions: cuda 12.8"),
    "missing package": ({"versions": {"keras": "3.15.1"}}, "other versions: fewer packages"),
    "mode": ({"setting": replace(FLOAT64, mode="compile")}, "never verified in mode compile"),
    "device": ({"setting": replace(FLOAT64, device="cuda")}, "verified on cpu only"),
    "spec with the same name": (
        {"case_sha256": "b" * 64},
        "the network changed since: onespec verify --net mine_net --fw mine",
    ),
    "network": (
        {"case_sha256": "b" * 64, "name": "other", "requested": "other.py:other"},
        "never verified: onespec verify --net other.py:other --fw mine",
    ),
    "framework": ({"framework": "torch"}, "never verified: onespec verify --net mine_net --fw torch"),
}


@pytest.mark.parametrize("change", OTHER_ROWS)
def test_another_row_is_not_certified(adapter: Path, change: str) -> None:
    row = a_row(adapter)
    keep(a_finding(row))
    fields, reason = OTHER_ROWS[change]
    if change == "framework":  # an adapter of another framework has other code
        fields = {**fields, "adapter": "frameworks.pytorch"}
    assert covering(replace(row, **fields)).text == f"not certified: {reason}"


def test_the_nearest_finding_gives_the_reason(adapter: Path) -> None:
    row = a_row(adapter)
    other = replace(row, versions={"keras": "3.14.0"}, setting=replace(FLOAT64, mode="eager"))
    keep(a_finding(other), a_finding(replace(row, versions=VERSIONS | {"numpy": "2.3.1"})))
    assert covering(row).text == "not certified: other versions: numpy 2.4.6"


# --- trained weights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lenet", "lenet_bn", "mlp", "alexnet_d2l", "googlenet_aux", "resnet18"])
@pytest.mark.parametrize("data", ["fashion-mnist", "cifar10"])
def test_weights_have_the_certificate_of_their_network(name: str, data: str) -> None:
    """With pixel arithmetic and a resize in front, and with the channels of another data set."""
    shape = DATASETS[data].input
    built = network(name, classes=10)
    built = built.with_input((shape[0], *built.input[1:]))
    front = [Scale("pixels"), Resize("resize", *built.input[1:])]
    assert list(verified_forms(built.after(*front, input=shape))) == [(name, case_sha256(name))]


def test_weights_of_a_network_with_a_known_name_need_its_layers(adapter: Path) -> None:
    """The user's own network may have the name of another one; its layers are looked up."""
    own = Network("lenet", (1, 28, 28), [Flatten(), Dense("fc", 10)])
    trained = own.after(Scale("pixels"), input=(1, 28, 28))
    digests = {form.case_sha256 for form in verified_forms(trained)}
    assert small(own).sha256 in digests and case_sha256("lenet") not in digests
    row = a_row(adapter, name="lenet", case_sha256=case_sha256("lenet"))
    arguments = "mine", FLOAT64, str(adapter), VERSIONS
    keep(a_finding(row))
    assert covering_trained(network("lenet"), *arguments).text == "certified"
    assert covering_trained(trained, *arguments).text.startswith("not certified: the network changed since")
    keep(a_finding(replace(row, case_sha256=small(own).sha256)))
    assert covering_trained(trained, *arguments).text == "certified"


# --- a weaker verification --------------------------------------------------------------------------------------------


def test_a_weaker_verification_certifies_nothing(adapter: Path) -> None:
    row = a_row(adapter)
    keep(a_finding(row, weaker=["--steps 1", "--batch-size 2"]))
    assert covering(row).text == "not certified: weaker verification: --steps 1, --batch-size 2"


@pytest.mark.parametrize(
    ("batch_size", "steps", "stages", "expected"),
    [
        (4, None, STAGES, []),
        (8, 200, STAGES, []),
        (2, None, STAGES, ["--batch-size 2"]),
        (4, 1, STAGES, ["--steps 1"]),
        (4, 49, STAGES, ["--steps 49"]),
        (4, None, STAGES[:-1], ["no stage curve"]),
        (4, None, [stage for stage in STAGES if stage != "gradients"], ["no stage gradients"]),
    ],
)
def test_a_verification_that_asks_less_is_weaker(
    batch_size: int, steps: int | None, stages: list[str], expected: list[str]
) -> None:
    case = Case.for_network(NETWORKS["mlp"](), 0, batch_size, steps)
    assert list(weaker(case, set(stages))) == expected


# --- several verifications in one folder ------------------------------------------------------------------------------


def test_a_second_verification_keeps_the_findings_on_others(adapter: Path, tmp_path: Path) -> None:
    row = a_row(adapter)
    nets = [a_finding(replace(row, requested=name)) for name in ("lenet", "mlp")]
    others = [a_finding(replace(row, framework="torch")), a_finding(row, code=msgspec.UNSET)]
    certificates.write(a_certificate(*nets, *others), tmp_path)
    remade = [("mlp", "mine", "float64"), ("cnn", "mine", "float64")]
    request = VerifyRequest(("mlp", "cnn"), out=tmp_path)
    assert of_others(request, remade) == [nets[0], others[0]], "a finding of an earlier version covers nothing"
    assert of_others(replace(request, seed=1), remade) == [], "other options make another certificate"
    assert of_others(replace(request, out=tmp_path / "new"), remade) == []
    assert of_others(replace(request, out=None), remade) == []


# --- edited files -----------------------------------------------------------------------------------------------------


def edit_verdict(finding: dict[str, Any]) -> None:
    finding["verdict"] = "ok"


def edit_stage(finding: dict[str, Any]) -> None:
    finding["verdict"] = finding["stages"][1]["verdict"] = "ok"


def remove_stage(finding: dict[str, Any]) -> None:
    finding["verdict"] = "ok"
    finding["stages"] = []


def edit_error(finding: dict[str, Any]) -> None:
    edit_stage(finding)
    finding["stages"][1]["error"] = 1e-15


@pytest.mark.parametrize("shipped", [False, True], ids=["cache", "checkout"])
@pytest.mark.parametrize("signed", [False, True], ids=["old digest", "new digest"])
@pytest.mark.parametrize("edit", [edit_verdict, edit_stage, remove_stage, edit_error])
def test_an_edited_file_is_refused_by_name(
    adapter: Path, edit: Callable[[dict[str, Any]], None], signed: bool, shipped: bool
) -> None:
    """A new digest with a plausible error cannot be recognized; every other edit is."""
    row = a_row(adapter)
    certificate = with_checks(a_finding(row, **DIFFERS))
    if shipped:
        lookup.SHIPPED.mkdir()
        certificates.write(certificate, lookup.SHIPPED)
    else:
        lookup.keep(certificate)
    folder = lookup.SHIPPED if shipped else lookup._folder(row.name, row.case_sha256)
    (path,) = folder.glob("*.json")
    assert covering(row).text == "not certified: differs at stage gradients"
    record = json.loads(path.read_text())
    edit(record["findings"][1] if shipped else record["finding"])
    if signed:
        record["sha256"] = digest(record)
    path.write_text(json.dumps(record))
    text = covering(row).text
    if signed and edit is edit_error:
        assert text == "certified"
    else:
        assert text.startswith(f"not certified: {path}: ") and "it was changed after the verification" in text
        if shipped:
            with pytest.raises(BadInput, match="changed after the verification"):
                certificates.read(lookup.SHIPPED)


def test_a_certificate_of_an_earlier_version_is_read_but_covers_nothing(adapter: Path) -> None:
    row = a_row(adapter)
    earlier = a_finding(row, code=msgspec.UNSET, weaker=msgspec.UNSET, name=msgspec.UNSET)
    lookup.SHIPPED.mkdir()
    certificates.write(a_certificate(earlier), lookup.SHIPPED)
    assert certificates.read(lookup.SHIPPED).findings == [earlier]
    assert covering(row).text.startswith("not certified: never verified")


def test_what_judges_predictions_alone_belongs_to_no_other_certificate() -> None:
    trains, predicts = (code_parts("frameworks.pytorch", each) for each in (True, False))
    assert [part for part in PARTS if trains[part] != predicts[part]] == ["verification"]
    judging = {path.name for path in covered_code._judging()}
    assert covered_code.INFERENCE not in judging and "comparison.py" in judging


def test_all_parts_of_the_code_have_files() -> None:
    parts = code_parts("frameworks.keras3.on_tensorflow")
    assert tuple(parts) == PARTS and len(set(parts.values())) == len(PARTS)
    assert code_parts(str(covered_code.FRAMEWORKS / "keras3" / "on_tensorflow.py")) == parts


# --- the machines of findings -----------------------------------------------------------------------------------------

OTHER = msgspec.structs.replace(MACHINE, processor="another processor")


@pytest.mark.parametrize(
    ("machines", "expected"),
    [
        ([MACHINE, MACHINE], [MACHINE]),
        ([MACHINE, OTHER], [MACHINE, OTHER]),
        ([OTHER, OTHER], [OTHER]),  # the command verified nothing itself
        ([None, None], [MACHINE, None]),
        ([None, OTHER], [MACHINE, OTHER, None]),
    ],
)
def test_the_page_names_the_machine_of_every_finding(
    adapter: Path, machines: list[Machine | None], expected: list[Machine | None]
) -> None:
    named = [msgspec.UNSET if each is None else each for each in machines]
    findings = [a_finding(a_row(adapter), machine=each) for each in named]
    text = certificate_pages.summary(a_certificate(*findings))
    ours = [machine_text(each) if each else "earlier ones do not name theirs" for each in expected]
    assert "; ".join(ours) in text
    assert (machine_text(OTHER) in text) == (OTHER in expected)


# --- tables of a certificate ------------------------------------------------------------------------------------------


def of_framework(adapter: Path, net: str, framework: str, verdict: str = "ok", **other: Any) -> Finding:
    return a_finding(a_row(adapter, requested=net), framework=framework, verdict=verdict, **other)


def test_a_summary_counts_networks_by_verdict(adapter: Path) -> None:
    """Every framework and precision has a row, and the framework checks count as no network."""
    large = [msgspec.structs.replace(stage("loss"), error=error) for error in (1e-3, 3e-2)]
    findings = [
        of_framework(adapter, certificates.FRAMEWORK_CHECKS, "torch", "explained"),
        of_framework(adapter, "lenet", "torch", stages=large[:1]),
        of_framework(adapter, "mlp", "torch", "explained"),
        of_framework(adapter, "lenet", "keras", "differs", stages=large[1:]),
        of_framework(adapter, "mlp", "keras", "failed", reason="it ended"),
        of_framework(adapter, "lenet", "torch", "not distinguishable", precision="float32"),
    ]
    lines = certificate_pages.summary(a_certificate(*findings)).splitlines()
    head, _, *rows = [re.split(r" *\| *", line.strip("| ")) for line in lines if line.startswith("|")]
    verdicts = ["ok", "explained", "not distinguishable", "differs", "failed"]
    assert head == ["framework", "precision", "networks", *verdicts, "largest error", "framework checks"]
    assert rows == [
        ["torch", "float64", "2", "1", "1", "0", "0", "0", "1e-03", "explained"],
        ["torch", "float32", "1", "0", "0", "1", "0", "0", "-", "-"],
        ["keras", "float64", "2", "0", "0", "0", "1", "1", "-", "-"],
    ]


def test_the_matrix_has_a_cell_for_every_network_framework_and_precision(adapter: Path) -> None:
    """Networks in the order of the catalogue, others after them; what was not verified is a dash."""
    findings = [
        of_framework(adapter, "of_my_own", "torch"),
        of_framework(adapter, "mlp", "torch", "not distinguishable", precision="float32"),
        of_framework(adapter, "lenet", "keras"),
        of_framework(adapter, certificates.FRAMEWORK_CHECKS, "torch"),
    ]
    lines = certificate_pages.matrix(findings).splitlines()
    head, _, *rows = [re.split(r" *\| *", line.strip("| ")) for line in lines if line.startswith("|")]
    assert lines[0].startswith("In float64 / float32, ") and head == ["network", "torch", "keras"]
    assert [row[0] for row in rows] == [certificates.FRAMEWORK_CHECKS, "lenet", "mlp", "of_my_own"]
    assert rows[1][1:] == ["- / -", f"{certificate_pages.brief(findings[2])} / -"]
    assert rows[2][1:] == [f"- / {certificate_pages.brief(findings[1])}", "- / -"]


def test_fields_that_records_have_gained_keep_the_digest_of_a_certificate() -> None:
    """A digest is computed from the parsed record, so that a field without a value must not be in it."""
    folder = Path(__file__).parents[2] / "results" / "certificate"
    recorded = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))["sha256"]
    assert certificates.read(folder).sha256 == recorded
