"""Lines that say what a silent command is doing: the first within a second, then one every ten seconds.

They go to standard error, except while a terminal shows live bars. A timer of the process interrupts the main thread,
because a second thread would make it unsafe to copy the process (`benchmarks.runtime.user_files`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

FIRST, EVERY = 0.8, 10.0  # seconds without a line
SWITCH = "ONESPEC_HEARTBEAT"  # an environment variable; 0 turns the lines off


class Heartbeat:
    """What the command is doing, and for how long."""

    def __init__(self) -> None:
        self.restart("")

    def restart(self, activity: str) -> None:
        """Begin a command."""
        self.began = time.monotonic()
        self.beats = False
        self.paused = False  # while a terminal shows live bars
        self.doing(activity)

    def doing(self, activity: str) -> None:
        """Set what the command does from now on, without printing it."""
        self.activity = " ".join(activity.split())

    def line_printed(self, line: str) -> None:
        """Note a line that the command has printed: it says what the command is doing."""
        self.doing(line)
        if self.beats:
            signal.setitimer(signal.ITIMER_REAL, EVERY)

    def line(self) -> str:
        """The next line: the activity, and how long the command has been running."""
        seconds = time.monotonic() - self.began
        return f"{self.activity} ({seconds:.0f} s)" if seconds >= 5 else self.activity


CURRENT = Heartbeat()


def _beat(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError):  # a closed pipe or a full disk ends no command
        if CURRENT.activity and not CURRENT.paused:
            os.write(2, f"{CURRENT.line()}\n".encode(errors="replace"))  # a buffered stream may be in use right now
    signal.setitimer(signal.ITIMER_REAL, EVERY)


@contextlib.contextmanager
def heartbeat(activity: str, quiet: bool) -> Iterator[None]:
    """Print what the command is doing while it is silent, unless the user wants it to be quiet.

    activity: what it is doing at first; empty: nothing is printed before it says so.
    """
    CURRENT.restart(activity)
    of_process = sys.stderr is not None and sys.stderr is sys.__stderr__
    quiet = quiet or os.environ.get(SWITCH) == "0"
    if quiet or not of_process or threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGALRM, _beat)
    CURRENT.beats = True
    signal.setitimer(signal.ITIMER_REAL, FIRST)
    try:
        yield
    finally:
        CURRENT.beats = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
