"""Frameworks that only predict: verified in evaluation, timed and used for predictions, and refused for training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import predict, run, verify
from benchmarks.certification.lookup import CERTIFIED, RowIdentity, covering
from benchmarks.certification.verified_networks import case_sha256, small
from benchmarks.records.certificates import FRAMEWORK_CHECKS
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.training import checkpoints
from benchmarks.verification.case_runner import NetworkVerdict, Target
from benchmarks.verification.cases import Case
from benchmarks.verification.inference import verify_inference
from frameworks.adapter import Setting
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS, trained
from frameworks.spec import Dense, Flatten, Network, Scale
from tests.command_line import exit_code_of
from tests.conftest import THREADS, Bench
from tests.contract.test_ported_source import KINDS, of_kind

PREDICTING = [name for name in FRAMEWORKS if name not in trained()]
NETS = (
    "lenet",
    "lenet_bn",
    "resnet18",
    "googlenet_aux",
    "mobilenet_v3_small",
    "densenet121",
    "cifar_shufflenet_g2",
    "efficientnet_v2_b1",
)


def verdicts(bench: Bench, framework: str, network: Network, folder: Path, precision: str) -> list[NetworkVerdict]:
    """Those of a network, or none where the framework lacks the precision."""
    client, lacking = bench.session(framework), list[str]()
    target = Target(framework, FRAMEWORKS[framework].module, "", client, client.started.versions)
    found = verify_inference(
        Case.for_network(network, 0, 4),
        network.name,
        [target],
        [precision],
        folder,
        threads=THREADS,
        unavailable=lambda _, what, reason: lacking.append(f"{what}: {reason}"),
    )
    listed = list(found)
    assert bool(listed) != bool(lacking)
    return listed


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("framework", PREDICTING)
def test_a_network_agrees_with_the_reference(bench: Bench, tmp_path: Path, framework: str, name: str) -> None:
    network = small(NETWORKS[name](classes=10))
    (verdict,) = verdicts(bench, framework, network, tmp_path, "float32")
    assert [stage.verdict for stage in verdict.verdicts] == ["ok", "ok"], verdict.first
    assert [stage.stage for stage in verdict.verdicts] == ["parameters", "evaluation"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framework", PREDICTING)
def test_a_kind_of_layer_agrees_with_the_reference(bench: Bench, tmp_path: Path, framework: str, kind: str) -> None:
    """In float64 too, where the framework has kernels for it; what it lacks there is said."""
    for precision in ("float32", "float64"):
        for verdict in verdicts(bench, framework, of_kind(kind), tmp_path, precision):
            assert verdict.verdict == "ok", verdict.first or verdict.failed


# A mistake in an adapter: what replaces what, and the place that differs first.
FAULTS = {
    "one weight": ("weights[name].astype", "(weights[name] * (1.001 if name == 'C3.weight' else 1)).astype", "C3"),
    "the order of batches": ("np.concatenate([logits", "np.concatenate([logits[::-1]", "predicted"),
    "one output": ("return {path: found[name]", "return {path: found[name] + 1e-3 * (path == 'C5')", "C5"),
    "a missing image": ("images = self.images[split]", "images = self.images[split][:-1]", "failed"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_of_the_adapter_is_reported(bench: Bench, tmp_path: Path, fault: str) -> None:
    old, new, place = FAULTS[fault]
    source = Path(__file__).parents[2] / "frameworks" / "onnx_runtime.py"
    text = source.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path = tmp_path / "faulty.py"
    path.write_text(text.replace(old, new), encoding="utf-8")
    python, log = bench.python("onnxruntime"), tmp_path / "log"
    with WorkerClient(python, str(path), "OnnxRuntime", threads=1, log=log, timeout=300) as client:
        target = Target("onnxruntime", str(path), "", client, client.started.versions)
        case = Case.for_network(NETWORKS["lenet"](), 0, 4)
        (verdict,) = verify_inference(
            case, "lenet", [target], ["float32"], tmp_path, threads=1, unavailable=lambda *_: None
        )
    if place == "failed":
        assert verdict.failed
        return
    assert verdict.first and verdict.first.place
    assert place in (verdict.first.place.tensor, verdict.first.place.training)


@pytest.mark.parametrize("framework", PREDICTING)
def test_training_is_unavailable(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], framework: str
) -> None:
    options = ["--python", f"{framework}={bench.python(framework)}", "--quick", "--train-size", "64", "--threads", "1"]
    code = exit_code_of(run.command)(["--net", "lenet", "--fw", framework, "--out", str(tmp_path), *options])
    assert code == 1, capsys.readouterr().err
    (row,) = pd.read_csv(next(tmp_path.glob("*/report.csv"))).to_dict("records")
    assert row["status"] == "unavailable" and row["reason"].startswith("inference only: ")


@pytest.mark.parametrize("framework", PREDICTING)
def test_predictions_are_those_of_a_framework_that_trains(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], framework: str
) -> None:
    path = tmp_path / "lenet.npz"
    network = NETWORKS["lenet"]().after(Scale("pixels", factor=1 / 255), input=(1, 28, 28))
    checkpoints.save(path, network, initial(network, 0), {"framework": "none", "dataset": "fashion-mnist-mini"})
    pythons = [f"--python={name}={bench.python(name)}" for name in ("torch", framework)]
    arguments = ["--weights", str(path), "--fw", f"torch,{framework}", *pythons, "--out", str(tmp_path / "out")]
    assert exit_code_of(predict.command)(arguments) == 0
    assert "the same labels on all" in capsys.readouterr().out


@pytest.mark.parametrize("framework", PREDICTING)
def test_its_certificate_covers_predictions_in_its_precision(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], framework: str
) -> None:
    python, started = bench.python(framework), bench.session(framework).started  # both from the cache of the tests
    monkeypatch.setenv("ONESPEC_CACHE", str(tmp_path / "cache"))
    options = ["--python", f"{framework}={python}", "--threads", "1", "--out", str(tmp_path / "certificate")]
    assert exit_code_of(verify.command)(["--net", "lenet", "--fw", framework, *options]) == 0
    printed = capsys.readouterr()
    assert "lenet: onnxruntime: float64: unavailable: " in printed.out + printed.err
    findings = json.loads((tmp_path / "certificate" / "certificate.json").read_text())["findings"]
    assert [(each["net"], each["precision"], each["weaker"]) for each in findings] == [("lenet", "float32", [])]
    assert FRAMEWORK_CHECKS not in {each["net"] for each in findings}
    for precision, covered in (("float32", True), ("float64", False)):
        setting = Setting(precision=precision)  # type: ignore[arg-type]
        row = RowIdentity("lenet", "lenet", case_sha256("lenet"), framework, started.file, started.versions, setting)
        assert (covering(row).text == CERTIFIED) is covered


def test_a_layer_may_have_the_name_of_an_output(bench: Bench) -> None:
    for names in (("logits", "fc"), ("fc", "logits"), ("images", "pixels")):
        network = Network("net", (1, 4, 4), [Flatten(), *(Dense(name, 5) for name in names)])
        bench.build("onnxruntime", network, weights=initial(network, 0))
        images = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 4), dtype=np.uint8)
        bench.load("onnxruntime", "test", images, np.zeros(3, np.int64))
        _, logits = bench.arrays("onnxruntime", "predict", split="test", batch_size=2)
        bench.build("torch", network, weights=initial(network, 0))
        bench.load("torch", "test", images, np.zeros(3, np.int64))
        _, expected = bench.arrays("torch", "predict", split="test", batch_size=2)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
