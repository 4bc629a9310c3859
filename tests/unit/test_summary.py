"""The summary command: tables, network diagrams and the audit of the articles' claims."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.articles import claims, spec_queries
from benchmarks.articles.spec_queries import Value, evaluate
from benchmarks.reporting.layer_text import padding_text
from benchmarks.reporting.network_diagrams import TEXT_SIZE, TITLE_SIZE, svg, text_width
from benchmarks.summary import command
from frameworks.networks import NETWORKS
from frameworks.spec import Conv, Network, Padding
from tests.command_line import exit_code_of

ROOT = Path(__file__).parents[2]
main = exit_code_of(command)

TINY = """
from frameworks.spec import BatchNorm, Concat, Conv, Dense, Flatten, GlobalAvgPool, MaxPool, Network, ReLU, Residual


def tiny(classes=10):
    branches = [[Conv("1x1", 8, 1)], [Conv("3x3", 8, 3, padding=1)], [MaxPool("pool", 3, 1, padding=1)]]
    body = [Conv("conv", 19, 3, padding=1, bias=False), BatchNorm("bn")]
    layers = [Concat("mixed", branches), ReLU(), Residual("block", body), ReLU(), GlobalAvgPool("mean"), Flatten()]
    return Network("tiny", (3, 32, 32), [*layers, Dense("fc", classes)])


def wide(): return tiny().with_input((3, 64, 64))
def needs(width): return tiny()
def number(): return 3
def breaks(): raise KeyError("no\\nluck")
def wrong(): return Network("wrong", (1, 8, 8), [Conv("C1", 6, 5, out=(6, 8, 8))])
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's network file in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_net.py").write_text(TINY)
    (tmp_path / "broken.py").write_text("import no_such_module\n")
    (tmp_path / "syntax.py").write_text("def (:\n")
    return "my_net.py:tiny"


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main([*arguments]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    return output


# --- one network ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_json_has_totals_and_every_layer(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    net = NETWORKS[name]()
    summary = json.loads(output_of(capsys, "--net", name, "--json"))
    assert list(summary) == ["net", "input", "params", "buffers", "macs", "layers"]
    assert (summary["net"], summary["input"]) == (name, list(net.input))
    totals = (summary["params"], summary["buffers"], summary["macs"])
    assert totals == (net.params, net.buffers, net.macs)
    assert all(list(layer) == ["name", "kind", "out_shape", "params", "buffers", "macs"] for layer in summary["layers"])
    assert tuple(sum(layer[key] for layer in summary["layers"]) for key in ("params", "buffers", "macs")) == totals
    shapes = {layer["name"]: (layer["kind"], tuple(layer["out_shape"])) for layer in summary["layers"]}
    assert shapes == {node.path: (node.layer.kind, node.output) for _, node in net.walk()}


def test_the_table_of_lenet(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, "--net", "lenet").splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert lines[2].split() == [
        *("layer", "kind", "kernel", "stride", "padding", "groups", "output"),
        *("parameters", "buffers", "multiply-adds"),
    ]
    assert cells["C1"] == ["Conv", "5x5", "1", "2", "1", "6x28x28", "156", "117,600"]
    assert cells["S2"] == ["AvgPool", "2x2", "2", "0", "6x14x14"]
    assert cells["total"] == ["61,706", "416,520"]
    assert "departs from its paper: sigmoid for the paper's scaled tanh" in lines


def test_branches_are_a_tree(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, "--net", "googlenet").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("inception3a "))
    assert lines[start].split() == ["inception3a", "Concat", "256x28x28", "163,696", "128,049,152"]
    names = slice(0, lines[2].index("kind"))
    assert [line[names].rstrip() for line in lines[start + 1 : start + 15]] == [
        *("├─ 1x1", "│  1x1_relu"),
        *("├─ 3x3_reduce", "│  3x3_reduce_relu", "│  3x3", "│  3x3_relu"),
        *("├─ 5x5_reduce", "│  5x5_reduce_relu", "│  5x5", "│  5x5_relu"),
        *("└─ pool", "   pool_proj", "   pool_proj_relu"),
        "inception3b",
    ]


def test_a_shortcut_is_a_branch(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "--net", "resnet18")
    assert text.count("└─ identity") == 5
    assert text.count("└─ downsample.0") == 3


