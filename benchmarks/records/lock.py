"""A lock on a folder of results: two processes that write the same records would damage them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from benchmarks.runtime.errors import BadInput

NAME = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of an existing folder, also against other threads. The system releases it if the process dies.

    The lock file holds the process id and is removed at the end. Raises BadInput if another process holds the lock.
    """
    path = folder / NAME
    with _acquired(path) as file:
        try:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield
        finally:
            path.unlink(missing_ok=True)


def _acquired(path: Path) -> IO[str]:
    """The open lock file, locked."""
    while True:
        try:
            file = path.open("a+", encoding="utf-8")
        except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
            raise BadInput(f"{path}: {error.strerror}; results need a folder that can be written") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                holder = file.read(20).strip()
            process = f"process {holder}" if holder.isdecimal() else "another process"
            raise BadInput(f"{path.parent}: {process} is writing in this folder; wait until it has ended") from None
        except BaseException:
            file.close()
            raise
        # The holder removes the file before it releases the lock, so this may be the lock of a removed file.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()
