"""The child process: one adapter that executes commands until its parent closes the pipe.

Commands and answers are JSON, one object per line, on two pipes of their own; whatever the framework prints goes
elsewhere. A command is `{"command": name, ...arguments}`. Its answer is `{"ok": true, ...}`, or `{"ok": false, "kind":
..., "reason": ...}` with kind `unavailable` or `error`. Arrays travel as `.npy` and `.npz` files at paths that the
parent chooses. Every answer to a command that computes holds `seconds`, the wall time of that work alone, read when the
device has finished. Answers to `train` and `infer` also hold `cpu_seconds`, the processor time of all threads during
the work, `idle_seconds` and `idle_cpu_seconds`, the same two times of the pause since the previous answer, and
`contention`, what `frameworks/contention.py` says of other programs during the work.

The module needs the standard library, NumPy and one framework; any interpreter that has these can run it.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import inspect
import json
import os
import sys
import time
import traceback
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, TextIO, TypeVar

import numpy as np

from frameworks import answer_checks, contention
from frameworks.adapter import Adapter, Setting, resident_peak
from frameworks.allocator import return_free_memory
from frameworks.arrays import Array
from frameworks.errors import Unavailable
from frameworks.spec import from_json
from frameworks.training import Training

Answer = dict[str, Any]
T = TypeVar("T")


class Worker:
    """The commands, one method each. `adapter` exists after `build`."""

    kind: type[Adapter]
    adapter: Adapter

    def __init__(self) -> None:
        self.labels: dict[str, Array] = {}
        self.file = ""  # of the user's adapter
        self.rest()

    def rest(self) -> None:
        """Start the clock of the pause that lasts until the next command."""
        self.rested = time.perf_counter(), time.process_time()

    def start(self, module: str, adapter: str) -> Answer:
        """Import the framework, through a module of this package or the user's own file."""
        self.file = module if module.endswith(".py") else ""
        began = time.perf_counter()
        self.kind = _adapter(module, adapter)
        seconds = time.perf_counter() - began
        return {
            "seconds": seconds,
            "versions": answer_checks.texts(self.kind, "versions", self.kind.versions()),
            "native": self.kind.native and self.kind.native.to_json(),
            "file": inspect.getfile(self.kind),
            "resident": resident_peak(),
            "pid": os.getpid(),
        }

    def build(self, network: Any, training: Any, setting: dict[str, Any]) -> Answer:
        """Build a network; `arrays` are those that the framework itself reports."""
        self._drop()  # two would take twice the memory
        began = time.perf_counter()
        self.adapter = self.kind(from_json(network), Training.from_json(training), Setting(**setting))
        seconds = time.perf_counter() - began
        return {
            "seconds": seconds,
            "arrays": {
                name: [list(shape), trained]
                for name, (shape, trained) in answer_checks.array_shapes(self.adapter).items()
            },
            "settings": answer_checks.texts(self.kind, "settings", self.adapter.settings()),
            "departures": [departure.name for departure in self.adapter.departures],
        }

    def release(self) -> Answer:
        """Give up the network and its images, and give free memory back to the system."""
        self.labels.clear()
        self._drop()
        return_free_memory()
        return {}

    def _drop(self) -> None:
        """Give up the adapter, if there is one."""
        if hasattr(self, "adapter"):
            previous = weakref.ref(self.adapter)
            del self.adapter
            if previous():  # in a reference cycle; collecting takes 0.2 s when PyTorch is imported
                gc.collect()

    def set_weights(self, path: str) -> Answer:
        with np.load(path, allow_pickle=False) as arrays:
            weights = dict(arrays)
        return self._timed(lambda: self.adapter.set_weights(weights))

    def get_weights(self, path: str, slots: bool = True) -> Answer:
        """Write the network's arrays, and with `slots` the optimizer's, to an `.npz` file."""
        weights = answer_checks.named_arrays(self.adapter, "get_weights", self.adapter.get_weights())
        np.savez(path, **{name: weights[name] for name in (weights if slots else self.adapter.arrays)})  # type: ignore
        return {}

    def load(self, split: str, images: str, labels: str, count: int) -> Answer:
        """Put the first `count` images of a split on the device."""
        pixels = np.load(images, mmap_mode="r", allow_pickle=False)[:count]
        self.labels[split] = np.load(labels, allow_pickle=False)[:count].astype(np.int64)
        return self._timed(lambda: self.adapter.load(split, pixels, self.labels[split]))  # type: ignore[arg-type]

    def train(self, order: str, start: int, stop: int, batch_size: int, lrs: list[float], seed: int) -> Answer:
        """One step per batch of `order[start:stop]`, with the learning rate of each step."""
        indices = np.load(order, mmap_mode="r", allow_pickle=False)[start:stop].copy()
        answer, spent = self._spent(lambda: self.adapter.train(indices, batch_size, np.asarray(lrs, np.float64), seed))
        trained = answer_checks.trained(self.adapter, answer, len(lrs), len(indices))
        return {**spent, "losses": trained.losses.tolist(), "correct": trained.correct}

    def evaluate(self, split: str, batch_size: int) -> Answer:
        """Mean cross-entropy and accuracy over a split. Only the predictions are timed."""
        began = time.perf_counter()
        logits = self.adapter.predict(split, batch_size)  # type: ignore[arg-type]
        seconds = time.perf_counter() - began
        labels = self.labels[split]
        logits = answer_checks.logits(self.adapter, logits, len(labels)).astype(np.float64)
        shifted = logits - logits.max(1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]
        accuracy = float((logits.argmax(1) == labels).mean())
        return {"seconds": seconds, "loss": float(losses.mean()), "accuracy": accuracy}

    def predict(self, split: str, batch_size: int, path: str) -> Answer:
        """Write the logits of a split, N x classes, to an `.npy` file."""
        logits = self.adapter.predict(split, batch_size)  # type: ignore[arg-type]
        np.save(path, answer_checks.logits(self.adapter, logits, len(self.labels[split])))
        return {}

    def infer(self, split: str, batch_size: int, repeats: int) -> Answer:
        """Predict a split `repeats` times; `calls` are the seconds of each."""

        def call() -> float:
            began = time.perf_counter()
            self.adapter.predict(split, batch_size)  # type: ignore[arg-type]
            return time.perf_counter() - began

        calls, spent = self._spent(lambda: [call() for _ in range(repeats)])
        return {**spent, "calls": calls}

    def settle(self) -> Answer:
        """Wait until the device has finished: weights cannot be read before the last step."""
        return self._timed(self.adapter.get_weights)

    def gradients(self, images: str, labels: str, path: str) -> Answer:
        """The training loss of one batch; its gradients go to an `.npz` file."""
        answer = self.adapter.gradients(np.load(images), np.load(labels))
        loss, gradients = answer_checks.loss_and_gradients(self.adapter, answer)
        np.savez(path, **gradients)  # type: ignore[arg-type]
        return {"loss": loss}

    def activations(self, images: str, training: bool, path: str) -> Answer:
        """Write every layer's output for one batch to an `.npz` file."""
        outputs = self.adapter.activations(np.load(images), training)
        np.savez(path, **answer_checks.named_arrays(self.adapter, "activations", outputs))  # type: ignore[arg-type]
        return {}

    def memory(self) -> Answer:
        return {"peak": answer_checks.sizes(self.adapter, self.adapter.peak_memory())}

    def _spent(self, work: Callable[[], T]) -> tuple[T, Answer]:
        """The result of the work, its times (wall, all threads, and the pause before it), and its contention."""
        began, cpu = time.perf_counter(), time.process_time()
        idle = {"idle_seconds": began - self.rested[0], "idle_cpu_seconds": cpu - self.rested[1]}
        before = contention.read()
        began, cpu = time.perf_counter(), time.process_time()
        result = work()
        seconds = time.perf_counter() - began
        cpu_seconds = time.process_time() - cpu
        disturbance = contention.between(before, contention.read())
        return result, {"seconds": seconds, "cpu_seconds": cpu_seconds, **idle, "contention": disturbance}

    @staticmethod
    def _timed(work: Callable[[], Any]) -> Answer:
        began = time.perf_counter()
        work()
        return {"seconds": time.perf_counter() - began}