def test_auxiliary_multiply_adds_are_in_brackets_and_not_in_the_total(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "--net", "googlenet_aux")
    assert "(2,097,152)" in text
    assert "(multiply-adds): of auxiliary classifiers" in text
    assert text.partition("\ntotal")[2].split()[:2] == ["13,378,280", "1,582,671,872"]
    assert "(multiply-adds)" not in output_of(capsys, "--net", "googlenet")


@pytest.mark.parametrize("name", ["lenet", "googlenet_aux", "resnet18", "all"])
def test_markdown_rows_have_as_many_cells_as_the_head(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in output_of(capsys, "--net", name, "--format", "markdown").splitlines() if line[:1] == "|"]
    assert len(lines) > 10
    assert len({line.count("|") for line in lines}) == 1


def test_another_input_and_another_number_of_classes(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--net", "resnet18", "--input", "1,64,48", "--classes", "7", "--json")
    summary = json.loads(output_of(capsys, *arguments))
    assert (summary["input"], summary["layers"][-1]["out_shape"]) == ([1, 64, 48], [7])
    assert summary["layers"][0]["out_shape"] == [64, 32, 24]


def test_all_networks_have_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of(capsys, "--net", "all").splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(NETWORKS)
    summary = json.loads(output_of(capsys, "--net", "all", "--json"))
    assert [one["net"] for one in summary] == list(NETWORKS)


def test_the_table_is_written_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("net.md", "net.json", "net.txt"):
        assert name in output_of(capsys, "--net", "lenet", "--out", str(tmp_path / name))
    assert json.loads((tmp_path / "net.json").read_text())["params"] == 61_706
    assert "| C1 | Conv | 5x5 |" in (tmp_path / "net.md").read_text()
    assert (tmp_path / "net.txt").read_text() == output_of(capsys, "--net", "lenet")


@pytest.mark.parametrize(
    ("padding", "word"), [(0, "0"), (2, "2"), ((0, 3), "0x3"), (((0, 1), (0, 1)), "0:1"), (((0, 1), (2, 2)), "0:1x2")]
)
def test_a_padding_as_text(padding: Padding, word: str) -> None:
    assert padding_text(padding) == word


# --- a network from a file --------------------------------------------------------------------------------------------


def test_a_network_from_a_file(tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    summary = json.loads(output_of(capsys, "--net", tiny, "--json"))
    assert (summary["net"], summary["params"], summary["buffers"]) == ("tiny", 32 + 224 + 19 * 19 * 9 + 38 + 200, 38)
    assert json.loads(output_of(capsys, "--net", tiny, "--classes", "3", "--json"))["layers"][-1]["out_shape"] == [3]
    assert json.loads(output_of(capsys, "--net", "my_net.py:wide", "--json"))["input"] == [3, 64, 64]


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--net lenett", "--net lenett: no such network. Did you mean lenet? `onespec networks` lists all"),
        ("--net xylophone", "--net xylophone: no such network; write FILE.py:FUNCTION, or a name that "),
        ("--net vgg16 --input 3,16,16", "vgg16.pool5: 0x0 output for input 3x16x16; the smallest input is 3x32x32"),
        ("--net vgg16 --input 3,0,16", "vgg16: the input is 3x0x16; every size is at least 1"),
        ("--net vgg16 --input 3,16", "--input 3,16: not channels, height, width; write it as 3,224,224"),
        ("--net vgg16 --input 3,a,16", "--input 3,a,16: not channels, height, width"),
        ("--net lenet --classes 0", "--classes 0: must be a whole number from 1 to 1,000,000"),
        ("--net lenet --classes ten", "--classes ten: must be a whole number from 1 to 1,000,000"),
        ("--net lenet --format xml", "--format: 'xml' is not one of 'table', 'markdown'"),
        ("--net lenet --color red", "--color: no such option"),
        ("", "--net NAME or --audit: give exactly one"),
        ("--audit --net lenet", "--net NAME or --audit: give exactly one"),
        ("--net all --draw x.svg", "--draw x.svg: a drawing shows one network; name it with --net"),
        ("--audit --draw x.svg", "--draw x.svg: a drawing shows one network; name it with --net"),
        ("--net lenet --draw my_net.py/x.svg", "my_net.py is not a folder; name a file that can be written"),
        ("--net lenet --out my_net.py/x.md", "my_net.py is not a folder; name a file that can be written"),
        ("--net lenet --out .", "--out .: it is a folder; name a file that can be written"),
        ("--net other.py:tiny", "--net other.py:tiny: no file other.py"),
        ("--net my_net.py", "--net my_net.py: name one of its functions: tiny, wide, needs, number, "),
        ("--net my_net.py:huge", "--net my_net.py:huge: it has no function huge: tiny, wide, "),
        ("--net my_net.py:needs", "--net my_net.py:needs: needs needs width; give every argument a default"),
        ("--net my_net.py:number", "number() returns int, not frameworks.spec.Network"),
        ("--net my_net.py:breaks", "breaks() fails: KeyError: 'no\\nluck'"),
        ("--net my_net.py:wrong", "wrong.C1: 1x8x8 gives 6x4x4, the paper says 6x8x8"),
        ("--net my_net.py:wide --classes 5", "--classes 5: my_net.py:wide has no argument classes; its output is 10"),
        ("--net broken.py:tiny", "it does not import: ModuleNotFoundError: No module named 'no_such_module'"),
        ("--net syntax.py:tiny", "it does not import: SyntaxError: "),
    ],
)
def test_bad_input_is_one_line(arguments: str, words: str, tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments.split()) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert words in errors
    assert errors.count("\n") == 1


