"""Decodes image files in parallel, in processes of their own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from benchmarks.datasets.image_options import ImageOptions
from benchmarks.datasets.images import ImageHeader

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
WORKER = ("-m", "benchmarks.datasets.image_worker")
MOST_BYTES = 256 << 20  # of one image file
MOST_WORKERS = 32
WAITING = 4  # files in memory for each process
WORTHWHILE = 50  # files for which another process is started


class Broken(ValueError):
    """A file that cannot be decoded; the message is the reason."""


class _Process:
    """One worker. `ask` raises Broken for a file that cannot be decoded, also if the worker ends over it."""

    def __init__(self) -> None:
        # Started in the folder of the package: a module in the working directory is never imported.
        variables = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, *WORKER],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def ask(self, request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps({**request, "bytes": len(content)}).encode() + b"\n" + content)
            self.process.stdin.flush()
            answer: dict[str, Any] = json.loads(self.process.stdout.readline())
            pixels = self.process.stdout.read(int(np.prod(answer["shape"]))) if "shape" in answer else b""
        except (OSError, ValueError):  # the pipe is closed, or the line is incomplete
            self.close()
            code = self.process.returncode
            how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            raise Broken(f"the decoder {how}") from None
        if "error" in answer:
            raise Broken(answer["error"])
        return answer, pixels

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # the worker has ended before it read all
            self.process.stdin.close()
        self.process.wait()


class ImagePool:
    """Worker processes for a number of files, at most one for each core; use it as a context manager."""

    def __init__(self, files: int) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.workers = max(1, min(cores, MOST_WORKERS, files // WORTHWHILE))
        self.idle: queue.SimpleQueue[_Process | None] = queue.SimpleQueue()
        for _ in range(self.workers):
            self.idle.put(None)  # started when first needed
        self.threads = ThreadPoolExecutor(self.workers)

    def examine(self, contents: Iterable[bytes]) -> Iterator[ImageHeader | Broken]:
        """The header of each file, or why it cannot be decoded, in their order."""

        def one(content: bytes) -> ImageHeader:
            answer, _ = self._ask({"task": "examine"}, content)
            return ImageHeader(answer["height"], answer["width"], answer["gray"])

        return self._each(one, contents)

    def decode(self, contents: Iterable[bytes], channels: int, options: ImageOptions) -> Iterator[np.ndarray | Broken]:
        """The pixels of each file, uint8, C x H x W, or why it cannot be decoded, in their order."""
        request = {"task": "decode", "channels": channels, "size": options.image_size, "fit": options.image_fit}

        def one(content: bytes) -> np.ndarray:
            answer, pixels = self._ask(request, content)
            return np.frombuffer(pixels, np.uint8).reshape(answer["shape"])

        return self._each(one, contents)

    def _each(self, work: Callable[[bytes], T], contents: Iterable[bytes]) -> Iterator[T | Broken]:
        """The results in the order of the files, of which only a few are in memory."""
        waiting: deque[Future[T]] = deque()
        files = iter(contents)
        while True:
            for content in itertools.islice(files, WAITING * self.workers - len(waiting)):
                waiting.append(self.threads.submit(work, content))
            if not waiting:
                return
            try:
                yield waiting.popleft().result()
            except Broken as error:
                yield error

    def _ask(self, request: dict[str, Any], content: bytes) -> tuple[dict[str, Any], bytes]:
        if len(content) > MOST_BYTES:
            raise Broken(f"larger than {MOST_BYTES >> 20} MiB")
        process = self.idle.get()
        try:
            if process is None or not process.alive:
                process = _Process()
            return process.ask(request, content)
        finally:
            self.idle.put(process)

    def __enter__(self) -> ImagePool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.threads.shutdown(cancel_futures=True)
        while not self.idle.empty():
            if process := self.idle.get():
                process.close()
