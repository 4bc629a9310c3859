"""Temporary folders that do not outlive a killed process: the next process removes them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
import weakref
from functools import cache
from pathlib import Path
from types import TracebackType

PREFIX = "onespec-run-"
YOUNG = 60.0  # seconds; a folder is created before it is locked


class TemporaryFolder:
    """A temporary folder with a lock that the system releases when this process ends. Removed by `cleanup`."""

    def __init__(self, purpose: str) -> None:
        _remove_abandoned(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-"))
        lock = os.open(self.path, os.O_RDONLY)
        with contextlib.suppress(OSError):  # a file system without locks: the folder counts as locked everywhere
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.cleanup = weakref.finalize(self, _remove, self.path, lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cleanup()


def _remove(path: Path, lock: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(lock)


@cache
def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of this user's processes that were killed; once in a process."""
    for path in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, of another user, or removed by another process right now
            status = path.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > YOUNG:
                lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(lock)
