"""Graphs by hand become nested chains of layers."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from benchmarks.porting.array_builder import short_padding
from benchmarks.porting.graphs import Builder, Graph, Value
from benchmarks.porting.structure import Structure
from benchmarks.runtime.errors import BadInput
from frameworks.spec import (
    Add,
    Affine,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    HardSwish,
    Layer,
    MaxPool,
    Multiply,
    Network,
    Normalize,
    ReLU,
    ReLU6,
    Residual,
    Scale,
    Select,
    Sigmoid,
    SiLU,
    StochasticDepth,
    sides,
)

INPUT = (4, 6, 6)


class Drawing:
    """Builds a graph by one letter for each layer: a convolution of four maps that has this name."""

    def __init__(self) -> None:
        self.builder = Builder(INPUT)
        self.start = self.builder.start

    def conv(self, name: str, value: Value) -> Value:
        return self.builder.layer(value, Conv(name, 4, 1), where=name, node=name)

    def join(self, kind: Any, *values: Value) -> Value:
        return self.builder.join(kind, values, "join")

    def graph(self, output: Value, *heads: Value) -> Graph:
        return self.builder.graph(output, heads)


@pytest.fixture
def draw() -> Drawing:
    return Drawing()


def conv(name: str) -> Conv:
    return Conv(name, 4, 1)


def test_a_chain(draw: Drawing) -> None:
    out = draw.conv("b", draw.conv("a", draw.start))
    structure = Structure(draw.graph(out))
    assert structure.layers == [conv("a"), conv("b")]
    assert [structure.origins[id(layer)][1] for layer in structure.layers] == ["a", "b"]


def test_a_fork_and_its_join(draw: Drawing) -> None:
    x = draw.conv("a", draw.start)
    out = draw.conv("d", draw.join(Concat, draw.conv("b", x), x, draw.conv("c", x)))
    assert Structure(draw.graph(out)).layers == [conv("a"), Concat("", [[conv("b")], [], [conv("c")]]), conv("d")]


def test_a_join_inside_a_branch(draw: Drawing) -> None:
    x = draw.start
    inner = draw.conv("b", x)
    branch = draw.join(Concat, draw.conv("c", inner), draw.conv("d", inner))
    out = draw.join(Concat, draw.conv("a", x), branch)
    nested = Concat("", [[conv("a")], [conv("b"), Concat("", [[conv("c")], [conv("d")]])]])
    assert Structure(draw.graph(out)).layers == [nested]


@pytest.mark.parametrize("kind", [Concat, Add])
def test_branches_that_share_their_start_are_a_join_of_their_own(draw: Drawing, kind: Any) -> None:
    """Inception's concatenation of four tensors, two of which come from one layer."""
    x = draw.start
    shared = draw.conv("b", x)
    out = draw.join(kind, draw.conv("a", x), draw.conv("c", shared), draw.conv("d", shared))
    nested = [conv("b"), kind("", [[conv("c")], [conv("d")]])]
    expected = Concat("", [[conv("a")], nested]) if kind is Concat else Residual("", nested, [conv("a")])
    assert Structure(draw.graph(out)).layers == [expected]


def test_sums_of_sums_are_one(draw: Drawing) -> None:
    x = draw.start
    out = draw.join(Add, draw.join(Add, draw.conv("a", x), draw.conv("b", x)), draw.conv("c", x))
    assert Structure(draw.graph(out)).layers == [Add("", [[conv("a")], [conv("b")], [conv("c")]])]


@pytest.mark.parametrize("first", [True, False])
def test_a_residual_block(draw: Drawing, first: bool) -> None:
    """The shortcut is the shorter branch, whichever is added to the other."""
    body = draw.conv("b", draw.conv("a", draw.start))
    shortcut = draw.builder.layer(draw.conv("s", draw.start), BatchNorm("n"), where="", node="n")
    body = draw.conv("c", body)
    out = draw.join(Add, *((body, shortcut) if first else (shortcut, body)))
    block = Residual("", [conv("a"), conv("b"), conv("c")], [conv("s"), BatchNorm("n")])
    assert Structure(draw.graph(out)).layers == [block]
    assert Structure(draw.graph(draw.join(Add, body, draw.start))).layers == [
        Residual("", [conv("a"), conv("b"), conv("c")])
    ]


