"""The typed client of a worker: starts the process, sends commands, explains how the process ended if it died.

`Commands` has one method per command of `frameworks/worker.py`; `WorkerClient` sends them to a process. Whatever the
framework prints goes to the log; a failed cell reports the last line of the log.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec
import numpy as np

import frameworks
from benchmarks.runtime.contention import Contention
from benchmarks.runtime.errors import WorkerFailed
from benchmarks.runtime.temporary_folders import TemporaryFolder
from frameworks.adapter import Setting, Split
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.spec import Network, to_json
from frameworks.training import Training

# The child imports this package from its folder: with all of site-packages on its path, it would import our NumPy.
_BOOTSTRAP = """
import importlib.util, sys
folder, commands, answers, parent = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "frameworks", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["frameworks"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from frameworks.parent_watch import end_with_parent
end_with_parent(int(commands), int(parent))
from frameworks.worker import main
main(int(commands), int(answers))
"""

# glibc gives large freed blocks back to the system and page-faults them in again at the next step: identical launches
# differed by 38 %. Without mmap every block comes from the heap, whose end is never given back either (mallopt(3)). A
# threshold for mmap would not do: glibc accepts 32 MiB at most, and PyTorch passed over a larger block at a sixth of
# the speed.
STEADY_ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}

# Waiting threads sleep, because spinning threads occupy the cores of the worker whose slice is timed. GNU's runtime, as
# in PyTorch's wheels, first spins for a moment: without that, LeNet trained in PyTorch at 0.81 of the speed
# (docs/performance.md). The threads of OpenBLAS, as in NumPy's wheels, would spin for 2^28 cycles, a tenth of a second
# of the next worker's slice; with 2^18 it is less than a thousandth.
WAITING_THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000", "OPENBLAS_THREAD_TIMEOUT": "18"}


T = TypeVar("T")


class Started(msgspec.Struct, frozen=True):
    """The worker has imported the framework."""

    seconds: float  # of the import
    versions: dict[str, str]  # of packages, the framework's own first
    native: dict[str, Any] | None  # the framework's own defaults: `Native.to_json`
    file: str  # of the adapter
    resident: int  # peak bytes of the process so far
    pid: int


class Built(msgspec.Struct, frozen=True):
    """The worker has built a network."""

    seconds: float
    arrays: dict[str, tuple[list[int], bool]]  # shape, and whether it is trained, as the framework reports them
    settings: dict[str, str]
    departures: list[str]

    @property
    def params(self) -> int:
        """Trained values."""
        return sum(math.prod(shape) for shape, trained in self.arrays.values() if trained)

    @property
    def buffers(self) -> int:
        """Values that training moves without a gradient."""
        return sum(math.prod(shape) for shape, trained in self.arrays.values() if not trained)


class Slice(msgspec.Struct, frozen=True):
    """Some steps of training, timed until the device has finished. Idle times are those since the previous answer."""

    seconds: float
    cpu_seconds: float  # of all threads
    idle_seconds: float
    idle_cpu_seconds: float
    losses: list[float]  # of each step, before its update
    correct: int  # training images classified correctly
    contention: Contention | None = None  # None: the system does not count waiting


class Calls(msgspec.Struct, frozen=True):
    """Some calls of `predict`, timed like a `Slice`."""

    seconds: float
    cpu_seconds: float
    idle_seconds: float
    idle_cpu_seconds: float
    calls: list[float]  # seconds of each
    contention: Contention | None = None


class Evaluation(msgspec.Struct, frozen=True):
    """A split in evaluation mode; only the predictions are timed."""

    seconds: float
    loss: float
    accuracy: float


def _converted(answer: dict[str, Any], kind: type[T], command: str) -> T:
    """An answer as a typed object. Raises WorkerFailed for one that the protocol does not allow."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise WorkerFailed(f"its answer to {command!r} does not follow the protocol: {error}") from None


class Commands(ABC):
    """The commands of a worker, one method each. Raises `Unavailable` and `WorkerFailed`.

    scratch: a folder for the arrays that travel with commands and answers. Arrays of an answer are read from a file
    when they are used, and stay valid until the next command that returns arrays.
    """

    scratch: Path

    @abstractmethod
    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send one command, wait for its answer, and return it as it stands in the protocol."""

    def build(self, network: Network, training: Training, setting: Setting) -> Built:
        """Build a network; memory for its arrays is taken by `set_weights`."""
        arguments = {"network": to_json(network), "training": training.to_json(), "setting": asdict(setting)}
        return self._typed(Built, "build", **arguments)

    def set_weights(self, weights: Weights | Path) -> float:
        """Give every array a value, from memory or from an `.npz` file; returns seconds."""
        if isinstance(weights, Path):
            return self._seconds("set_weights", path=str(weights))
        path = self.scratch / "set_weights.npz"
        np.savez(path, **weights)  # type: ignore[arg-type]
        try:
            return self._seconds("set_weights", path=str(path))
        finally:
            path.unlink()

    def save_weights(self, path: Path, slots: bool = True) -> None:
        """Write the network's arrays, and with `slots` the optimizer's, to an `.npz` file."""
        self.request("get_weights", path=str(path), slots=slots)

    def get_weights(self, slots: bool = True) -> Mapping[str, Array]:
        """The network's arrays, and with `slots` the optimizer's."""
        self.save_weights(self._answer, slots)
        return self._arrays()

    def load(self, split: Split, images: Path | Array, labels: Path | Array, count: int | None = None) -> float:
        """Put the first `count` images of a split (by default all) on the device; returns seconds.

        images: uint8, N x C x H x W. labels: integers, N. Each is an array or an `.npy` file.
        """
        if count is None:
            count = len(np.load(images, mmap_mode="r") if isinstance(images, Path) else images)
        # A file for each split: the worker maps the images, and an adapter may keep them so.
        paths = {"images": self._file(f"{split}.images", images), "labels": self._file("labels", labels)}
        return self._seconds("load", split=split, count=count, **paths)

    def train(
        self, order: Path | Array, batch_size: int, lrs: Sequence[float], *, start: int = 0, stop: int, seed: int
    ) -> Slice:
        """One step per batch of `order[start:stop]`, int64 indices of images, with the learning rate of each step."""
        steps = {"start": start, "stop": stop, "batch_size": batch_size, "lrs": list(lrs), "seed": seed}
        return self._typed(Slice, "train", order=self._file("order", order), **steps)

    def evaluate(self, split: Split, batch_size: int) -> Evaluation:
        """Mean cross-entropy and accuracy over a split."""
        return self._typed(Evaluation, "evaluate", split=split, batch_size=batch_size)

    def predict(self, split: Split, batch_size: int) -> Array:
        """Logits of a split, N x classes."""
        path = self.scratch / "answer.npy"
        self.request("predict", split=split, batch_size=batch_size, path=str(path))
        logits: Array = np.load(path, allow_pickle=False)
        return logits

    def infer(self, split: Split, batch_size: int, repeats: int) -> Calls:
        """Predict a split `repeats` times."""
        return self._typed(Calls, "infer", split=split, batch_size=batch_size, repeats=repeats)

    def release(self) -> None:
        """Give up the network, its images and their memory, until the next `build`."""
        self.request("release")

    def settle(self) -> float:
        """Wait until the device has finished; returns seconds."""
        return self._seconds("settle")

    def gradients(self, images: Path | Array, labels: Path | Array) -> tuple[float, Mapping[str, Array]]:
        """The training loss of one batch, and its gradient by every trained array and by `input`."""
        paths = {"images": self._file("images", images), "labels": self._file("labels", labels)}
        loss = self.request("gradients", path=str(self._answer), **paths)["loss"]
        return float(loss), self._arrays()

    def activations(self, images: Path | Array, training: bool) -> Mapping[str, Array]:
        """Every layer's output for one batch, by the layer's path."""
        self.request("activations", path=str(self._answer), images=self._file("images", images), training=training)
        return self._arrays()

    def peak_memory(self) -> dict[str, int]:
        """Peak bytes: `resident`, and on a device also `device`."""
        peak: dict[str, int] = self.request("memory")["peak"]
        return peak

    def _typed(self, kind: type[T], command: str, **arguments: Any) -> T:
        return _converted(self.request(command, **arguments), kind, command)

    def _seconds(self, command: str, **arguments: Any) -> float:
        return float(self.request(command, **arguments)["seconds"])

    @property
    def _answer(self) -> Path:
        return self.scratch / "answer.npz"

    def _arrays(self) -> Mapping[str, Array]:
        arrays: Mapping[str, Array] = np.load(self._answer, allow_pickle=False)
        return arrays

    def _file(self, name: str, value: Path | Array) -> str:
        """The path of an array that is in a file already, or that is written to one."""
        if isinstance(value, Path):
            return str(value)
        path = self.scratch / f"{name}.npy"
        np.save(path, value)
        return str(path)


class WorkerClient(Commands):
    """One living worker process. Raises `Unavailable` if the framework or device cannot be had, else `WorkerFailed`.

    The worker has a temporary folder of its own, removed with it: compilers that cache their output there start afresh
    in every worker, and a worker that is killed leaves nothing behind.

    timeout: seconds to wait for an answer before the worker counts as failed.
    steady: use the allocator and thread settings above; False leaves both as the system has them.
    environment: more variables for this worker.
    """

    def __init__(
        self,
        python: Path | str,
        module: str,
        adapter: str,
        *,
        threads: int,
        log: Path,
        timeout: float = 600.0,
        steady: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.timeout = timeout
        self.log = log
        self._sent = 0.0
        log.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = TemporaryFolder("worker")
        self._exchange = TemporaryFolder("exchange")
        self.scratch = self._exchange.path
        to_child, commands = os.pipe()
        answers, from_child = os.pipe()
        package = str(Path(frameworks.__file__).parent)
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
        command = [str(python), "-c", _BOOTSTRAP, package, str(to_child), str(from_child), str(parent)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                pass_fds=(to_child, from_child),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(threads, steady, str(self._temporary.path)) | dict(environment or {}),
                start_new_session=True,  # Ctrl-C reaches only the parent, which ends its workers
            )
        os.close(to_child)
        os.close(from_child)
        self._commands = os.fdopen(commands, "w", encoding="utf-8")
        self._answers = answers
        self._buffer = b""
        self._send("start", module=module, adapter=adapter)

    @cached_property
    def started(self) -> Started:
        """What the worker reports of its start; waits until the framework is imported."""
        return _converted(self._receive(), Started, "start")

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        self.started  # noqa: B018  its answer comes first
        self._send(command, **arguments)
        return self._receive()

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._commands.close()
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1
        self._temporary.cleanup()
        self._exchange.cleanup()

    def __enter__(self) -> WorkerClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _send(self, command: str, **arguments: Any) -> None:
        self._command = command
        self._sent = time.monotonic()
        try:
            self._commands.write(json.dumps({"command": command, **arguments}) + "\n")
            self._commands.flush()
        except BrokenPipeError:
            raise WorkerFailed(self._last_words()) from None

    def _receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._line())
        if answer.pop("ok"):
            return answer
        raise (Unavailable if answer["kind"] == "unavailable" else WorkerFailed)(answer["reason"])

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            left = self._sent + self.timeout - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                self.close()
                raise WorkerFailed(f"no answer to {self._command!r} within {self.timeout:g} s (--timeout)")
            received = os.read(self._answers, 1 << 20)
            if not received:
                raise WorkerFailed(self._last_words())
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """How the process ended, and the last line of its log."""
        status = self.process.wait()
        how = f"ended with status {status}"
        if status < 0:
            how = f"ended by {signal.Signals(-status).name}"
            how += " (out of memory?)" if status == -signal.SIGKILL else ""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"the worker {how} during {self._command!r}" + (f": {lines[-1][:300]}" if lines else "")


def settings(steady: bool) -> dict[str, str]:
    """Variables that set a worker's allocator and waiting threads; those in the user's environment win."""
    ours = {**STEADY_ALLOCATOR, **WAITING_THREADS} if steady else {}
    return {**ours, **{name: os.environ[name] for name in (*STEADY_ALLOCATOR, *WAITING_THREADS) if name in os.environ}}


def _environment(threads: int, steady: bool, temporary: str) -> dict[str, str]:
    """The worker's environment: the steady settings, over them the user's, over them this worker's."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    given = {**dict.fromkeys(names, str(threads)), "PYTHONUNBUFFERED": "1", "TMPDIR": temporary}
    return {**settings(steady), **inherited, **given}
