"""Ends a worker when its parent ends, whatever the worker is doing at that moment."""

from __future__ import annotations

import _thread
import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def end_with_parent(commands: int, parent: int) -> None:
    """Kill this process as soon as its parent has ended.

    commands: the descriptor of the pipe from the parent, whose other end the parent alone holds. parent: its process
    id, or 0 if one of its threads started this process: Linux then signals the end of that thread (prctl(2)).

    On Linux the kernel kills the process. A thread waits for the pipe's end as well: it kills the processes that a
    compiler started, too, and works on every system. It sleeps until then, and takes no time from what is measured.
    """
    if parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)
    # Not `threading`: frameworks and adapters count its threads.
    _thread.start_new_thread(_kill_at_end_of, (commands,))


def _kill_at_end_of(pipe: int) -> None:
    """Wait until the other end of a pipe is closed, then kill this process, and its group if it leads one."""
    poll = select.poll()
    poll.register(pipe, 0)  # no event but the hang-up, which is always reported
    poll.poll()
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)