def test_dense_connections(draw: Drawing) -> None:
    """DenseNet joins all features before it again and again."""
    features = [draw.start]
    for name in "abc":
        features.append(draw.conv(name, draw.join(Concat, *features) if len(features) > 1 else features[0]))
    layers = [Concat("", [[], [conv(name)]]) for name in "abc"]
    assert Structure(draw.graph(draw.join(Concat, *features))).layers == layers


def maps(value: Value, begin: int, end: int) -> Value:
    return value.moved(lambda index: index[begin:end])


@pytest.mark.parametrize("projected", [True, False])
def test_a_sum_of_some_maps_beside_the_others(draw: Drawing, projected: bool) -> None:
    """Dual path networks (Chen et al. 2017): both outputs are in the sum and beside it, which no branches express."""
    shortcut = draw.conv("s", draw.start) if projected else draw.start
    body = draw.conv("b", draw.conv("a", draw.start))
    summed = draw.join(Add, maps(shortcut, 0, 3), maps(body, 0, 3))
    out = draw.join(Concat, summed, maps(shortcut, 3, 4), maps(body, 3, 4))
    zeros = [Select("", (0, 1, 2, 3, None))]
    block = Residual("", [conv("a"), conv("b"), Select("", (0, 1, 2, None, 3))], [conv("s")] * projected + zeros)
    assert Structure(draw.graph(out)).layers == [block]


def test_a_sum_beside_its_summands(draw: Drawing) -> None:
    a, b = draw.conv("a", draw.start), draw.conv("b", draw.start)
    out = draw.join(Concat, a, draw.join(Add, a, maps(b, 0, 4)), b)
    left = [conv("a"), Select("", (0, 1, 2, 3, 0, 1, 2, 3, *(None,) * 4))]
    right = [conv("b"), Select("", (*(None,) * 4, 0, 1, 2, 3, 0, 1, 2, 3))]
    assert Structure(draw.graph(out)).layers == [Add("", [left, right])]


def test_a_sum_beside_what_it_comes_from_is_a_branch(draw: Drawing) -> None:
    x = draw.conv("a", draw.start)
    out = draw.join(Concat, draw.conv("b", draw.start), x, draw.join(Add, draw.conv("c", x), x))
    nested = [conv("a"), Concat("", [[], [Residual("", [conv("c")])]])]
    assert Structure(draw.graph(out)).layers == [Concat("", [[conv("b")], nested])]


def test_a_sum_with_one_output_twice_beside_it(draw: Drawing) -> None:
    a, b = draw.conv("a", draw.start), draw.conv("b", draw.start)
    out = draw.join(Concat, draw.join(Add, draw.join(Add, a, b), a), b)
    with pytest.raises(BadInput, match="no nested form"):
        Structure(draw.graph(out))


def test_squeeze_and_excitation_with_dense_layers(draw: Drawing) -> None:
    """Dense layers between a flat and a C x 1 x 1 form are 1 x 1 convolutions, whose weights have the same values."""
    x = draw.conv("a", draw.start)
    pooled = draw.builder.layer(x, GlobalAvgPool(), where="pool")
    flat = draw.builder.layer(pooled.moved(np.ravel), Dense("f", 2), where="f")
    flat = draw.builder.layer(flat, ReLU(), Dense("g", 4), Sigmoid(), where="g")
    out = draw.join(Multiply, x, flat.moved(lambda index: index.reshape(4, 1, 1)))
    chain: list[Layer] = [GlobalAvgPool(), Conv("f", 2, 1), ReLU(), Conv("g", 4, 1), Sigmoid()]
    assert Structure(draw.graph(out)).layers == [conv("a"), Multiply("", [[], chain])]


def test_values_of_one_image_are_not_made_an_image(draw: Drawing) -> None:
    flat = draw.builder.layer(draw.start.moved(np.ravel), Dense("f", 4), where="f")
    with pytest.raises(BadInput, match=r"no layer for an image of flat values .*larger image"):
        draw.join(Multiply, draw.start, flat.moved(lambda index: index.reshape(4, 1, 1)))


