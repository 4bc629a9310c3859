"""What a long operation reports while it runs. The base class shows nothing."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from benchmarks.records.events import Epoch


class Progress:
    """Receives the progress of a run. Use it as a context manager while cells run; `message` works at any time."""

    def message(self, line: str) -> None:
        """A line that stays."""

    def preparation(self, line: str) -> None:
        """What is prepared next, which takes seconds."""

    def start_cells(self, cells: Sequence[str], epochs: int, completed: Sequence[int]) -> Progress:
        """Cells that start side by side; completed: epochs that earlier launches finished."""
        return self

    def advance(self, cell: str, epochs: float) -> None:
        """A cell has finished this number of epochs, fractions included."""

    def epoch_finished(self, epoch: Epoch) -> None:
        """The results of a finished epoch."""

    def cell_failed(self, cell: str, reason: str) -> None:
        """Why a cell ended before its last epoch."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass
