"""The parent's handle on one worker: starts it, sends it commands, and says how it ended when it does not answer.

The framework's own prints, and everything that goes wrong in the child, are in the log; the last line of it is what a
failed cell reports.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import frameworks
from benchmarks.runtime.errors import WorkerFailed
from frameworks.errors import Unavailable

# The child finds this very package by its folder: a whole site-packages on its path would bring our NumPy with it.
_BOOTSTRAP = """
import importlib.util, sys
folder, commands, answers = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "frameworks", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["frameworks"] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
from frameworks.worker import main
main(int(commands), int(answers))
"""

# glibc gives large freed blocks back to the system and page-faults them in again at the next step: identical launches
# differed by 38 %. Without mmap every block comes from the heap, whose end is never given back either (mallopt(3)). A
# threshold for mmap would not do: glibc accepts 32 MiB at most, and PyTorch passed over a larger block at a sixth of
# the speed.
STEADY_ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}

# A thread that waits sleeps, for one that spins takes the core of the worker whose turn it is. Where the runtime is
# GNU's, as in PyTorch's wheels, it first spins for a moment: without that PyTorch's LeNet trained at 0.81 of its speed
# (docs/performance.md). OpenBLAS' own threads, as in NumPy's wheels, would spin for 2^28 cycles, a tenth of a second of
# the next worker's turn; with 2^18 it is less than a thousandth.
WAITING_THREADS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "10000", "OPENBLAS_THREAD_TIMEOUT": "18"}


class Session:
    """One living worker. `Unavailable` where the framework or the device cannot be had, `WorkerFailed` else.

    Its folder for temporary files is its own, empty at first and gone with it: compilers, which keep there what they
    have made, begin anew in every worker, and nothing is left of one that is ended.

    steady: the allocator and the waiting threads are set as above; False leaves both as the system has them.
    environment: variables of this worker beside those of all.
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
        self.sent = 0.0
        log.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = tempfile.TemporaryDirectory(prefix="onespec-worker-", ignore_cleanup_errors=True)
        to_child, commands = os.pipe()
        answers, from_child = os.pipe()
        command = [str(python), "-c", _BOOTSTRAP, str(Path(frameworks.__file__).parent), str(to_child), str(from_child)]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                pass_fds=(to_child, from_child),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(threads, steady, self._temporary.name) | dict(environment or {}),
                start_new_session=True,  # Ctrl-C reaches the parent alone, which ends its workers
            )
        os.close(to_child)
        os.close(from_child)
        self._commands = os.fdopen(commands, "w", encoding="utf-8")
        self._answers = answers
        self._buffer = b""
        self.send("start", module=module, adapter=adapter)

    def send(self, command: str, **arguments: Any) -> None:
        """Start a command; several workers can be at work if each gets its command before any is waited for."""
        self._asked = command
        self.sent = time.monotonic()
        try:
            self._commands.write(json.dumps({"command": command, **arguments}) + "\n")
            self._commands.flush()
        except BrokenPipeError:
            raise WorkerFailed(self._last_words()) from None

    def receive(self) -> dict[str, Any]:
        """The answer to the last command."""
        answer: dict[str, Any] = json.loads(self._line())
        if answer.pop("ok"):
            return answer
        raise (Unavailable if answer["kind"] == "unavailable" else WorkerFailed)(answer["reason"])

    def request(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self.send(command, **arguments)
        return self.receive()

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

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            left = self.sent + self.timeout - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                self.close()
                raise WorkerFailed(f"no answer to {self._asked!r} within {self.timeout:g} s (--timeout)")
            read = os.read(self._answers, 1 << 20)
            if not read:
                raise WorkerFailed(self._last_words())
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _last_words(self) -> str:
        """How the process ended, and the last line that it printed."""
        status = self.process.wait()
        how = f"ended with status {status}"
        if status < 0:
            how = f"ended by {signal.Signals(-status).name}"
            how += " (out of memory?)" if status == -signal.SIGKILL else ""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return f"the worker {how} during {self._asked!r}" + (f": {lines[-1][:300]}" if lines else "")


def settings(steady: bool) -> dict[str, str]:
    """What a worker's environment says of memory and of waiting threads, unless the user's own says otherwise."""
    ours = {**STEADY_ALLOCATOR, **WAITING_THREADS} if steady else {}
    return {**ours, **{name: os.environ[name] for name in (*STEADY_ALLOCATOR, *WAITING_THREADS) if name in os.environ}}


def _environment(threads: int, steady: bool, temporary: str) -> dict[str, str]:
    """The worker's environment: what makes it steady, the user's own before that, and what this worker is given."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    given = {**dict.fromkeys(names, str(threads)), "PYTHONUNBUFFERED": "1", "TMPDIR": temporary}
    return {**settings(steady), **kept, **given}