def test_a_shuffle_is_a_selection_of_channels(draw: Drawing) -> None:
    x = draw.conv("a", draw.start)
    split = x.moved(lambda index: index.reshape(2, 2, 6, 6)).moved(lambda index: index.swapaxes(0, 1))
    out = draw.conv("b", split.moved(lambda index: index.reshape(4, 6, 6)))
    assert Structure(draw.graph(out)).layers == [conv("a"), Select("", (0, 2, 1, 3)), conv("b")]


def test_flat_values(draw: Drawing) -> None:
    out = draw.builder.layer(draw.start.moved(np.ravel), Dense("f", 10), where="f")
    assert Structure(draw.graph(out)).layers == [Flatten(), Dense("f", 10)]


def test_channels_last(draw: Drawing) -> None:
    """Values with their channels last go through layers and come back without a layer of their own."""
    last = draw.conv("a", draw.start).moved(lambda index: index.transpose(1, 2, 0))
    last = draw.builder.layer(last, conv("b"), where="b")
    assert last.shape == (6, 6, 4)
    out = draw.conv("c", last.moved(lambda index: index.transpose(2, 0, 1)))
    assert Structure(draw.graph(out)).layers == [conv("a"), conv("b"), conv("c")]


@pytest.mark.parametrize(
    "change",
    [lambda i: i.transpose(0, 2, 1), lambda i: i[:, ::-1], lambda i: i[:, 1:, 1:], lambda i: i[:, :, :3]],
    ids=["transposed", "upside down", "cropped", "half"],
)
def test_an_order_that_no_layer_gives(draw: Drawing, change: Any) -> None:
    with pytest.raises(BadInput, match="no layer for this order of values"):
        draw.conv("a", draw.start.moved(change))


def test_auxiliary_classifiers(draw: Drawing) -> None:
    """They start where the main network passes last; their own names are short."""
    x = draw.conv("a", draw.start)
    head = draw.builder.layer(draw.conv("aux.conv", x).moved(np.ravel), Dense("aux.fc", 10), where="")
    out = draw.builder.layer(draw.conv("b", x).moved(np.ravel), Dense("fc", 10), where="")
    layers = Structure(draw.graph(out, head)).layers
    auxiliary = Auxiliary("aux", [conv("conv"), Flatten(), Dense("fc", 10)])
    assert layers == [conv("a"), auxiliary, conv("b"), Flatten(), Dense("fc", 10)]
    assert {each.name for each in Network("net", INPUT, layers).parameters} >= {"aux.conv.weight", "aux.fc.bias"}


def test_branches_that_no_nested_form_has(draw: Drawing) -> None:
    x = draw.start
    a, b = draw.conv("a", x), draw.conv("b", x)
    left = draw.join(Add, a, draw.conv("c", draw.join(Add, a, b)))
    out = draw.join(Multiply, left, draw.join(Add, b, draw.conv("d", b)))
    with pytest.raises(BadInput, match="no nested form for a"):
        Structure(draw.graph(out))


def test_maps_of_a_shared_branch_apart_from_each_other(draw: Drawing) -> None:
    """The concatenation has other maps between them, so a selection brings them into its order."""
    shared = draw.conv("a", draw.start)
    parts = draw.conv("b", shared), draw.conv("c", draw.start), draw.conv("d", shared)
    layers = Structure(draw.graph(draw.join(Concat, *parts))).layers
    branches = [[conv("a"), Concat("", [[conv("b")], [conv("d")]])], [conv("c")]]
    assert layers == [Concat("", branches), Select("", (*range(4), *range(8, 12), *range(4, 8)))]


def test_the_input_of_a_branch_between_its_maps(draw: Drawing) -> None:
    """As in deep layer aggregation: a stage, its input, and the stage before it."""
    first = draw.conv("a", draw.start)
    second = draw.conv("b", first)
    layers = Structure(draw.graph(draw.join(Concat, second, draw.start, first))).layers
    branches = [[conv("a"), Concat("", [[conv("b")], []])], []]
    assert layers == [Concat("", branches), Select("", (*range(4), *range(8, 12), *range(4, 8)))]


