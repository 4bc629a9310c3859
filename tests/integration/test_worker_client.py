"""The life of a worker and the ways in which it can fail, with real processes and an adapter without a framework."""

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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.runtime.errors import WorkerFailed
from benchmarks.runtime.worker_client import STEADY_ALLOCATOR, WAITING_THREADS, Built, Slice, WorkerClient
from frameworks.adapter import Setting
from frameworks.arrays import initial
from frameworks.errors import Unavailable
from frameworks.networks import NETWORKS
from frameworks.spec import to_json
from frameworks.training import Training
from frameworks.worker import Worker, _one_line
from tests import fake_adapter

FAKE = str(Path(fake_adapter.__file__))
SETTING = Setting(threads=3)


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerClient]:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with WorkerClient(sys.executable, FAKE, "Fake", log=tmp_path / "worker.log", threads=3, timeout=60.0) as client:
        assert client.started.versions == {"fake": "1.0"}
        yield client


def build(client: WorkerClient, setting: Setting = SETTING) -> Built:
    return client.build(NETWORKS["lenet"](), Training(), setting)


def train(client: WorkerClient, lr: float) -> Slice:
    """Two steps on seven images; the learning rate selects how the fake adapter fails."""
    return client.train(np.arange(10), 4, [lr, lr], start=2, stop=9, seed=0)


def test_arrays_and_settings_are_reported(client: WorkerClient) -> None:
    built = build(client)
    assert built.arrays["C1.weight"] == ([6, 1, 5, 5], True)
    assert built.settings.items() >= {"threads": "3", "PYTHONPATH": ""}.items()


def test_a_worker_has_a_private_folder_for_temporary_files(client: WorkerClient) -> None:
    temporary = Path(build(client).settings["TMPDIR"])
    assert temporary != Path(tempfile.gettempdir()) and list(temporary.iterdir()) == []
    (temporary / "compiled").write_text("not removed by the worker")
    client.close()  # kills the worker, which therefore removes nothing itself
    assert not temporary.exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to read the environment of a process")
@pytest.mark.parametrize("steady, environment", [(True, {}), (False, {}), (False, WAITING_THREADS)])
def test_a_worker_gets_the_requested_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady: bool, environment: dict[str, str]
) -> None:
    names = (*STEADY_ALLOCATOR, *WAITING_THREADS)
    for name in names:
        monkeypatch.delenv(name, raising=False)
    options: dict[str, Any] = {"threads": 3, "steady": steady, "environment": environment}
    with WorkerClient(sys.executable, FAKE, "Fake", log=tmp_path / "worker.log", **options) as client:
        assert client.started.pid == client.process.pid
        lines = Path(f"/proc/{client.process.pid}/environ").read_text().split("\0")
    actual = dict(line.split("=", 1) for line in lines if line)
    expected = (STEADY_ALLOCATOR | WAITING_THREADS) if steady else environment
    assert {name: actual[name] for name in names if name in actual} == expected
    assert actual["OMP_NUM_THREADS"] == "3"


def test_a_slice_trains_the_requested_images(client: WorkerClient) -> None:
    build(client)
    trained = train(client, 0.1)
    assert trained.correct == 7 and trained.losses == [0, 0] and trained.seconds >= 0


def test_output_of_a_framework_goes_to_the_log(client: WorkerClient) -> None:
    """Even if it looks like an answer of the protocol."""
    build(client)
    assert train(client, fake_adapter.PRINTS).correct == 7
    assert '{"ok": true, "seconds": 0}' in client.log.read_text()


def test_unavailable_keeps_its_reason(client: WorkerClient) -> None:
    with pytest.raises(Unavailable, match="has no mode 'warp'"):
        build(client, Setting(threads=3, mode="warp"))


def test_an_error_is_one_line_and_the_worker_stays_alive(client: WorkerClient) -> None:
    build(client)
    with pytest.raises(WorkerFailed, match=r"^RuntimeError: a shape is wrong \(.*fake_adapter.py, line \d+\)$"):
        train(client, fake_adapter.RAISES)
    assert train(client, 0.1).correct == 7
    assert "and more of it" in client.log.read_text()


class MXNetError(Exception):
    """Its message begins with a traceback of C++, and repeats the class."""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a shape\nand more"), "ValueError: a shape"),
        (ValueError(), "ValueError"),
        (ValueError("  \n"), "ValueError"),
        (MXNetError('Traceback (most recent call last):\n  File "a.cc", line 7\nMXNetError: no b'), "MXNetError: no b"),
    ],
    ids=["two lines", "no message", "blank", "traceback"],
)
def test_the_line_of_an_error_says_what_is_wrong(error: Exception, line: str) -> None:
    assert _one_line(error) == line


def test_out_of_memory_is_reported(client: WorkerClient) -> None:
    build(client)
    with pytest.raises(WorkerFailed, match="MemoryError"):
        train(client, fake_adapter.EXHAUSTS)


def test_the_error_quotes_the_last_line_of_a_worker_that_exits(client: WorkerClient) -> None:
    build(client)
    with pytest.raises(WorkerFailed, match=r"ended with status 7 during 'train': the last words"):
        train(client, fake_adapter.DIES)


def test_the_error_names_the_signal_that_killed_a_worker(client: WorkerClient) -> None:
    os.kill(client.process.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed, match=r"ended by SIGKILL \(out of memory\?\)"):
        client.peak_memory()


def test_a_worker_that_does_not_answer_in_time_is_killed(client: WorkerClient) -> None:
    build(client)
    client.timeout = 0.5
    with pytest.raises(WorkerFailed, match=r"no answer to 'train' within 0.5 s \(--timeout\)"):
        train(client, fake_adapter.HANGS)
    assert client.process.poll() == -signal.SIGKILL


def test_close_leaves_no_process(client: WorkerClient) -> None:
    client.close()
    with pytest.raises(ProcessLookupError):
        os.kill(client.process.pid, 0)


def test_a_worker_exits_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, os; from pathlib import Path; from benchmarks.runtime.worker_client import WorkerClient\n"
        f"client = WorkerClient(sys.executable, {FAKE!r}, 'Fake', threads=1, log=Path({str(tmp_path / 'log')!r}))\n"
        "print(client.started.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    worker = int(done.stdout)
    for _ in range(200):
        if not is_alive(worker):
            return
        time.sleep(0.05)
    pytest.fail(f"worker {worker} outlived its parent by 10 s")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or ") Z" not in state.read_text()


def test_the_reference_uses_no_cpu_between_its_slices(tmp_path: Path) -> None:
    """By default the threads of OpenBLAS spin for a tenth of a second after each product."""
    network = NETWORKS["lenet"]()
    images, labels = np.zeros((64, 1, 28, 28), np.uint8), np.zeros(64, np.int64)
    reference = ("frameworks.numpy_reference", "Reference")
    with WorkerClient(sys.executable, *reference, log=tmp_path / "log", threads=2) as client:
        client.build(network, Training(), Setting(precision="float64", threads=3))
        client.set_weights(initial(network, 0))
        client.load("train", images, labels)
        client.train(np.arange(64), 64, [0.1], stop=64, seed=0)
        time.sleep(0.3)
        assert client.train(np.arange(64), 64, [0.1], stop=64, seed=0).idle_cpu_seconds < 0.01


@pytest.mark.parametrize("in_cycle", [False, True], ids=["no cycle", "reference cycle"])
def test_a_network_is_freed_before_the_next_is_built(in_cycle: bool) -> None:
    earlier: list[weakref.ref[Any]] = []

    class Watched(fake_adapter.Fake):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.cycle = self if in_cycle else None
            assert not any(adapter() for adapter in earlier)
            earlier.append(weakref.ref(self))

    worker = Worker()
    worker.kind = Watched
    gc.disable()  # so that only the worker collects
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")
            for _ in range(3):
                worker.build(to_json(NETWORKS["lenet"]()), Training().to_json(), asdict(SETTING))
        assert len(earlier) == 3 and earlier[-1]() is worker.adapter
        worker.release()
        assert earlier[-1]() is None
    finally:
        gc.enable()


def test_a_released_worker_builds_again(client: WorkerClient) -> None:
    client.release()  # before the first network
    build(client)
    client.release()
    assert build(client).arrays["C1.weight"] == ([6, 1, 5, 5], True)
