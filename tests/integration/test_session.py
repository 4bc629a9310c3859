"""A worker's life and its ways to die, with real processes and an adapter that needs no framework."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.runtime.errors import WorkerFailed
from benchmarks.runtime.worker_client import STEADY_ALLOCATOR, WAITING_THREADS, Session
from frameworks.arrays import initial
from frameworks.errors import Unavailable
from frameworks.networks import NETWORKS
from frameworks.spec import to_json
from frameworks.training import Training
from frameworks.worker import Worker
from tests import fake_adapter

FAKE = str(Path(fake_adapter.__file__))
WHERE = {"device": "cpu", "precision": "float32", "threads": 3, "mode": ""}


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Session(sys.executable, FAKE, "Fake", log=tmp_path / "worker.log", threads=3, timeout=60.0) as made:
        assert made.receive()["versions"] == {"fake": "1.0"}
        yield made


def build(session: Session, **other: Any) -> dict[str, Any]:
    recipe, net = Training().to_json(), to_json(NETWORKS["lenet"]())
    return session.request("build", network=net, training=recipe, setting=WHERE | other)


def train(session: Session, tmp_path: Path, rate: float) -> dict[str, Any]:
    np.save(tmp_path / "order.npy", np.arange(10))
    slice_ = {"order": str(tmp_path / "order.npy"), "start": 2, "stop": 9, "batch_size": 4}
    return session.request("train", lrs=[rate, rate], seed=0, **slice_)


def test_arrays_and_settings_come_back(session: Session) -> None:
    built = build(session)
    assert built["arrays"]["C1.weight"] == [[6, 1, 5, 5], True]
    assert built["settings"].items() >= {"threads": "3", "PYTHONPATH": ""}.items()


def test_a_worker_has_a_folder_for_temporary_files_that_goes_with_it(session: Session) -> None:
    temporary = Path(build(session)["settings"]["TMPDIR"])
    assert temporary != Path(tempfile.gettempdir()) and list(temporary.iterdir()) == []
    (temporary / "compiled").write_text("kept by nobody")
    session.close()  # ends it by force: it cleans up nothing by itself
    assert not temporary.exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="shows no process its environment: no /proc here")
@pytest.mark.parametrize("steady, environment", [(True, {}), (False, {}), (False, WAITING_THREADS)])
def test_a_worker_has_the_environment_that_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady: bool, environment: dict[str, str]
) -> None:
    for name in (*STEADY_ALLOCATOR, *WAITING_THREADS):
        monkeypatch.delenv(name, raising=False)
    how: dict[str, Any] = {"threads": 3, "steady": steady, "environment": environment}
    with Session(sys.executable, FAKE, "Fake", log=tmp_path / "worker.log", **how) as made:
        made.receive()
        lines = Path(f"/proc/{made.process.pid}/environ").read_text().split("\0")
    found = dict(line.split("=", 1) for line in lines if line)
    expected = (STEADY_ALLOCATOR | WAITING_THREADS) if steady else environment
    assert {name: found[name] for name in (*STEADY_ALLOCATOR, *WAITING_THREADS) if name in found} == expected
    assert found["OMP_NUM_THREADS"] == "3"


def test_a_slice_is_what_was_asked_for(session: Session, tmp_path: Path) -> None:
    build(session)
    answer = train(session, tmp_path, 0.1)
    assert answer["correct"] == 7 and answer["losses"] == [0, 0] and answer["seconds"] >= 0


def test_what_a_framework_prints_is_in_the_log_not_in_the_protocol(session: Session, tmp_path: Path) -> None:
    build(session)
    assert train(session, tmp_path, fake_adapter.PRINTS)["correct"] == 7
    assert '{"ok": true, "seconds": 0}' in (tmp_path / "worker.log").read_text()


def test_unavailable_keeps_its_reason(session: Session) -> None:
    with pytest.raises(Unavailable, match="no mode warp in a fake"):
        build(session, mode="warp")


def test_an_error_is_one_line_and_the_worker_lives_on(session: Session, tmp_path: Path) -> None:
    build(session)
    with pytest.raises(WorkerFailed, match=r"^RuntimeError: a shape is wrong$"):
        train(session, tmp_path, fake_adapter.RAISES)
    assert train(session, tmp_path, 0.1)["correct"] == 7
    assert "and more of it" in (tmp_path / "worker.log").read_text()


def test_out_of_memory_is_said(session: Session, tmp_path: Path) -> None:
    build(session)
    with pytest.raises(WorkerFailed, match="MemoryError"):
        train(session, tmp_path, fake_adapter.EXHAUSTS)


def test_a_worker_that_ends_gives_its_last_words(session: Session, tmp_path: Path) -> None:
    build(session)
    with pytest.raises(WorkerFailed, match=r"ended with status 7 during 'train': the last words"):
        train(session, tmp_path, fake_adapter.DIES)


def test_a_killed_worker_says_by_what(session: Session) -> None:
    os.kill(session.process.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match=r"ended by SIGKILL \(out of memory\?\)"):
        session.request("memory")


def test_a_silent_worker_is_ended(session: Session, tmp_path: Path) -> None:
    build(session)
    session.timeout = 0.5
    with pytest.raises(WorkerFailed, match=r"no answer to 'train' within 0.5 s \(--timeout\)"):
        train(session, tmp_path, fake_adapter.HANGS)
    assert session.process.poll() == -signal.SIGKILL


def test_close_leaves_no_process(session: Session) -> None:
    session.close()
    with pytest.raises(ProcessLookupError):
        os.kill(session.process.pid, 0)


def test_a_worker_whose_parent_is_gone_goes_too(tmp_path: Path) -> None:
    """The parent is killed: nobody could tell the worker."""
    program = (
        "import sys, os; from pathlib import Path; from benchmarks.runtime.worker_client import Session\n"
        f"s = Session(sys.executable, {FAKE!r}, 'Fake', threads=1, log=Path({str(tmp_path / 'log')!r}))\n"
        "print(s.receive()['pid'], flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    worker = int(done.stdout)
    for _ in range(200):
        if not alive(worker):
            return
        time.sleep(0.05)
    pytest.fail(f"worker {worker} outlived its parent by 10 s")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or ") Z" not in state.read_text()


def test_the_reference_leaves_the_cores_to_others_between_its_turns(tmp_path: Path) -> None:
    """Not so with OpenBLAS as it comes: its threads spin for a tenth of a second after each product."""
    net, recipe = NETWORKS["lenet"](), Training().to_json()
    np.savez(tmp_path / "weights.npz", **initial(net, 0))  # type: ignore[arg-type]
    np.save(tmp_path / "images.npy", np.zeros((64, 1, 28, 28), np.uint8))
    np.save(tmp_path / "labels.npy", np.zeros(64, np.int64))
    np.save(tmp_path / "order.npy", np.arange(64))
    slice_ = {"order": str(tmp_path / "order.npy"), "start": 0, "stop": 64, "batch_size": 64, "lrs": [0.1], "seed": 0}
    with Session(sys.executable, "frameworks.numpy_reference", "Reference", log=tmp_path / "log", threads=2) as worker:
        worker.receive()
        worker.request("build", network=to_json(net), training=recipe, setting=WHERE | {"precision": "float64"})
        worker.request("set_weights", path=str(tmp_path / "weights.npz"))
        files = {"images": str(tmp_path / "images.npy"), "labels": str(tmp_path / "labels.npy")}
        worker.request("load", split="train", count=64, **files)
        worker.request("train", **slice_)
        time.sleep(0.3)
        assert worker.request("train", **slice_)["idle_cpu_seconds"] < 0.01


@pytest.mark.parametrize("holds_itself", [False, True])
def test_a_network_is_gone_before_the_next_is_built(holds_itself: bool) -> None:
    earlier: list[weakref.ref[Any]] = []

    class Watched(fake_adapter.Fake):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            self.own = self if holds_itself else None
            assert not any(each() for each in earlier)
            earlier.append(weakref.ref(self))

    worker = Worker()
    worker.kind = Watched
    gc.disable()  # nothing else is to collect it meanwhile
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")
            for _ in range(3):
                worker.build(to_json(NETWORKS["lenet"]()), Training().to_json(), WHERE)
    finally:
        gc.enable()
    assert len(earlier) == 3 and earlier[-1]() is worker.adapter
