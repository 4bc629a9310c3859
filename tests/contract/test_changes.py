"""An adapter without one of its choices still computes what the adapter computes: else the two are not to be timed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks.runtime.environments import FrameworkRequest
from benchmarks.runtime.worker_client import Session
from frameworks.arrays import initial
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Scale, to_json
from frameworks.training import SGD, Training
from research import changes, profile
from research.changes import CHOICES, contenders
from tests.conftest import THREADS, Bench

EACH = [(framework, without.choice) for framework in FRAMEWORKS for without in CHOICES.get(framework, ())]


def test_every_framework_has_its_choices() -> None:
    assert CHOICES.keys() == FRAMEWORKS.keys()


@pytest.mark.parametrize("framework, choice", EACH)
def test_without_a_choice_it_computes_the_same(bench: Bench, tmp_path: Path, framework: str, choice: str) -> None:
    net = NETWORKS["lenet_bn"](classes=10).after(Scale("pixels"), input=(1, 28, 28))
    stream, training = np.random.default_rng(0), Training(SGD(momentum=0.9)).to_json()
    np.savez(tmp_path / "weights.npz", **initial(net, 0))  # type: ignore[arg-type]
    np.save(tmp_path / "images.npy", stream.integers(0, 256, (20, 1, 28, 28), dtype=np.uint8))
    np.save(tmp_path / "labels.npy", stream.integers(0, 10, 20))
    np.save(tmp_path / "order.npy", np.arange(20))
    where = {"device": "cpu", "precision": "float32", "threads": THREADS, "mode": ""}
    found = {}
    loops = contenders("lenet_bn", FrameworkRequest(framework), Path(bench.python(framework)))
    for loop in ("adapter", choice):
        who, log = loops[loop], tmp_path / "log"
        how = {"steady": who.steady, "environment": who.environment, "timeout": 300.0}
        with Session(who.python, who.module, who.adapter, threads=THREADS, log=log, **how) as worker:
            worker.receive()
            worker.request("build", network=to_json(net), training=training, setting=where)
            worker.request("set_weights", path=str(tmp_path / "weights.npz"))
            files = {"images": str(tmp_path / "images.npy"), "labels": str(tmp_path / "labels.npy")}
            for split in ("train", "test"):
                worker.request("load", split=split, count=20, **files)
            slice_ = {"order": str(tmp_path / "order.npy"), "start": 0, "stop": 20, "batch_size": 8}
            losses = worker.request("train", lrs=[0.01] * 3, seed=0, **slice_)["losses"]
            found[loop] = [*losses, worker.request("evaluate", split="test", batch_size=8)["loss"]]
    assert np.allclose(found[choice], found["adapter"], rtol=1e-4, atol=0), found


@pytest.mark.parametrize("command", [changes, profile])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--net", "alexnet"], "--net alexnet: it is not timed here"),
        (["--launches", "0"], "--launches, --rounds and --threads are at least 1"),
        (["--fw", "pytorch"], "pytorch"),
        (["--write", "nowhere/page.md"], "--write nowhere/page.md: No such file"),
        (["--write", "README.md"], "are in it 0 times, not once"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], command: ModuleType, options: list[str], said: str
) -> None:
    """Before anything is measured."""
    assert command.main(options) == 2
    stdout, stderr = capsys.readouterr()
    assert said in stderr and len(stderr.splitlines()) == 1 and not stdout
