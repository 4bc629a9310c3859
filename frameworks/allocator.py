"""Memory that a process has freed but that its allocator keeps."""

from __future__ import annotations

import ctypes
import sys


def return_free_memory() -> None:
    """Give freed memory back to the system.

    glibc keeps blocks of up to 32 MiB that lie below a block in use (malloc_trim(3)); other C libraries have no such
    function. After the evidence of a large network that is half of the process.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim:
            trim(0)
