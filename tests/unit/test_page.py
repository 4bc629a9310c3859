"""The page of a run: well-formed, complete, explicit about missing values, and safe for any text and number."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace

from benchmarks.records.csv_cells import valid_frame
from benchmarks.records.runs import DataInfo
from benchmarks.reporting import charts, run_report
from benchmarks.reporting.pages import html
from benchmarks.reporting.templates import printable
from benchmarks.runtime.valid_text import valid
from benchmarks.timing.statistics import paired_ratio
from tests.records import MACHINE, training_job, training_run

FIGURES = ("test_accuracy", "train_loss", "examples_per_second")
HOSTILE = "</td><script>alert('1')</script> & \"so\" \x1b[31mred\x1b[0m \x00 \ud800 \N{SNOWMAN}"


def cell(net: str, framework: str, seed: int = 0, **facts: Any) -> dict[str, Any]:
    """A row of the table of cells; a relative speed is given as (value, low, high)."""
    value, low, high = facts.pop("relative", (None, None, None))
    speed = {"relative_speed": value, "relative_speed_low": low, "relative_speed_high": high}
    known = {"mode": "eager", "device": "cpu", "precision": "float32", "status": "ok", "version": "1.0+cpu"}
    return {"net": net, "framework": framework, "seed": seed, **known, **speed, **facts}


def epochs(net: str, framework: str, seed: int = 0, **figures: Sequence[float | None]) -> list[dict[str, Any]]:
    """Rows of the curves; missing figures are those of three normal epochs."""
    good = {"test_accuracy": [0.1, 0.4, 0.7], "train_loss": [2.3, 1.5, 0.9], "examples_per_second": [900, 950, 940]}
    columns = {**good, **figures}
    rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
    names = {"net": net, "framework": framework, "seed": seed}
    return [{**names, "epoch": epoch, **row} for epoch, row in enumerate(rows, 1)]


def render(rows: list[dict[str, Any]], curves: list[dict[str, Any]], **run: Any) -> str:
    cells = valid_frame(rows, run_report.COLUMNS).astype(object)
    cells = cells.where(cells.notna(), None)
    jobs = [
        training_job(row["framework"], row["seed"], row["net"], spec_sha256="5bec", weights_sha256="3e16")
        for row in rows
    ]
    known = {"began": "2026-11-21T23:15:01+00:00", "command": ["run", "this"]}
    machine = replace(MACHINE, processor="a processor", memory_gib=8.0)
    data = {"images": DataInfo({"train.npy": "da7a"}, True)}
    whole = training_run(jobs, **{**known, "machine": machine, "data": data, **run})
    return html(whole, cells, valid_frame(curves), run_report.formatted(cells), ["- a note", HOSTILE])


def tree(text: str) -> ElementTree.Element:
    """The page as XML: any tag left open, any bare & or <, and any id used twice is an error."""
    root = ElementTree.fromstring(text.encode())
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    return root


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def results(text: str) -> list[str]:
    return [words(element) for element in tree(text).iterfind(".//p[@class='result']")]


def curve_paths(text: str) -> list[ElementTree.Element]:
    return tree(text).findall(".//figure/svg/path[@class='curve']")


RUNS = {
    "three frameworks": (
        [cell("lenet", "torch"), cell("lenet", "mxnet", relative=(0.8, 0.7, 0.9)), cell("lenet", "keras")],
        epochs("lenet", "torch") + epochs("lenet", "mxnet") + epochs("lenet", "keras"),
    ),
    "two networks, two seeds": (
        [cell(net, name, seed) for net in ("lenet", "mlp") for seed in (0, 1) for name in ("torch", "mxnet")],
        [
            e
            for net in ("lenet", "mlp")
            for seed in (0, 1)
            for name in ("torch", "mxnet")
            for e in epochs(net, name, seed)
        ],
    ),
    "failed and unavailable": (
        [
            cell("lenet", "torch", status="failed", reason="killed\nlast words"),
            cell("lenet", "mxnet", version=None, status="unavailable", reason="needs another Python"),
            cell("lenet", "keras", version=None, status="failed", reason=None),
        ],
        epochs("lenet", "torch"),
    ),
    "nothing finished": ([cell("lenet", "torch", version=None, status="unfinished", reason="stopped")], []),
    "hostile": (
        [cell(HOSTILE, HOSTILE, version=HOSTILE, status="failed", reason=HOSTILE, mode=HOSTILE)],
        epochs(HOSTILE, HOSTILE),
    ),
    "a loss that diverges": ([cell("lenet", "torch")], epochs("lenet", "torch", train_loss=[2.3, 9e37, math.nan])),
    "only NaN": ([cell("lenet", "torch")], epochs("lenet", "torch", train_loss=[math.nan, None, math.inf])),
    "gaps": ([cell("lenet", "torch")], epochs("lenet", "torch", train_loss=[None, 1.0, None])),
    "constant": ([cell("lenet", "torch")], epochs("lenet", "torch", test_accuracy=[0.1] * 3, train_loss=[0.0] * 3)),
    "one epoch": ([cell("lenet", "torch")], epochs("lenet", "torch")[:1]),
    "more frameworks than colors": (
        [cell("lenet", f"torch=={k}") for k in range(9)],
        [epoch for k in range(9) for epoch in epochs("lenet", f"torch=={k}")],
    ),
}
every_run = pytest.mark.parametrize(("rows", "curves"), RUNS.values(), ids=RUNS)


class Tags(HTMLParser):
    """The elements and attributes that the tokenizer of a browser sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)


