"""What is shown while a run goes on: one live bar per framework on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.reporting.tables import per_second


def told(record: dict[str, Any]) -> str:
    """An epoch in a few words."""
    pictures, seconds = (sum(part) for part in zip(*record["slices"])) if record["slices"] else (0, 0)
    speed = f", {pictures / seconds:{per_second(pictures / seconds)}} examples/s" if seconds else ""
    return f"loss {record['train_loss']:.4f}, test accuracy {record['test_accuracy']:.4f}{speed}"


class Show:
    """Shows the cells that run side by side. Use as a context manager around them; `note` works at any time."""

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self.quiet = quiet
        self.bars: Progress | None = None
        self.tasks: dict[str, TaskID] = {}

    def note(self, line: str) -> None:
        """One line that stays."""
        if not self.quiet:
            self.console.print(line, markup=False, soft_wrap=True)

    def begin(self, cells: Sequence[str], epochs: int, done: Sequence[int]) -> Show:
        """Bars for these cells, some of whose epochs may be done."""
        self.epochs = epochs
        if self.console.is_terminal and not self.quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[say]}"),
            )
            self.bars = Progress(*columns, console=self.console)
            self.tasks = {
                cell: self.bars.add_task(cell, total=epochs, completed=finished, say="")
                for cell, finished in zip(cells, done)
            }
        return self

    def moved(self, cell: str, epochs: float) -> None:
        """A cell has done so many epochs, and part of one."""
        if self.bars:
            self.bars.update(self.tasks[cell], completed=epochs)

    def epoch(self, cell: str, record: dict[str, Any]) -> None:
        """A cell has finished an epoch."""
        if self.bars:
            self.bars.update(self.tasks[cell], completed=record["epoch"], say=told(record))
        else:
            self.note(f"{cell}  epoch {record['epoch']}/{self.epochs}  {told(record)}")

    def over(self, cell: str, reason: str) -> None:
        """A cell has ended before its time."""
        self.note(f"{cell}: {reason}")
        if self.bars:
            self.bars.update(self.tasks[cell], say=reason[:60])

    def __enter__(self) -> Show:
        if self.bars:
            self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bars:
            self.bars.stop()
            self.bars = None
