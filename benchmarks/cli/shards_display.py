"""Progress of all shards of a plan on one terminal: a live bar and where shards run; plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from rich.progress import BarColumn, Progress, TextColumn

from benchmarks.cli.heartbeat import CURRENT
from benchmarks.cli.progress import ProgressConsole
from benchmarks.distribution.coordinator import Display
from benchmarks.reporting.number_formats import duration

SHOWN = 3  # running shards that the bar names


class ShardsDisplay(Display):
    """Progress on standard error."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = ProgressConsole()
        self.quiet = quiet
        self.bar: Progress | None = None

    def message(self, line: str) -> None:
        if not self.quiet:
            self.console.print(line, markup=False, emoji=False, soft_wrap=True)
            CURRENT.line_printed(line)

    def update(self, running: Mapping[int, str], waiting: int, done: float, left: float | None) -> None:
        time_left = "" if left is None else f"about {duration(left)} left"
        named = [f"{number} on {place}" for number, place in list(running.items())[:SHOWN]]
        more = [f"{len(running) - SHOWN} more"] if len(running) > SHOWN else []
        summary = "; ".join(filter(None, (time_left, ", ".join([*named, *more]), f"{waiting} waiting")))
        if not self.console.is_terminal or self.quiet:
            CURRENT.doing(f"{done:.0%} of the work done; {summary}")
            return
        if self.bar is None:
            columns = (
                TextColumn("work"),
                BarColumn(),
                TextColumn("{task.percentage:.0f} %"),
                TextColumn("{task.fields[summary]}"),
            )
            self.bar = Progress(*columns, console=self.console, refresh_per_second=2)
            self.task = self.bar.add_task("work", total=1.0, summary="")
            CURRENT.paused = True
            self.bar.start()
        self.bar.update(self.task, completed=done, summary=summary)

    def close(self) -> None:
        if self.bar:
            self.bar.stop()
            self.bar = None
            CURRENT.paused = False