def test_a_layer_without_arrays_that_two_branches_use(draw: Drawing) -> None:
    """A maximum that a projection and a later concatenation take is computed in both branches."""
    pooled = draw.builder.layer(draw.start, MaxPool("pool", 3, 1, 1), where="pool")
    inner = draw.join(Add, draw.conv("a", draw.start), draw.conv("b", pooled))
    layers = Structure(draw.graph(draw.join(Concat, inner, pooled))).layers
    sums = Add("", [[conv("a")], [MaxPool("pool", 3, 1, 1), conv("b")]])
    assert layers == [Concat("", [[sums], [MaxPool("", 3, 1, 1)]])]
    assert Network("net", INPUT, [*layers, Flatten(), Dense("fc", 2)]).params


@pytest.mark.parametrize("layer", [Dropout(rate=0.5), StochasticDepth(rate=0.5), BatchNorm("pool"), Affine("pool")])
def test_a_layer_that_two_branches_cannot_both_have(draw: Drawing, layer: Layer) -> None:
    """Its arrays would be two, or what it draws."""
    used = draw.builder.layer(draw.start, layer, where="pool")
    inner = draw.join(Add, draw.conv("a", draw.start), draw.conv("b", used))
    with pytest.raises(BadInput, match="no nested form for pool: two branches use it"):
        Structure(draw.graph(draw.join(Concat, inner, used)))


def test_a_layer_that_is_called_twice(draw: Drawing) -> None:
    with pytest.raises(BadInput, match=r"the layer a is called twice \(a\)"):
        draw.conv("a", draw.conv("a", draw.start))


def test_shapes_are_checked(draw: Drawing) -> None:
    with pytest.raises(BadInput, match=r"no layer for Add \(join\): branches give 4x6x6, 2x6x6"):
        draw.join(Add, draw.start, draw.builder.layer(draw.start, Conv("a", 2, 1), where="a"))


def test_activations_as_arithmetic(draw: Drawing) -> None:
    x = draw.start
    hard = draw.builder.layer(x, Normalize(mean=(-3.0,)), ReLU6(), Scale(factor=1 / 6), where="")
    y = draw.join(Multiply, x, hard)
    out = draw.join(Multiply, draw.builder.layer(y, Sigmoid(), where=""), y)
    assert Structure(draw.graph(out)).layers == [HardSwish(), SiLU()]
    tripled = draw.join(Multiply, out, draw.builder.layer(out, Normalize(mean=(-3.0,)), ReLU6(), where=""))
    sixth = draw.builder.layer(tripled, Scale(factor=1 / 6), where="")
    assert Structure(draw.graph(sixth)).layers == [HardSwish(), SiLU(), HardSwish()]


def test_a_name_that_a_nameless_layer_takes(draw: Drawing) -> None:
    """A nameless mean in a branch is called avgpool, so what the file calls so after it is nameless, too."""
    branch = draw.builder.layer(draw.start, AvgPool("", 3, 1, padding=1), where="")
    mean = draw.builder.layer(draw.join(Concat, draw.start, branch), MaxPool("avgpool2", 2, 2), where="")
    out = draw.builder.layer(mean, GlobalAvgPool("avgpool"), where="")
    layers = Structure(draw.graph(out)).layers
    paths = [node.path for _, node in Network("net", INPUT, layers).walk()]
    assert paths == ["concat", "avgpool", "maxpool", "globalavgpool"]


def test_a_layer_with_arrays_keeps_a_name_that_a_nameless_layer_takes(draw: Drawing) -> None:
    """A nameless product with a number is called scale, and so is a trained one of the file."""
    number = draw.builder.layer(draw.start, Scale(factor=0.5), where="")
    out = draw.builder.layer(number, Affine("scale"), Scale(factor=2.0), where="")
    paths = [node.path for _, node in Network("net", INPUT, Structure(draw.graph(out)).layers).walk()]
    assert paths == ["scale_1", "scale", "scale_2"]


@pytest.mark.parametrize("around", list(product(range(3), repeat=4)))
def test_the_short_form_of_a_padding_is_the_padding(around: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = around
    assert sides(short_padding(((top, bottom), (left, right)))) == ((top, bottom), (left, right))
