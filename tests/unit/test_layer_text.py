"""Every kind of layer as pages show it: its text, its place in a diagram and its row in a summary."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.reporting.layer_text import layer_text
from benchmarks.reporting.network_diagrams import ACTIVATIONS, FOLDED, NORMALIZATIONS, OPERATIONS, svg
from benchmarks.reporting.network_summary import COLUMNS, columns, report
from frameworks import spec
from frameworks.networks import NETWORKS
from frameworks.spec import Layer, Network, Shape
from frameworks.spec import activations as activation_layers
from frameworks.spec import normalization as normalization_layers
from frameworks.spec.layers import KINDS

_SVG = "{http://www.w3.org/2000/svg}"
X = "\N{MULTIPLICATION SIGN}"
IMAGE = (8, 12, 12)
SHUFFLE = tuple(group * 8 + place for place in range(8) for group in range(2))

# A layer, the shape of its input, its text.
EXAMPLES: list[tuple[Layer, Shape, str]] = [
    (spec.Conv("c", 6, 5, padding=2), IMAGE, f"conv 5{X}5, 6, pad 2"),
    (spec.Conv("c", 6, (1, 7), 2, (0, 3)), IMAGE, f"conv 1{X}7, 6, stride 2, pad 0{X}3"),
    (spec.Conv("c", 8, 3, groups=2), IMAGE, f"conv 3{X}3, 8, 2 groups"),
    (spec.Conv("c", 8, 3, groups=8), IMAGE, f"depthwise conv 3{X}3, 8"),
    (spec.Conv("c", 16, 3, groups=8), IMAGE, f"depthwise conv 3{X}3, 16"),
    (spec.Conv("c", 4, 3, groups=4), IMAGE, f"conv 3{X}3, 4, 4 groups"),
    (spec.Conv("c", 4, 3), (1, 12, 12), f"conv 3{X}3, 4"),
    (spec.Conv("c", 4, 3, dilation=2), IMAGE, f"conv 3{X}3, 4, dilation 2"),
    (spec.Conv("c", 4, 3, dilation=(1, 2)), IMAGE, f"conv 3{X}3, 4, dilation 1{X}2"),
    (spec.MaxPool("p", 3, 2, padding=1), IMAGE, f"max 3{X}3, stride 2, pad 1"),
    (spec.MaxPool("p", 2, 2, dilation=2), IMAGE, f"max 2{X}2, dilation 2"),
    (spec.AvgPool("p", 2, 2), IMAGE, f"mean 2{X}2"),
    (spec.AvgPool("p", 3, 2, ceil=True), IMAGE, f"mean 3{X}3, stride 2, rounded up"),
    (
        spec.AvgPool("p", 3, 1, padding=1, count_padding=False),
        IMAGE,
        f"mean 3{X}3, stride 1, pad 1, padding not counted",
    ),
    (spec.GlobalAvgPool("g"), IMAGE, "mean of each map"),
    (spec.AdaptiveAvgPool("a", 7, 5), IMAGE, f"mean, 7{X}5 windows"),
    (spec.Pad("p", ((0, 1), (0, 1))), IMAGE, "pad 0:1"),
    (spec.Pad("p", (0, 3), -1.5), IMAGE, f"pad 0{X}3 with -1.5"),
    (spec.Dense("d", 10), (8,), "dense, 10"),
    (spec.BatchNorm("b"), IMAGE, "batch norm"),
    (spec.LayerNorm("l"), IMAGE, "layer norm"),
    (spec.GroupNorm("n", 4), IMAGE, "group norm, 4 groups"),
    (spec.InstanceNorm("i"), IMAGE, "instance norm"),
    (spec.Affine("a"), IMAGE, "coefficient, bias"),
    (spec.Affine("a", beta=False), IMAGE, "coefficient"),
    (spec.LocalResponseNorm("r", 5), IMAGE, "response norm 5"),
    (spec.Dropout(rate=0.3), IMAGE, "dropout 0.3"),
    (spec.StochasticDepth(rate=0.2), IMAGE, "stochastic depth 0.2"),
    (spec.ReLU(), IMAGE, "relu"),
    (spec.ReLU6(), IMAGE, "relu6"),
    (spec.LeakyReLU(slope=0.1), IMAGE, "leaky relu 0.1"),
    (spec.PReLU("p"), IMAGE, "prelu"),
    (spec.ELU(), IMAGE, "elu 1"),
    (spec.SELU(), IMAGE, "selu"),
    (spec.Sigmoid(), IMAGE, "sigmoid"),
    (spec.HardSigmoid(), IMAGE, "hard sigmoid, slope 0.167"),
    (spec.HardSigmoid(slope=0.2), IMAGE, "hard sigmoid, slope 0.2"),
    (spec.Tanh(), IMAGE, "tanh"),
    (spec.SiLU(), IMAGE, "silu"),
    (spec.HardSwish(), IMAGE, "hard swish"),
    (spec.GELU(), IMAGE, "gelu"),
    (spec.GELU(approximate=True), IMAGE, "gelu (tanh form)"),
    (spec.Softplus(), IMAGE, "softplus"),
    (spec.Mish(), IMAGE, "mish"),
    (spec.Flatten(), IMAGE, "flatten"),
    (spec.Scale(factor=0.125), IMAGE, f"{X} 0.125"),
    (spec.Normalize(), IMAGE, "normalize"),
    (spec.Resize("r", 7, 5), IMAGE, f"linear resize to 7{X}5"),
    (
        spec.Resize("r", 7, 7, "nearest", "aligned_corners"),
        IMAGE,
        f"nearest resize to 7{X}7, aligned corners",
    ),
    (spec.Select("s", (0, 3, 5)), IMAGE, "maps 0 3 5"),
    (spec.Select("s", (2, None)), IMAGE, "maps 2 zero"),
    (spec.Select("s", (*range(12), *(None,) * 4)), (16, 4, 4), "maps 0 to 11, 4 zeros"),
    (spec.Select("s", (0, *range(4, 12))), (16, 4, 4), "maps 0, 4 to 11"),
    (spec.Select("s", SHUFFLE), (16, 4, 4), "shuffle, 2 groups"),
    (spec.Select("s", (*SHUFFLE[:-2], SHUFFLE[-1], SHUFFLE[-2])), (16, 4, 4), "16 maps of 16, reordered"),
    (spec.Select("s", (*range(0, 16, 2), None)), (16, 4, 4), "8 maps of 16, 1 zero, reordered"),
    (spec.Concat("j", [[], [spec.ReLU()]]), IMAGE, "concat"),
    (spec.Add("j", [[], [spec.ReLU()]]), IMAGE, "add"),
    (spec.Multiply("j", [[], [spec.Sigmoid()]]), IMAGE, "multiply"),
    (spec.Residual("j", [spec.ReLU()]), IMAGE, "residual"),
    (
        spec.Auxiliary("j", [spec.Flatten(), spec.Dense("d", 8 * 12 * 12)]),
        IMAGE,
        "auxiliary",
    ),
]
JOINS = [(layer, shape) for layer, shape, _ in EXAMPLES if layer.branches()]


def test_there_is_an_example_of_every_kind() -> None:
    assert {layer.kind for layer, _, _ in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize(("layer", "shape", "text"), EXAMPLES)
def test_the_text_of_a_layer(layer: Layer, shape: Shape, text: str) -> None:
    assert layer_text(layer, shape) == text


@pytest.mark.parametrize(("layer", "shape", "text"), EXAMPLES)
def test_a_diagram_shows_the_text_once(layer: Layer, shape: Shape, text: str) -> None:
    """In the box of the layer before it where it is folded, in a box of its own where it is not."""
    diagram = ElementTree.fromstring(svg(Network("net", shape, [spec.Scale("before", factor=0.75), layer])))
    words = [word for element in diagram.iter(f"{_SVG}text") for word in (element.text or "").split(" · ")]
    if layer.branches():
        operation = f"loss {X} 0.3 in training" if layer.kind == "Auxiliary" else OPERATIONS[type(layer)]
        assert words.count(operation) == 1
    else:
        boxes = [element for element in diagram.iter(f"{_SVG}rect") if element.get("class", "").startswith("box ")]
        assert words.count(text) == 1
        assert len(boxes) == (1 if isinstance(layer, FOLDED) else 2)


def test_activations_and_normalizations_of_the_spec_are_folded() -> None:
    def defined_in(module: str) -> set[type[Layer]]:
        return {kind for kind in KINDS.values() if kind.__module__ == module}

    assert set(ACTIVATIONS) == defined_in(activation_layers.__name__)
    assert set(NORMALIZATIONS) == defined_in(normalization_layers.__name__)
    assert set(OPERATIONS) == {type(layer) for layer, _ in JOINS} - {spec.Auxiliary}


@pytest.mark.parametrize(
    ("kind", "operation"), [(spec.Residual, "+"), (spec.Add, "+"), (spec.Multiply, X), (spec.Concat, "join")]
)
def test_the_operation_of_a_join(kind: type[Layer], operation: str) -> None:
    assert OPERATIONS[kind] == operation


# --- the place of an identity -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
def test_the_identity_stands_beside_the_axis_on_its_side(order: int) -> None:
    chains: list[list[Layer]] = [[], [spec.Conv("gate", 8, 1), spec.Sigmoid()]]
    net = Network("net", IMAGE, [spec.Multiply("se", chains[:: -1 if order else 1])])
    diagram = ElementTree.fromstring(svg(net))
    axis = max(x for x, _ in _corners(diagram)) + min(x for x, _ in _corners(diagram))
    assert (axis < 0) == (order == 0), "the identity reaches to the left if it comes first"


def test_the_branches_of_joins_without_an_identity_are_centered() -> None:
    chains: list[list[Layer]] = [[spec.Conv("left", 8, 1)], [spec.Conv("right", 8, 1)]]
    corners = _corners(ElementTree.fromstring(svg(Network("net", IMAGE, [spec.Add("sum", chains)]))))
    assert abs(max(x for x, _ in corners) + min(x for x, _ in corners)) < 10


# --- summaries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "shape"), JOINS)
def test_empty_chains_are_identities_in_a_summary(layer: Layer, shape: Shape) -> None:
    _, rows = columns(Network("net", shape, [layer]))
    identities = [row[0] for row in rows if row[0].endswith(" identity")]
    assert len(identities) == sum(not chain for chain in layer.branches())


def test_the_dilation_is_a_column_where_a_layer_has_it() -> None:
    plain, dilated = (Network("net", IMAGE, [spec.Conv("c", 8, 3, dilation=gap)]) for gap in (1, 2))
    assert "dilation" not in columns(plain)[0]
    head, rows = columns(dilated)
    assert head == COLUMNS
    assert dict(zip(head, rows[0]))["dilation"] == "2"
    assert {len(row) for row in rows} == {len(head)}


@pytest.mark.parametrize(
    ("layer", "cells"),
    [
        (spec.Pad("p", ((0, 1), (2, 2))), {"padding": "0:1x2", "kernel": "", "groups": ""}),
        (spec.GroupNorm("n", 4), {"groups": "4", "padding": ""}),
        (spec.Conv("c", 8, 3, groups=8), {"groups": "8", "kernel": "3x3"}),
        (spec.StochasticDepth(rate=0.1), {"kind": "StochasticDepth"}),
    ],
)
def test_the_arguments_of_a_layer_in_a_summary(layer: Layer, cells: dict[str, str]) -> None:
    head, rows = columns(Network("net", IMAGE, [layer]))
    row = dict(zip(head, rows[0]))
    assert {name: row[name] for name in cells} == cells


@pytest.mark.parametrize(
    "name", ["cifar_efficientnet_b0", "cifar_dla", "cifar_dpn26", "cifar_shufflenet_v2_1", "cifar_pnasnet_b"]
)
def test_a_summary_fits_eighty_columns(name: str) -> None:
    lines = report(NETWORKS[name](), "table", 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("total") for line in lines) == 1


def _corners(diagram: ElementTree.Element) -> list[tuple[float, float]]:
    """The ends of all lines, from the axis of the piece that they belong to."""
    lines = diagram.iter(f"{_SVG}polyline")
    ends = [point.split(",") for line in lines for point in line.attrib["points"].split()]
    return [(float(x), float(y)) for x, y in ends]