@every_run
def test_page_is_well_formed_html_and_xml(rows: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
    text = render(rows, curves)
    assert [tag for tag, _ in Tags(text).tags] == [element.tag for element in tree(text).iter()]


@every_run
def test_page_loads_and_runs_nothing(rows: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
    text = render(rows, curves)
    for tag, attributes in Tags(text).tags:
        assert tag not in ("script", "link", "img", "image", "iframe", "object", "embed", "use", "base")
        assert not {"src", "srcset", "xlink:href"} & set(attributes)
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"url\(|@import|https?:", text)


@every_run
def test_every_link_has_a_target(rows: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
    root = tree(render(rows, curves))
    ids = {f"#{element.get('id')}" for element in root.iter() if element.get("id")}
    assert {element.get("href") for element in root.iter("a")} <= ids


@every_run
def test_every_trial_run_has_its_status(rows: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
    root = tree(render(rows, curves))
    assert [words(td) for td in root.iterfind(".//td[@data-name='status']")] == [
        row["status"] for net in dict.fromkeys(row["net"] for row in rows) for row in rows if row["net"] == net
    ]
    reasons = [row.get("reason") or "no reason was recorded" for row in rows if row["status"] != "ok"]
    shown = [words(dd) for dd in root.iterfind(".//section[@id='failures']//dd")]
    assert shown == [" ".join(printable(valid(reason)).split()) for reason in reasons]


@every_run
def test_every_row_has_a_cell_for_every_column(rows: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
    root = tree(render(rows, curves))
    heads = [words(th) for th in root.iterfind(".//thead/tr/th[@scope='col']")]
    assert heads[0] == "framework" and len(set(heads)) == len(heads)
    body = [row for row in root.iterfind(".//tbody/tr") if row.find("th[@scope='row']") is not None]
    assert len(body) == len(rows)
    for row in body:
        assert [td.get("data-name") for td in row.iterfind("td")] == heads[1:]


@every_run
def test_every_figure_of_every_trial_run_is_drawn_once(
    rows: list[dict[str, Any]], curves: list[dict[str, Any]]
) -> None:
    with_data = {
        (row["net"], row["framework"], row["seed"], figure)
        for row in curves
        for figure in FIGURES
        if row[figure] is not None and math.isfinite(row[figure])
    }
    assert len(curve_paths(render(rows, curves))) == len(with_data)


@every_run
def test_charts_have_titles_and_stay_inside_their_canvas(
    rows: list[dict[str, Any]], curves: list[dict[str, Any]]
) -> None:
    for chart in tree(render(rows, curves)).iterfind(".//figure/svg"):
        assert chart.get("role") == "img"
        assert chart.findtext("title") and chart.findtext("desc")
        _, _, width, height = map(float, chart.get("viewBox", "").split())
        for text in chart.iter("text"):
            assert 0 <= float(text.get("x", "nan")) <= width and 0 <= float(text.get("y", "nan")) <= height
        for path in chart.iterfind("path[@class='curve']"):
            for x, y in re.findall(r"[ML](\S+) ([^hML]+)", path.get("d", "")):
                assert 0 <= float(x) <= width and 0 <= float(y) <= height


@every_run
def test_labels_do_not_overlap(rows: list[dict[str, Any]], curves: list[dict[str, Any]]) -> None:
    for chart in tree(render(rows, curves)).iterfind(".//figure/svg"):
        heights = sorted(float(text.get("y", "nan")) for text in chart.iterfind("g/text"))
        assert len(heights) == len({row["framework"] for row in curves})  # in these runs every net has every framework
        assert all(lower - upper > charts.LINE - 0.2 for upper, lower in pairwise(heights))  # 0.1 is printed


def test_markup_in_text_is_escaped() -> None:
    root = tree(render(*RUNS["hostile"]))
    assert "<script>alert('1')</script> & \"so\" red \ufffd \ufffd \N{SNOWMAN}" in words(root)
    assert "\x1b" not in words(root)
    assert words(root.findall(".//main/ul/li")[1]).endswith("\N{SNOWMAN}")


def test_a_curve_has_a_gap_where_a_value_is_missing() -> None:
    curves = epochs("lenet", "torch", test_accuracy=[0.1, math.nan, 0.7])
    path = curve_paths(render([cell("lenet", "torch")], curves))[0].get("d", "")
    assert path.count("M") == 2 and "L" not in path


def test_divergence_is_marked_and_described() -> None:
    root = tree(render(*RUNS["a loss that diverges"]))
    lost = [figure for figure in root.iter("figure") if figure.find("svg/path[@class='diverged']") is not None]
    marked = [figure.findtext("figcaption") for figure in lost]
    assert marked == ["Training loss, \N{MULTIPLICATION SIGN} then not finite"]
    assert "9e+37 after epoch 2, then not finite" in words(root)


# --- the result as text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relative", "sentence"),
    [
        ((1.25, 1.2, 1.3), "MXNet Gluon 1.0 trains 1.25 (1.20 to 1.30) times as fast as PyTorch 1.0."),
        ((0.8, 0.5, 0.9), "PyTorch 1.0 trains 1.25 (1.11 to 2.00) times as fast as MXNet Gluon 1.0."),
        ((1.02, 0.97, 1.07), "MXNet Gluon 1.0 trains 1.02 (0.97 to 1.07) times as fast as PyTorch 1.0: the interval"),
        (
            (1.003, 1.001, 1.005),
            "(1.00 to 1.00) times as fast as PyTorch 1.0: the interval includes 1, so no difference",
        ),
        ((1.3, None, None), "lenet: no speeds to compare"),
        ((None, None, None), "lenet: no speeds to compare"),
    ],
    ids=["faster", "slower", "no difference", "no difference as printed", "one round", "none"],
)
def test_result_names_the_faster_framework(relative: tuple[float | None, ...], sentence: str) -> None:
    (sentence_shown,) = results(render([cell("lenet", "torch"), cell("lenet", "mxnet", relative=relative)], []))
    assert sentence in sentence_shown


def test_result_states_the_measured_ratio() -> None:
    torch, mxnet = [1000.0, 1100.0, 1050.0], [800.0, 870.0, 850.0]
    estimate, turned = paired_ratio(mxnet, torch), paired_ratio(torch, mxnet)
    assert turned is not None
    (sentence_shown,) = results(render([cell("lenet", "torch"), cell("lenet", "mxnet", relative=estimate)], []))
    assert (
        f"PyTorch 1.0 trains {turned.value:.2f} ({turned.low:.2f} to {turned.high:.2f}) times as fast as"
        in sentence_shown
    )


def test_intervals_of_several_seeds_are_joined() -> None:
    rows = [cell("lenet", "torch", seed) for seed in (0, 1)]
    rows += [cell("lenet", "mxnet", 0, relative=(1.2, 1.1, 1.3)), cell("lenet", "mxnet", 1, relative=(1.3, 1.2, 1.5))]
    (sentence_shown,) = results(render(rows, []))
    assert "MXNet Gluon 1.0 trains 1.10 to 1.50 (2 seeds) times as fast as PyTorch 1.0." in sentence_shown


@pytest.mark.parametrize("failing", ["torch", "mxnet"])
def test_an_unfinished_trial_run_is_not_compared(failing: str) -> None:
    rows = [cell("lenet", "torch"), cell("lenet", "mxnet", relative=(1.2, 1.1, 1.3))]
    for row in rows:
        row |= {"status": "failed"} if row["framework"] == failing else {}
    (sentence_shown,) = results(render(rows, []))
    assert "no speeds to compare" in sentence_shown and "1 of 2 did not finish." in sentence_shown


def test_result_states_accuracies_as_the_table_does() -> None:
    rows = [cell("lenet", "torch", test_accuracy=0.80456), cell("lenet", "mxnet", test_accuracy=0.79)]
    rows.append(cell("lenet", "keras", test_accuracy=0.1, status="failed"))
    (sentence_shown,) = results(render(rows, []))
    assert "Final test accuracy: 0.7900 to 0.8046." in sentence_shown


def test_two_versions_of_a_framework_are_distinguished() -> None:
    rows = [cell("lenet", f"torch=={version}", version=f"{version}+cpu") for version in ("2.12.1", "2.13.0")]
    root = tree(render(rows, epochs("lenet", "torch==2.12.1") + epochs("lenet", "torch==2.13.0")))
    assert words(root.find(".//h1")) == "lenet in PyTorch 2.12.1 and PyTorch 2.13.0"  # type: ignore[arg-type]
    assert {words(text) for text in root.iterfind(".//figure/svg/g/text")} == {"PyTorch 2.12.1", "PyTorch 2.13.0"}


def test_page_states_command_machine_versions_and_hashes() -> None:
    details = tree(render(*RUNS["three frameworks"], commit="c0441")).find(".//details")
    assert details is not None
    for fact in (
        "run this",
        "2026-11-21T23:15:01+00:00",
        "c0441",
        "a processor",
        "5bec",
        "3e16",
        "da7a",
        "PyTorch 1.0+cpu",
    ):
        assert fact in words(details)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.1, 0.79, [0, 0.2, 0.4, 0.6, 0.8]),
        (0, 9_600, [0, 5_000, 10_000]),
        (1, 10, [0, 5, 10]),
        (0.5, 2.31, [0.5, 1, 1.5, 2, 2.5]),
        (-1e-9, 1e-9, [-1e-9, -5e-10, 0, 5e-10, 1e-9]),
        (0.1, 0.1, [0.05, 0.1, 0.15]),
        (0, 0, [-0.5, 0, 0.5]),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, ticks: list[float]) -> None:
    assert charts.ticks(low, high) == pytest.approx(ticks)  # multiples of a binary fraction are off by its rounding


@pytest.mark.parametrize("count, title", [(2, "net0 and net1 in PyTorch"), (7, "7 networks in PyTorch")])
def test_results_of_many_networks_are_folded_away(count: int, title: str) -> None:
    names = [f"net{number}" for number in range(count)]
    root = tree(
        render([cell(name, "torch") for name in names], [row for name in names for row in epochs(name, "torch")])
    )
    header = root.find(".//header")
    assert header is not None and words(header.find("h1")) == title  # type: ignore[arg-type]
    assert len(header.findall("p[@class='result']")) == (count if count < 7 else 0)
    assert len(header.findall("details/p[@class='result']")) == (0 if count < 7 else count)