def serve(commands: TextIO, answers: TextIO) -> None:
    """Answer one command after the other until the parent closes its side."""
    worker = Worker()
    for line in commands:
        request = json.loads(line)
        try:
            answer = {"ok": True, **getattr(worker, request.pop("command"))(**request)}
        except Unavailable as error:
            answer = {"ok": False, "kind": "unavailable", "reason": str(error)}
        except (Exception, SystemExit) as error:  # a framework may raise anything; the parent decides what it means
            traceback.print_exc()
            answer = {"ok": False, "kind": "error", "reason": f"{_one_line(error)}{_place(error, worker.file)}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        worker.rest()


def _adapter(module: str, name: str) -> type[Adapter]:
    """The adapter class. `Unavailable` if the interpreter lacks what its module imports, or the class is no adapter."""
    try:
        kind = getattr(_module(module), name)
    except ImportError as error:
        raise Unavailable(
            f"{sys.executable} cannot import {module}: {error}; name an interpreter that can: --python FRAMEWORK=PATH"
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Adapter)):
        raise Unavailable(f"{module}: {name} is not an adapter; derive it from frameworks.adapter.Adapter")
    return kind


def _module(name: str) -> ModuleType:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location("adapter_from_file", name)
    assert spec and spec.loader, "a file that ends in .py has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # a dataclass in it looks itself up there
    spec.loader.exec_module(module)
    return module


def _one_line(error: BaseException) -> str:
    """An error's class and the first line of its message, or the last where the message begins with a traceback."""
    name = type(error).__name__
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # the user's `__str__` may raise anything
        lines = []
    if not lines:
        return name
    traced = lines[0].startswith("Traceback ")  # MXNet's, of C++: its last line repeats the class
    return f"{name}: {lines[-1 if traced else 0].removeprefix(f'{name}: ')}"


def _place(error: BaseException, file: str) -> str:
    """The user's adapter and the line in which an error was raised, if it was raised in the file; else empty."""
    if not file or isinstance(error, answer_checks.WrongAnswer):  # which names the method
        return ""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({file}, line {frames[-1].lineno})" if frames else f" ({file})"


def main(commands: int, answers: int) -> None:
    """Serve on two inherited file descriptors."""
    with open(commands, encoding="utf-8") as reader, open(answers, "w", encoding="utf-8") as writer:
        serve(reader, writer)
    # Skip the interpreter's exit hooks: those of some frameworks hang or raise.
    os._exit(0)