def test_the_command_has_exit_codes_and_stops_with_its_reader() -> None:
    """Exit codes, output streams, and a pipe whose reader closes it."""
    command = [sys.executable, "-m", "benchmarks.summary", "--net"]
    good = subprocess.run([*command, "lenet"], cwd=ROOT, capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "")
    bad = subprocess.run([*command, "lenett"], cwd=ROOT, capture_output=True, text=True)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "Traceback" not in bad.stderr
    with subprocess.Popen([*command, "resnet152"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as early:
        assert early.stdout and early.stderr
        early.stdout.close()
        assert early.stderr.read() == b""
    assert early.returncode == 0


def test_no_heavy_module_is_imported() -> None:
    code = """
import sys
from benchmarks.summary import command
command(['--net', 'lenet'], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stderr
    heavy = {"numpy", "pandas", "scipy", "rich", "torch", "mxnet", "tensorflow", "keras", "jax"}
    assert not heavy & {name.partition(".")[0] for name in loaded.split()}


# --- the diagram ------------------------------------------------------------------------------------------------------

_SVG = "{http://www.w3.org/2000/svg}"
Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


def _placed(
    element: ElementTree.Element, x: float = 0, y: float = 0
) -> Iterator[tuple[ElementTree.Element, float, float]]:
    """Every element with the origin of its coordinates: the sum of the translations around it."""
    if "transform" in element.attrib:
        right, down = element.attrib["transform"].removeprefix("translate(").removesuffix(")").split()
        x, y = x + float(right), y + float(down)
    yield element, x, y
    for inner in element:
        yield from _placed(inner, x, y)


def _boxes(diagram: ElementTree.Element) -> Iterator[Rectangle]:
    """The boxes of the layers."""
    for element, x, y in _placed(diagram):
        if element.get("class", "").startswith("box "):
            left, top, width, height = (float(element.attrib[key]) for key in ("x", "y", "width", "height"))
            yield x + left, y + top, x + left + width, y + top + height


def _labels(diagram: ElementTree.Element) -> Iterator[tuple[str, Rectangle]]:
    """The texts, with the approximate area that each covers."""
    for element, x, y in _placed(diagram):
        if element.tag == f"{_SVG}text":
            width = text_width(element.text or "", bold=element.get("class") in ("name", "title"))
            if element.get("class") == "title":
                width *= TITLE_SIZE / TEXT_SIZE
            before = {"start": 0.0, "middle": 0.5, "end": 1.0}[element.get("text-anchor", "start")]
            left, baseline = x + float(element.attrib["x"]) - before * width, y + float(element.attrib["y"])
            yield element.text or "", (left, baseline - 9, left + width, baseline + 3)


def _apart(one: Rectangle, other: Rectangle) -> bool:
    return one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_boxes_and_labels_are_inside_the_canvas_and_do_not_overlap(name: str) -> None:
    diagram = ElementTree.fromstring(svg(NETWORKS[name]()))
    width, height = float(diagram.attrib["width"]), float(diagram.attrib["height"])
    boxes, labels = list(_boxes(diagram)), [area for _, area in _labels(diagram)]
    assert boxes
    for areas in (boxes, labels):
        for number, (left, top, right, bottom) in enumerate(areas):
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            for other in areas[:number]:
                assert _apart((left, top, right, bottom), other), f"{(left, top, right, bottom)} covers {other}"


def _words(net: Network) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(svg(net)).iter(f"{_SVG}text")]


def test_every_layer_of_lenet_is_in_its_diagram() -> None:
    words = _words(NETWORKS["lenet"]())
    assert {"C1", "S2", "C3", "S4", "C5", "F6", "output"} <= set(words)
    assert words.count("sigmoid") == 4
    assert "conv 5\N{MULTIPLICATION SIGN}5, 6, pad 2" in words


def test_equal_blocks_are_drawn_once() -> None:
    words = _words(NETWORKS["resnet50"]())
    times = "\N{MULTIPLICATION SIGN}"
    assert [word for word in words if word.startswith(f"{times} ")] == [f"{times} {count}" for count in (2, 3, 5, 2)]
    assert {"layer1.1 to layer1.2", "layer3.1 to layer3.5"} <= set(words)


def test_names_are_escaped() -> None:
    net = Network("a<b>&c", (1, 8, 8), [Conv("<C>&", 1, 1)])
    assert {"a<b>&c", "<C>&"} <= set(_words(net))


def test_draw_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.svg"
    assert str(path) in output_of(capsys, "--net", "lenet", "--input", "1,40,40", "--draw", str(path))
    assert ElementTree.parse(path).getroot().tag == f"{_SVG}svg"
    assert "input 1\N{MULTIPLICATION SIGN}40" in path.read_text(encoding="utf-8")


# --- the audit --------------------------------------------------------------------------------------------------------

CLAIMS = claims.claims()


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: f"{claim.article} {claim.about}")
def test_a_claim_agrees_or_states_the_reason(claim: claims.Claim) -> None:
    assert claim.agrees == (claim.reason == "")


# The known errors: the values that the articles print, and the true values.
@pytest.mark.parametrize(
    ("article", "printed", "counted"),
    [
        ("000", "4x4, stride 2", "2x2"),
        ("001", "11x11x3x96+96=34848", 34_944),
        ("001", "sum of the table: 60965128", 60_965_224),
        ("001", "512,512,1024", (384, 384, 256)),
        ("001", "16-19", "11 to 19"),
        ("001", "1/12", "1/8.7"),
        ("001", "fewer", "2.11 times"),
        ("001", "Inception v2", "googlenet"),
        ("001", "most", ("96.2 % in alexnet", "89.4 % in vgg16", "14.6 % in googlenet", "8.0 % in resnet50")),
        ("001", "usual", "none"),
        ("002", "8", 7),
        ("002", "S(24-18/4+)=5x", 54),
        ("003", "5*5*48", "5x5x96"),
        ("003", "(3x3x192+1)x192x2=663936", 1_327_488),
        ("003", "(3x3x192+1)x128x2=442624", 884_992),
        ("003", "1000x4096=4096000", 4_097_000),
        ("003", "sum of the text: 61271424", 62_378_344),
        ("004", "(32,32)", "1x28x28"),
    ],
)
def test_a_known_slip_differs_from_the_spec(article: str, printed: str, counted: Value) -> None:
    slips = {(claim.article, claim.printed): claim.counted for claim in CLAIMS if not claim.agrees}
    assert slips[article, printed] == counted


def test_claims_are_compared_with_the_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_groups() -> Network:
        return replace(NETWORKS["alexnet_single"](), name="alexnet")

    monkeypatch.setitem(spec_queries.NETWORKS, "alexnet", without_groups)
    spec_queries._network.cache_clear()
    try:
        wrong = {
            claim.about for claim in claims.claims() if claim.article == "001" and not (claim.agrees or claim.reason)
        }
    finally:
        spec_queries._network.cache_clear()
    assert wrong == {"AlexNet C2, parameters", "AlexNet C4, parameters", "AlexNet C5, parameters"}


@pytest.mark.parametrize("query", ["poem lenet", "layers lenett Conv", "output lenet C9", "window lenet F6"])
def test_a_query_that_names_nothing_is_an_error(query: str) -> None:
    with pytest.raises(KeyError):
        evaluate(query)


def test_the_committed_audit_is_up_to_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output_of(capsys, "--audit", "--out", str(tmp_path / "audit.md"))
    committed = ROOT / "results" / "audit.md"
    assert committed.read_text(encoding="utf-8") == (tmp_path / "audit.md").read_text(encoding="utf-8")


def test_the_audit_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    text = output_of(capsys, "--audit")
    agree = sum(claim.agrees for claim in CLAIMS)
    assert f"{len(CLAIMS)} figures: {agree} agree with the specs; {len(CLAIMS) - agree} do not" in text
    assert len(json.loads(output_of(capsys, "--audit", "--json"))) == len(CLAIMS)
