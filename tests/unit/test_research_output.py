"""Where research commands write: checked before the measurement, written row by row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.reporting.tables import Row
from research import aa, command, false_alarms, loop_timing, slices
from research.baselines import compare
from tests.command_line import exit_code_of

WITH_OUT: tuple[click.Command, ...] = (aa.main, false_alarms.main, slices.main, compare.main)


@pytest.mark.parametrize("main", WITH_OUT, ids=lambda main: main.name)
@pytest.mark.parametrize(
    ("out", "reason"), [("folder", "it is a folder"), ("file/page.md", "is not a folder"), ("", "name a file")]
)
def test_a_page_that_cannot_be_written_is_refused_before_the_measurement(
    main: click.Command, out: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    assert exit_code_of(main)(["--out", out]) == ExitCode.BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("--out ") and reason in error and error.count("\n") == 1


def test_the_rows_before_a_failure_are_on_disk(tmp_path: Path) -> None:
    page = tmp_path / "missing" / "folder" / "page.md"

    def rows() -> Iterator[Row]:
        yield ("lenet", "torch", "1.00")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop_timing.table(("network", "framework", "ratio"), rows(), lambda table: command.write_page(page, table))
    assert page.read_text().splitlines()[-1] == "| lenet | torch | 1.00 |"
