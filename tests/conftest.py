"""Workers shared by tests: one per framework, in the environment of the framework, created on first use."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.cli.heartbeat import SWITCH
from benchmarks.runtime.devices import Kind
from benchmarks.runtime.environments import FrameworkRequest, environment
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.verification.cases import Case, Evidence
from benchmarks.verification.evidence import reference_evidence, write_case_files
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network, to_json
from frameworks.training import Training

THREADS = 2
os.environ[SWITCH] = "0"  # lines by time would make the output of commands depend on the load of the machine


def pytest_configure(config: pytest.Config) -> None:
    """Let the workers of JAX share what XLA compiles, and compile without LLVM's optimization.

    Compilation is most of the time of their tests, and tests check values, not speed.
    """
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # also inherited
    if not hasattr(config, "workerinput"):  # pytest-xdist's own processes inherit the environment
        folder = tempfile.TemporaryDirectory(prefix="onespec-xla-")
        config.add_cleanup(folder.cleanup)
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", folder.name)
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def heed_interrupts() -> None:
    """For `preexec_fn`: a shell makes background processes ignore SIGINT, nohup SIGHUP, and children inherit this."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """Remove the adapters that a test registers: a command of a later test would add them to `--fw all`."""
    yield from _without_new_frameworks()


@pytest.fixture(scope="module", autouse=True)
def _registry_of_module() -> Iterator[None]:
    """Remove the adapters that the fixtures of a module register, for the same reason."""
    yield from _without_new_frameworks()


def _without_new_frameworks() -> Iterator[None]:
    """Restore the registry to what it holds now when the fixture ends."""
    before = dict(FRAMEWORKS)
    yield
    FRAMEWORKS.clear()
    FRAMEWORKS.update(before)


@pytest.fixture(scope="session", autouse=True)
def _no_slice_is_disturbed() -> Iterator[None]:
    """The load of the machine decides no test: other programs never withhold a speed in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.runtime.contention.DISTURBED", float("inf"))
        yield


class Bench:
    """Running workers by framework, and the requests that tests send to them."""

    def __init__(self, scratch: Path, device: Kind = "cpu", pythons: Mapping[str, str] | None = None) -> None:
        self.scratch, self.device, self.pythons = scratch, device, pythons or {}
        self.sessions: dict[str, WorkerClient] = {}

    def python(self, framework: str) -> Path:
        """The framework's interpreter. Skips the test with the reason if it is unavailable."""
        try:
            return environment(FrameworkRequest(framework), self.pythons, device=self.device, progress=print).python
        except Unavailable as error:
            pytest.skip(f"{framework}: {error}")

    def session(self, framework: str) -> WorkerClient:
        known = self.sessions.get(framework)
        if known is None or known.process.poll() is not None:
            info = FRAMEWORKS[framework]
            adapter = info.module, info.adapter
            log = self.scratch / f"{framework}.log"
            known = WorkerClient(self.python(framework), *adapter, threads=THREADS, log=log, timeout=600)
            assert known.started.versions
            self.sessions[framework] = known
        return known

    def build(
        self,
        framework: str,
        network: Network,
        training: Training | None = None,
        precision: str = "float32",
        weights: Weights | None = None,
    ) -> dict[str, Any]:
        """Build a network, with these weights if given; returns the worker's answer."""
        where = {"device": self.device, "precision": precision, "threads": THREADS, "mode": ""}
        recipe = (training or Training()).to_json()
        built = self.session(framework).request("build", network=to_json(network), training=recipe, setting=where)
        if weights is not None:
            np.savez(self.scratch / "weights.npz", **weights)  # type: ignore[arg-type]
            self.session(framework).request("set_weights", path=str(self.scratch / "weights.npz"))
        return built

    def load(self, framework: str, split: str, images: Array, labels: Array) -> None:
        self.session(framework).request(
            "load", split=split, images=self.file(images), labels=self.file(labels), count=len(images)
        )

    def file(self, array: Array) -> str:
        """A `.npy` file that holds an array."""
        path = self.scratch / f"{abs(hash(array.tobytes())):x}.npy"
        np.save(path, array)
        return str(path)

    def arrays(self, framework: str, command: str, **arguments: Any) -> tuple[dict[str, Any], Any]:
        """The answer to a command, and the arrays that the command wrote."""
        path = self.scratch / ("answer.npy" if command == "predict" else "answer.npz")
        answer = self.session(framework).request(command, path=str(path), **arguments)
        found = np.load(path)
        return answer, found if command == "predict" else dict(found)

    def close(self) -> None:
        for session in self.sessions.values():
            session.close()


def evidence_of_reference(case: Case, folder: Path, departures: Sequence[str] = ()) -> Evidence:
    """The tensors of the NumPy reference in a verification case."""
    write_case_files(case, folder)
    return reference_evidence(case, folder, folder, departures)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("workers"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def split_images() -> Callable[[str], tuple[Array, Array]]:
    """Images and labels of a split of the data set in the package."""
    from benchmarks.datasets.registry import dataset

    mini = dataset("fashion-mnist-mini", progress=print)

    def load(split: str) -> tuple[Array, Array]:
        files = getattr(mini, split)
        return np.load(files.images), np.load(files.labels)

    return load


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse the name of a test that differs between two processes, for example with the address of a function."""
    if unstable := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"{unstable[0]}: give the parameters of this test names (ids=)")
