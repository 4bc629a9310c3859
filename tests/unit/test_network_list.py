"""The list of networks: columns, filters, widths."""

from __future__ import annotations

import json

import pytest

from benchmarks.networks import command
from benchmarks.reporting.network_list import CLASSIC, HEAD, Filters, ListedNetwork, entries, report
from benchmarks.reporting.number_formats import short_count
from frameworks.networks import NETWORKS
from frameworks.spec import Network, ReLU
from frameworks.spec.layers import KINDS
from tests.command_line import exit_code_of

main = exit_code_of(command)


def _names(*arguments: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main([*arguments, "--json"]) == 0
    return [row["net"] for row in json.loads(capsys.readouterr().out)]


def test_the_list_has_every_network_with_family_year_and_layers() -> None:
    rows = {entry.net.name: entry for entry in entries(Filters())}
    assert list(rows) == list(NETWORKS)
    assert all(entry.year and 1990 < entry.year < 2030 for entry in rows.values())
    assert (rows["lenet5"].family, rows["lenet5"].year, rows["lenet5"].modern) == ("lenet", 1998, ())
    efficient = rows["cifar_efficientnet_b0"]
    assert (efficient.family, efficient.year, efficient.modern) == ("efficientnet", 2019, ("SiLU", "Multiply"))


def test_classic_layers_are_layers() -> None:
    assert set(KINDS) > CLASSIC


@pytest.mark.parametrize(
    ("source", "year"),
    [("He et al. 2015, table 1; torchvision 0.28", 2015), ("LeCun 1998, 1999 reprint", 1998), ("page 20155", None)],
)
def test_the_year_is_the_first_in_the_source(source: str, year: int | None) -> None:
    assert ListedNetwork(Network("net", (1, 2, 2), [ReLU()], source=source), "net").year == year


# --- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["--family", "senet,efficientnet", "--max-params", "12M", "--layer", "Multiply"], True),
        (["--family", "senet", "--max-params", "11260354"], True),
        (["--family", "senet", "--max-params", "11260353"], False),
        (["--family", "senet", "--min-params", "11260354"], True),
        (["--family", "senet", "--min-params", "11260355"], False),
        (["--max-macs", "555509760", "--layer", "Multiply,Sigmoid"], True),
        (["--max-macs", "0.5G"], False),
        (["--layer", "Multiply,SiLU"], False),
        (["--family", "resnet"], False),
    ],
)
def test_a_filter(arguments: list[str], listed: bool, capsys: pytest.CaptureFixture[str]) -> None:
    names = _names(*arguments, capsys=capsys)
    assert ("cifar_senet18" in names) == listed
    assert len(names) < len(NETWORKS)


def test_a_family_has_its_networks_for_small_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"vgg16", "cifar_vgg16"} <= set(_names("--family", "vgg", capsys=capsys))
    assert {"googlenet", "cifar_googlenet"} <= set(_names("--family", "googlenet", capsys=capsys))


def test_filters_that_no_network_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--max-params", "10"]) == 0
    assert capsys.readouterr().out == "No network matches.\n"
    assert _names("--max-params", "10", capsys=capsys) == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--family", "resnett"], "--family resnett: no such name. Did you mean resnet?"),
        (["--layer", "multiply"], "--layer multiply: no such name. Did you mean Multiply?"),
        (["--layer", "?"], "--layer ?: no such name. Choose from AdaptiveAvgPool, Add, "),
        (["--layer", "Add,Add"], "--layer Add,Add: Add is listed twice"),
        *(
            (["--max-params", value], f"--max-params {value}: write a number such as 800, 500k, 5M or 1.5G")
            for value in ("5x", "M", "-5M", "5 M", "1e6", "5m", "\u0665M", "nan")
        ),
    ],
)
def test_a_wrong_filter_is_one_line(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(line) and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "limit"), [("800", 800), ("500k", 500_000), ("5M", 5_000_000), ("1.5G", 1_500_000_000), ("0.0005k", 0)]
)
def test_a_quantity(text: str, limit: int) -> None:
    from benchmarks.cli.options import Quantity

    assert Quantity().convert(text, None, None) == limit


# --- the table --------------------------------------------------------------------------------------------------------


def test_a_pipe_gets_every_column_in_full() -> None:
    listed = entries(Filters())
    lines = report(listed, "table", None).splitlines()
    assert tuple(lines[0].split()) == HEAD
    assert len(lines) == 2 + len(NETWORKS)
    for line, entry in zip(lines[2:], listed):
        assert line.startswith(entry.net.name) and line.endswith(entry.net.source)


@pytest.mark.parametrize("width", [60, 80, 100, 132, 200])
def test_the_table_fits_a_terminal(width: int) -> None:
    text = report(entries(Filters()), "table", width)
    assert max(map(len, text.splitlines())) <= width
    assert {"network", "year", "parameters", "MACs"} <= set(text.splitlines()[0].split())


def test_eighty_columns_show_the_family_and_the_input() -> None:
    assert report(entries(Filters()), "table", 80).splitlines()[0].split() == [
        *("network", "family", "year", "input", "parameters", "MACs"),
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (850, "850"), (999, "999"), (1000, "1.00 k"), (9_994, "9.99 k"), (9_996, "10.0 k")),
        *((99_960, "100 k"), (999_499, "999 k"), (999_999, "1.00 M"), (555_422_720, "555 M")),
        *((15_470_264_320, "15.5 G"), (1_000_000_000, "1.00 G")),
    ],
)
def test_a_count_in_three_digits(value: int, text: str) -> None:
    assert short_count(value) == text
