"""SIGTERM and SIGHUP stop a command as Ctrl-C does.

The report is written, and the workers and temporary folders are removed.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The command was stopped by a signal, whose name is the message."""


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise `Interrupted` once for SIGTERM or SIGHUP; a signal that is ignored, as with nohup, stays ignored.

    A terminal that closes sends SIGHUP, and a service manager SIGTERM again and again: the second one would interrupt
    the clean-up.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread can set handlers
        yield
        return
    earlier: dict[signal.Signals, Any] = {
        each: signal.getsignal(each) for each in SIGNALS if signal.getsignal(each) != signal.SIG_IGN
    }

    def stop(number: int, frame: FrameType | None) -> None:
        for each in earlier:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(signal.Signals(number).name)

    for each in earlier:
        signal.signal(each, stop)
    try:
        yield
    finally:
        for each, handler in earlier.items():
            signal.signal(each, handler)
