"""Number formats, tables and one-line summaries."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace

from benchmarks.cli.progress import epoch_summary
from benchmarks.reporting.number_formats import (
    count,
    counted,
    duration,
    examples_per_second,
    interval,
    machine_text,
    number,
    percent,
    spread,
)
from benchmarks.reporting.tables import fitted, markdown, table
from benchmarks.timing.statistics import Estimate
from tests.records import MACHINE, epoch


@pytest.mark.parametrize(
    ("speed", "text"),
    [(None, ""), (0.43, "0.4"), (2.6, "2.6"), (9.94, "9.9"), (9.96, "10"), (57.4, "57"), (12_778.2, "12,778")],
)
def test_a_slow_speed_has_a_decimal(speed: float | None, text: str) -> None:
    assert examples_per_second(speed) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (None, ""),
        (Estimate(1.15), "1.150"),
        (Estimate(1.15, 1.12, 1.19), "1.150 (1.120 to 1.190)"),
        ((None, None, None), ""),
        ((math.nan, math.nan, math.nan), ""),
    ],
)
def test_an_interval_stands_in_brackets(estimate: Estimate | None, text: str) -> None:
    assert interval(estimate, ".3f") == text


def test_missing_values_are_empty() -> None:
    assert [number(value, ".2f") for value in (None, math.nan, 0.0)] == ["", "", "0.00"]
    assert (count(None), percent(None), spread([])) == ("", "", "")


def test_percentages_counts_and_spreads() -> None:
    assert (percent(0.0023), percent(0.43, 0), count(61_706)) == ("0.2 %", "43 %", "61,706")
    assert (counted(1, "epoch"), counted(10, "epoch")) == ("1 epoch", "10 epochs")
    assert (spread([0.8]), spread([0.80, 0.82])) == ("0.8000", "0.8100 ± 0.0141 (2)")


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (91, "2 min"), (5300, "88 min"), (7200, "2.0 h")]
)
def test_a_duration_has_the_unit_that_people_use(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_machine_in_one_line() -> None:
    assert machine_text(MACHINE) == "One, 2 cores, 8.0 GiB, no GPU, Linux 6"
    assert machine_text(replace(MACHINE, governor="performance")).endswith(", governor performance")


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    head, body = ("network", "parameters"), [("lenet", "61,706"), ("mlp", "(4)")]
    assert table(head, body).splitlines() == [
        "network  parameters",
        "-------  ----------",
        "lenet        61,706",
        "mlp             (4)",
    ]
    assert markdown(head, body).splitlines()[1] == "| --- | ---: |"


def test_markdown_keeps_indentation_and_escapes_bars() -> None:
    assert markdown(("a",), [("  x|y",)]).splitlines()[-1] == "| \u00a0\u00a0x\\|y |"


def test_an_epoch_in_one_line() -> None:
    event = epoch("lenet.torch.0", 1, slices=[(8, 16.0), (8, 16.0)], train_loss=2.5, test_accuracy=0.125)
    assert epoch_summary(event) == "loss 2.5000, test accuracy 0.1250, 0.5 examples/s"


HEAD = ("network", "framework", "mode", "speed", "reason")
BODY = [("lenet", "torch", "eager", "1.5", ""), ("lenet", "mxnet", "hybridized, static shapes", "", "out of memory")]


def test_a_table_without_a_limit_has_every_column_and_the_reasons_below() -> None:
    lines = fitted(HEAD, BODY, None, optional=("mode",), below="reason").splitlines()
    assert lines[0].split() == ["network", "framework", "mode", "speed"]
    assert lines[-2:] == ["", "lenet, mxnet: out of memory"]


def test_optional_columns_are_left_out_until_the_table_fits() -> None:
    text = fitted(HEAD, BODY, 40, optional=("mode", "speed"), below="reason")
    assert "hybridized" not in text and "1.5" in text
    assert max(map(len, text.splitlines())) <= 40
    assert "Too wide for this terminal: mode." in text and "out of memory" in text


def test_the_widest_column_takes_several_lines_if_no_column_may_be_left_out() -> None:
    lines = fitted(HEAD[:-1], [row[:-1] for row in BODY], 45).splitlines()
    assert max(map(len, lines)) <= 45
    assert [line.split()[-1] for line in lines[-2:]] == ["static", "shapes"]
