"""Progress of a run on standard error: one live bar per cell on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from benchmarks.cli.heartbeat import CURRENT
from benchmarks.cli.streams import discard
from benchmarks.records.events import Epoch
from benchmarks.reporting.number_formats import examples_per_second
from benchmarks.training import progress


def epoch_summary(epoch: Epoch) -> str:
    """Loss, accuracy and speed of an epoch in one phrase; without a speed if the epoch is a single step."""
    speed = epoch.examples_per_second
    text = f"loss {epoch.train_loss:.4f}, test accuracy {epoch.test_accuracy:.4f}"
    if speed:
        return f"{text}, {examples_per_second(speed)} examples/s"
    return f"{text}, speed disturbed by other programs" if epoch.slice_seconds else text


class ProgressConsole(Console):
    """Standard error. What it cannot take, because a pipe or terminal has closed, is lost, and the run goes on."""

    def __init__(self) -> None:
        super().__init__(stderr=True, highlight=False)

    def print(self, *objects: Any, **settings: Any) -> None:
        try:
            super().print(*objects, **settings)
        except OSError:
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        self.quiet = True
        discard(sys.stderr)


class ProgressDisplay(progress.Progress):
    """Progress of the cells that run side by side.

    Use it as a context manager while they run; `message` works at any time.
    """

    def __init__(self, quiet: bool = False, console: Console | None = None) -> None:
        self.console = console or ProgressConsole()
        self.quiet = quiet
        self.bars: Progress | None = None
        self.tasks: dict[str, TaskID] = {}

    def message(self, line: str) -> None:
        """Print a line that stays."""
        if not self.quiet:
            self.console.print(line, markup=False, emoji=False, soft_wrap=True)
            CURRENT.line_printed(line)

    def preparation(self, line: str) -> None:
        """Print what is prepared next, which takes seconds: only where somebody waits at a terminal."""
        if self.console.is_terminal:
            self.message(line)
        CURRENT.doing(line)

    def start_cells(self, cells: Sequence[str], epochs: int, completed: Sequence[int]) -> ProgressDisplay:
        """Create a bar for each cell; completed: epochs that earlier launches finished."""
        self.epochs = epochs
        if self.console.is_terminal and not self.quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TimeElapsedColumn(table_column=Column(no_wrap=True, min_width=7)),
                TextColumn("{task.fields[summary]}"),
            )
            # Drawing three bars ten times a second, the default, takes 2 % of a core from the workers that are timed.
            self.bars = Progress(*columns, console=self.console, refresh_per_second=2)
            self.tasks = {
                cell: self.bars.add_task(cell, total=epochs, completed=finished, summary="")
                for cell, finished in zip(cells, completed)
            }
        return self

    def advance(self, cell: str, epochs: float) -> None:
        """Move a cell's bar to this number of epochs, fractions included."""
        CURRENT.doing(f"{cell}  epoch {epochs:.1f}/{self.epochs}")
        if self.bars:
            self.bars.update(self.tasks[cell], completed=epochs)

    def epoch_finished(self, epoch: Epoch) -> None:
        """Show the results of a finished epoch."""
        if self.bars:
            self.bars.update(self.tasks[epoch.cell], completed=epoch.epoch, summary=epoch_summary(epoch))
        else:
            self.message(f"{epoch.cell}  epoch {epoch.epoch}/{self.epochs}  {epoch_summary(epoch)}")

    def cell_failed(self, cell: str, reason: str) -> None:
        """Show why a cell ended before its last epoch."""
        self.message(f"{cell}: {reason}")
        if self.bars:
            self.bars.update(self.tasks[cell], summary=reason[:60])

    def __enter__(self) -> ProgressDisplay:
        if self.bars:
            CURRENT.paused = True
            self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bars:
            self.bars.stop()
            self.bars = None
            CURRENT.paused = False
