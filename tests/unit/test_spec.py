"""The spec: shapes, counts, names, errors, JSON. Every expected value is computed by hand."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace

import pytest

from frameworks.networks import NETWORKS
from frameworks.spec import (
    ELU,
    GELU,
    SELU,
    AdaptiveAvgPool,
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
    GroupNorm,
    HardSigmoid,
    HardSwish,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool,
    Mish,
    Multiply,
    Network,
    Normalize,
    Pad,
    PReLU,
    ReLU,
    ReLU6,
    Residual,
    Resize,
    Scale,
    Select,
    Shape,
    Sigmoid,
    SiLU,
    Softplus,
    SpecError,
    StochasticDepth,
    Tanh,
    from_json,
    same,
    to_json,
)
from frameworks.spec.layers import KINDS


def network_of(*layers: Layer, input: Shape = (3, 32, 32)) -> Network:
    return Network("net", input, layers)


@pytest.mark.parametrize(
    ("layer", "output", "parameters", "macs"),
    [
        (Conv("c", 8, 5), (8, 28, 28), 8 * 3 * 25 + 8, 8 * 28 * 28 * 75),
        (Conv("c", 8, 5, bias=False), (8, 28, 28), 8 * 3 * 25, 8 * 28 * 28 * 75),
        (Conv("c", 8, 5, padding=2), (8, 32, 32), 608, 8 * 32 * 32 * 75),
        (Conv("c", 8, 3, 2), (8, 15, 15), 8 * 27 + 8, 8 * 15 * 15 * 27),
        (Conv("c", 8, 3, 2, padding=1), (8, 16, 16), 224, 8 * 16 * 16 * 27),
        (Conv("c", 8, (1, 7), padding=(0, 3)), (8, 32, 32), 8 * 21 + 8, 8 * 32 * 32 * 21),
        (Conv("c", 8, (7, 1)), (8, 26, 32), 176, 8 * 26 * 32 * 21),
        (Conv("c", 8, 3, (2, 1)), (8, 15, 30), 224, 8 * 15 * 30 * 27),
        (Conv("c", 8, 4, padding=((0, 1), (2, 1))), (8, 30, 32), 8 * 48 + 8, 8 * 30 * 32 * 48),
        (Conv("c", 6, 3, groups=3), (6, 30, 30), 6 * 9 + 6, 6 * 30 * 30 * 9),
        (MaxPool("p", 2, 2), (3, 16, 16), 0, 0),
        (MaxPool("p", 3, 2), (3, 15, 15), 0, 0),
        (MaxPool("p", 3, 2, padding=1), (3, 16, 16), 0, 0),
        (AvgPool("p", (2, 4), (2, 4)), (3, 16, 8), 0, 0),
        (GlobalAvgPool(), (3, 1, 1), 0, 0),
        (Resize("r", 20, 40), (3, 20, 40), 0, 0),
        (Flatten(), (3072,), 0, 0),
        (BatchNorm("b"), (3, 32, 32), 6, 0),
        (BatchNorm("b", gamma=False), (3, 32, 32), 3, 0),
        (Affine("a"), (3, 32, 32), 6, 0),
        (Select("s", (2, 0)), (2, 32, 32), 0, 0),
        (Normalize(mean=(0.1, 0.2, 0.3), std=(0.5,)), (3, 32, 32), 0, 0),
        (Concat("c", [[Conv("a", 4, 1)], [], [Conv("b", 5, 1)]]), (12, 32, 32), 4 * 4 + 5 * 4, 9 * 1024 * 3),
        (Residual("r", [Conv("a", 3, 3, padding=1)]), (3, 32, 32), 84, 3 * 1024 * 27),
        (Residual("r", [Conv("a", 6, 1)], [Conv("b", 6, 1)]), (6, 32, 32), 48, 2 * 6 * 1024 * 3),
        (Conv("c", 8, 3, dilation=2), (8, 28, 28), 224, 8 * 28 * 28 * 27),
        (Conv("c", 8, 3, 2, 2, dilation=(1, 3)), (8, 17, 15), 224, 8 * 17 * 15 * 27),
        (MaxPool("p", 3, 2, 1, dilation=2), (3, 15, 15), 0, 0),
        (MaxPool("p", 2, 3, ceil=True, dilation=2), (3, 11, 11), 0, 0),
        (AvgPool("p", 3, 2, ceil=True), (3, 16, 16), 0, 0),
        (AvgPool("p", 3, 3, 1, ceil=True), (3, 11, 11), 0, 0),
        (AdaptiveAvgPool("p", 7, 40), (3, 7, 40), 0, 0),
        (Pad("p", ((1, 2), (0, 3)), 0.5), (3, 35, 35), 0, 0),
        (Resize("r", 20, 40, "nearest", "asymmetric"), (3, 20, 40), 0, 0),
        (LayerNorm("n"), (3, 32, 32), 6, 0),
        (LayerNorm("n", beta=False), (3, 32, 32), 3, 0),
        (GroupNorm("n", 3), (3, 32, 32), 6, 0),
        (GroupNorm("n", 1, gamma=False, beta=False), (3, 32, 32), 0, 0),
        (InstanceNorm("n", gamma=False), (3, 32, 32), 3, 0),
        (Affine("a", beta=False), (3, 32, 32), 3, 0),
        (PReLU("a"), (3, 32, 32), 3, 0),
        (LeakyReLU(), (3, 32, 32), 0, 0),
        (StochasticDepth(rate=0.1), (3, 32, 32), 0, 0),
        (Select("s", (2, None, 0, None)), (4, 32, 32), 0, 0),
        (Add("j", [[Conv("a", 4, 1)], [Conv("b", 4, 1)], [Conv("c", 4, 1)]]), (4, 32, 32), 48, 3 * 4 * 1024 * 3),
        (Multiply("j", [[], [GlobalAvgPool(), Conv("a", 3, 1)]]), (3, 32, 32), 12, 9),
        (Multiply("j", [[GlobalAvgPool(), Conv("a", 3, 1)], []]), (3, 32, 32), 12, 9),
    ],
    ids=lambda value: repr(value) if isinstance(value, Layer) else None,
)
def test_a_layer(layer: Layer, output: Shape, parameters: int, macs: int) -> None:
    net = network_of(layer)
    assert (net.output, net.params, net.macs) == (output, parameters, macs)


def test_a_dense_layer() -> None:
    net = network_of(Dense("d", 7), input=(5,))
    assert (net.output, net.params, net.macs, net.classes) == ((7,), 42, 35, 7)


def test_buffers_are_counted_separately() -> None:
    net = network_of(BatchNorm("b"))
    assert (net.params, net.buffers) == (6, 6)
    assert [parameter.name for parameter in net.parameters] == [
        *("b.gamma", "b.beta", "b.running_mean", "b.running_var"),
    ]


# Sizes of torch.nn.MaxPool2d(ceil_mode=True), then the padding of the spec at the bottom and the right.
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "windows", "after"),
    [
        (112, 3, 2, 0, 56, 1),
        (111, 3, 2, 0, 55, 0),
        (8, 2, 2, 0, 4, 0),
        (7, 2, 2, 0, 4, 1),
        (2, 3, 2, 0, 1, 1),
        (5, 3, 3, 1, 2, 1),  # a third window would start in the padding: it is dropped
        (6, 3, 3, 1, 3, 2),
        (14, 3, 1, 1, 14, 1),
        (10, 3, 4, 0, 3, 1),
    ],
)
def test_ceil_mode_becomes_padding(size: int, kernel: int, stride: int, padding: int, windows: int, after: int) -> None:
    net = network_of(MaxPool("p", kernel, stride, padding, ceil=True), input=(1, size, size))
    assert net.output == (1, windows, windows)
    pool = net.nodes[0].layer
    assert isinstance(pool, MaxPool)
    assert (pool.ceil, pool.padding) == (False, ((padding, after), (padding, after)))
    assert pool.output((1, size, size)) == net.output, "padding alone gives the same windows"


def test_ceil_mode_differs_by_direction() -> None:
    pool = network_of(MaxPool("p", 2, 2, ceil=True), input=(1, 4, 5)).nodes[0].layer
    assert isinstance(pool, MaxPool)
    assert pool.padding == ((0, 0), (0, 1))


# --- padding that keeps the size --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "stride", "size", "upper"),
    [
        (3, 1, 224, (1, 1)),
        (3, 2, 224, (0, 1)),
        (3, 2, 225, (1, 1)),
        (2, 1, 5, (0, 1)),
        (7, 2, 224, (2, 3)),
        (5, 3, 7, (2, 2)),  # three windows reach over 11 pixels
        (5, 3, 8, (1, 2)),
        (1, 2, 9, (0, 0)),
        (2, 3, 9, (0, 0)),  # the windows leave pixels out
    ],
)
def test_the_padding_that_keeps_the_size(kernel: int, stride: int, size: int, upper: tuple[int, int]) -> None:
    assert same(kernel, stride, size) == (upper, upper)
    assert same(kernel, stride, size, lower=True) == (upper[::-1], upper[::-1])
    conv = Conv("c", 1, kernel, stride, same(kernel, stride, size))
    assert network_of(conv, input=(1, size, size)).output == (1, -(-size // stride), -(-size // stride))


def test_the_padding_that_keeps_the_size_by_direction_and_dilation() -> None:
    assert same((3, 2), (2, 1), (8, 5)) == ((0, 1), (0, 1))
    assert same(3, 1, 9, dilation=2) == ((2, 2), (2, 2))
    assert same(3, 1, 9, dilation=(1, 3)) == ((1, 1), (3, 3))
    assert network_of(Conv("c", 1, 3, 1, same(3, 1, 9, dilation=3), dilation=3), input=(1, 9, 9)).output == (1, 9, 9)


@pytest.mark.parametrize("kernel", range(1, 6))
@pytest.mark.parametrize("stride", range(1, 5))
def test_the_padding_that_keeps_the_size_is_tensorflows(kernel: int, stride: int) -> None:
    """The rule of tf.nn.convolution, written with the remainder as TensorFlow's documentation has it."""
    for size in range(1, 20):
        rest = size % stride
        total = max(kernel - (stride if rest == 0 else rest), 0)
        assert same(kernel, stride, size)[0] == (total // 2, total - total // 2)


# --- names ------------------------------------------------------------------------------------------------------------


def test_unnamed_layers_are_named_after_the_previous_layer() -> None:
    net = network_of(
        Scale(), Conv("C1", 4, 3), ReLU(), ReLU(), MaxPool("P1", 2, 2), Flatten(), Dropout(), Dense("F", 2)
    )
    names = [node.path for _, node in net.walk()]
    assert names == ["scale", "C1", "C1_relu", "C1_relu2", "P1", "P1_flatten", "P1_dropout", "F"]


def test_names_of_inner_layers_have_the_name_of_the_outer_layer() -> None:
    net = network_of(Residual("layer1.0", [Conv("conv1", 3, 1), ReLU()], [Conv("downsample.0", 3, 1)]), ReLU())
    paths = [(depth, node.path) for depth, node in net.walk()]
    assert paths == [
        (0, "layer1.0"),
        *((1, f"layer1.0.{name}") for name in ("conv1", "conv1_relu", "downsample.0")),
        (0, "layer1.0_relu"),
    ]


def test_an_unnamed_join_adds_no_prefix() -> None:
    inner = Concat("", [[Conv("2a", 1, 1)], [Conv("2b", 1, 1)]])
    net = network_of(Concat("mixed", [[Conv("1", 4, 1), inner], [Conv("pool", 2, 1)]]))
    names = [parameter.name for parameter in net.parameters if parameter.role == "weight"]
    assert names == ["mixed.1.weight", "mixed.2a.weight", "mixed.2b.weight", "mixed.pool.weight"]


def test_the_first_two_fans_of_a_weight() -> None:
    weight = network_of(Conv("c", 8, 5)).nodes[0].parameter("weight")
    assert weight.fans == (75, 200)
    with pytest.raises(KeyError, match="c has no gamma"):
        network_of(Conv("c", 8, 5)).nodes[0].parameter("gamma")


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv("C1", 6, 5, out=(6, 32, 32))], "net.C1: 3x32x32 gives 6x28x28, the paper says 6x32x32"),
        ([Conv("C1", 6, 3, groups=2)], "net.C1: 3 and 6 channels do not divide into 2 groups"),
        ([Conv("C1", 8, 3, groups=3)], "net.C1: 3 and 8 channels do not divide into 3 groups"),
        ([Conv("C1", 8, 3, stride=0)], "net.C1: stride is 0; it is a whole number from 1 to .*"),
        ([Conv("C1", 8, (3, 0))], r"net.C1: kernel is \(3, 0\); it is a whole number from 1 to .*"),
        ([Dense("F", 8)], r"net.F: a dense layer takes a flat input, not 3x32x32; put Flatten\(\) before it"),
        ([Flatten(), Dense("F", 0)], "net.F: units is 0; it is a whole number from 1 to 2,147,483,647"),
        ([Flatten(), Conv("C", 1, 1)], "net.C: Conv takes channels x height x width, not 3072"),
        ([Flatten(), MaxPool("P", 2, 2, ceil=True)], "net.P: MaxPool takes channels x height x width, not 3072"),
        ([ReLU("a"), ReLU("a")], "net.a: two layers have this name"),
        ([Concat("c", [[ReLU("a")], [ReLU("a")]])], "net.c.a: two layers have this name"),
        ([Select("s", (1, 3))], "net.s: maps 1, 3 of an input with 3, counted from 0"),
        ([Normalize("n", mean=(1.0, 2.0))], "net.n: 2 values for 3 channels"),
        ([Residual("r", [Conv("c", 4, 1)])], "net.r: the body gives 4x32x32, the shortcut 3x32x32"),
        (
            [Concat("c", [[Conv("a", 1, 3)], [Conv("b", 2, 1)]])],
            "net.c: branches give 1x30x30, 2x32x32: heights and widths differ",
        ),
        ([Concat("c", [[Conv("a", 1, 3, out=(1, 9, 9))]])], "net.c.a: 3x32x32 gives 1x30x30, the paper says 1x9x9"),
        ([], "net: no layers"),
        ([GroupNorm("n", 2)], "net.n: 3 channels do not divide into 2 groups"),
        ([Flatten(), GroupNorm("n", 3)], "net.n: GroupNorm takes channels x height x width, not 3072"),
        ([Flatten(), InstanceNorm("n")], "net.n: InstanceNorm takes channels x height x width, not 3072"),
        ([Flatten(), Pad("p", 1)], "net.p: Pad takes channels x height x width, not 3072"),
        ([Flatten(), AdaptiveAvgPool("p", 1, 1)], "net.p: AdaptiveAvgPool takes channels x height x width, not 3072"),
        ([Select("s", (None, 3))], "net.s: maps None, 3 of an input with 3, counted from 0"),
        ([Add("j", [[], [Conv("c", 4, 1)]])], "net.j: branches give 3x32x32, 4x32x32: a sum needs equal shapes"),
        (
            [Multiply("j", [[], [Conv("c", 1, 1)]])],
            "net.j: branches give 3x32x32, 1x32x32: a product needs equal shapes, or Cx1x1 for some",
        ),
        (
            [Multiply("j", [[], [AdaptiveAvgPool("p", 1, 32)]])],
            "net.j: branches give 3x32x32, 3x1x32: a product needs equal shapes, or Cx1x1 for some",
        ),
        (
            [AvgPool("p", 2, 2, 2)],
            "net.p: padding 2 fills a whole 2x2 window; less is needed",
        ),
        ([MaxPool("p", 3, 1, 5, dilation=2)], "net.p: padding 5 fills a whole 5x5 window; less is needed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_row_fails_at_once(layers: list[Layer], message: str) -> None:
    with pytest.raises(SpecError, match=f"^{message}$"):
        network_of(*layers)


# A layer of every kind, and for every argument of it the values that no layer can have, by the argument's type.
OF_EVERY_KIND: tuple[Layer, ...] = (
    Conv("l", 4, 3), MaxPool("l", 2, 2), AvgPool("l", 2, 2), GlobalAvgPool("l"), Dense("l", 4), BatchNorm("l"),
    Affine("l"), LocalResponseNorm("l", 5), Dropout("l"), ReLU("l"), Sigmoid("l"), Tanh("l"), Flatten("l"), Scale("l"),
    Normalize("l"), Resize("l", 4, 4), Select("l", (0,)), Concat("l", [[ReLU()]]), Residual("l", [ReLU()]),
    Auxiliary("l", [ReLU()]), AdaptiveAvgPool("l", 2, 2), Pad("l", 1), LayerNorm("l"), GroupNorm("l", 3),
    InstanceNorm("l"), StochasticDepth("l"), ReLU6("l"), LeakyReLU("l"), PReLU("l"), ELU("l"), SELU("l"),
    HardSigmoid("l"), SiLU("l"), HardSwish("l"), GELU("l"), Softplus("l"), Mish("l"), Add("l", [[ReLU()], []]),
    Multiply("l", [[ReLU()], []]),
)  # fmt: skip
NO_NUMBERS = (None, "3", [], math.nan, math.inf)
IMPOSSIBLE: dict[str, tuple[object, ...]] = {
    "int": (0, -1, 1.5, True, 10**12, *NO_NUMBERS),
    "Pair": (0, -1, (3, 0), (-1, 3), (1, 2, 3), 1.5, (True, 1), 10**12, *NO_NUMBERS),
    "Padding": (-1, (0, -1), ((1, -1), (0, 0)), ((1, 2, 3), (0, 0)), 0.5, True, 10**12, *NO_NUMBERS),
    "bool": (0, 1, None, "yes"),
    "float": (-math.inf, True, *NO_NUMBERS),
    "tuple[float, ...]": ((), (math.nan,), (1.0, "2"), 0.5, *NO_NUMBERS),
    "tuple[int | None, ...]": ((), (-1,), (0.5,), (True,), ("1",), 0, *NO_NUMBERS),
    "str": (0, None, "", "cubic", "HALF_PIXEL", ("linear",)),
}
OUT_OF_RANGE: dict[tuple[type[Layer], str], tuple[object, ...]] = {
    (BatchNorm, "eps"): (0, -1e-5),
    (BatchNorm, "momentum"): (-0.1, 1.5),
    (Dropout, "rate"): (-0.1, 1, 1.0),
    (Normalize, "std"): ((0.0,), (-1.0,)),
    (LocalResponseNorm, "k"): (0, -1.0),
    (LocalResponseNorm, "alpha"): (-1e-4,),
    (StochasticDepth, "rate"): (-0.1, 1, 1.0),
    **{(kind, "eps"): (-1e-5,) for kind in (LayerNorm, GroupNorm, InstanceNorm)},
    (ELU, "alpha"): (-1.0,),
}


def impossible_layers() -> Iterator[tuple[Layer, str]]:
    """Layers with one impossible argument, and its name."""
    for layer in OF_EVERY_KIND:
        for item in fields(layer):
            if item.name == "name":
                continue  # below
            for value in (*IMPOSSIBLE.get(str(item.type), ()), *OUT_OF_RANGE.get((type(layer), item.name), ())):
                yield replace(layer, **{item.name: value}), item.name


def test_every_kind_of_layer_is_tested() -> None:
    assert {type(layer) for layer in OF_EVERY_KIND} == set(KINDS.values())


@pytest.mark.parametrize(("layer", "argument"), list(impossible_layers()), ids=lambda value: ascii(value)[:90])
def test_an_impossible_argument_is_refused(layer: Layer, argument: str) -> None:
    front = [Flatten()] if isinstance(layer, Dense) else []
    with pytest.raises(SpecError, match=rf"^net\.l: {argument} is .*; it is "):
        network_of(*front, layer)


@pytest.mark.parametrize("layer", OF_EVERY_KIND, ids=lambda layer: layer.kind)
@pytest.mark.parametrize("name", [5, None, "a\nb", "n" * 101], ids=ascii)
def test_an_impossible_layer_name_is_refused(layer: Layer, name: object) -> None:
    with pytest.raises(SpecError, match=r"^net\.1: a \w+ has the name .*printable characters$"):
        network_of(replace(layer, name=name))  # type: ignore[arg-type]


@pytest.mark.parametrize("row", ["Conv", 5, None, Conv, [ReLU()]], ids=ascii)
def test_a_row_that_is_no_layer_is_refused(row: object) -> None:
    with pytest.raises(SpecError, match=r"^net\.1: .* and no layer$"):
        network_of(row)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"^net\.c\.1: .* and no layer$"):
        network_of(Concat("c", [[row]]))  # type: ignore[list-item]


@pytest.mark.parametrize("input", [(0, 4, 4), (3, -1, 4), (), (1.5, 4, 4), (True, 4, 4), ("3", 4, 4), (10**12, 4, 4)])
def test_an_empty_input_is_refused(input: Shape) -> None:
    with pytest.raises(SpecError, match="every size is at least 1"):
        network_of(ReLU(), input=input)


@pytest.mark.parametrize(
    ("name", "input", "message"),
    [
        ("vgg16", (3, 16, 16), "vgg16.pool5: 0x0 output for input 3x16x16; the smallest input is 3x32x32"),
        ("lenet", (1, 2, 2), "lenet.C3: 0x0 output for input 1x2x2; the smallest input is 1x12x12"),
        ("alexnet", (1, 10, 300), "alexnet.C1: 0x73 output for input 1x10x300; the smallest input is 1x67x67"),
        ("inception_v3", (3, 74, 74), "inception_v3.Mixed_7a.branch3x3_2.conv: 0x0 output for input 3x74x74; the "
                                      "smallest input is 3x75x75"),
    ],
)  # fmt: skip
def test_the_error_names_the_smallest_input(name: str, input: Shape, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        NETWORKS[name]().with_input(input)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["vgg16", "lenet", "alexnet", "inception_v2", "inception_v3", "googlenet_aux"])
def test_the_smallest_input_works_and_one_less_does_not(name: str) -> None:
    net = NETWORKS[name]()
    with pytest.raises(SpecError) as caught:
        net.with_input((net.input[0], 2, 2))
    side = int(str(caught.value).rpartition("x")[2])
    assert net.with_input((net.input[0], side, side)).classes == net.classes
    with pytest.raises(SpecError):
        net.with_input((net.input[0], side - 1, side - 1))


def test_sizes_at_which_branches_do_not_fit_are_no_remedy() -> None:
    """At 5 x 5 no layer is too large, but the branches give 1 and 2 rows: 6 x 6 is the smallest input that works."""
    halves = Concat("halves", [[Conv("a", 1, 3, 2)], [Conv("b", 1, 2, 2), Conv("c", 1, 1)]])
    even = Network("even", (1, 8, 8), [Conv("first", 1, 2), halves, MaxPool("p", 2, 1)])
    with pytest.raises(SpecError) as caught:
        even.with_input((1, 2, 2))
    assert str(caught.value).endswith("; the smallest input is 1x6x6")
    assert even.with_input((1, 6, 6)).output == (2, 1, 1)


# --- the network ------------------------------------------------------------------------------------------------------


def test_another_input_drops_the_printed_shapes() -> None:
    net = NETWORKS["lenet"]()
    assert net.with_input(net.input) is net
    assert net.with_input((1, 32, 32)).output == (10,)
    with pytest.raises(SpecError, match="the paper says 6x28x28"):
        replace(net, input=(1, 32, 32))


def test_layers_in_front_keep_the_paper_checked() -> None:
    net = NETWORKS["alexnet_cifar"]().after(Scale(), Resize("resize", 224, 224), input=(3, 32, 32))
    assert (net.input, net.params) == ((3, 32, 32), NETWORKS["alexnet_cifar"]().params)
    with pytest.raises(SpecError, match="the paper says 96x55x55"):
        NETWORKS["alexnet_cifar"]().after(Scale(), input=(3, 32, 32))


def test_auxiliary_classifiers_do_not_count_in_evaluation() -> None:
    head = Auxiliary("aux", [Flatten(), Dense("fc", 2)], weight=0.5)
    net = network_of(Conv("c", 4, 1), head, Flatten(), Dense("fc", 2))
    without = network_of(Conv("c", 4, 1), Flatten(), Dense("fc", 2))
    assert [node.path for node in net.heads] == ["aux"]
    assert (net.output, net.macs) == (without.output, without.macs)
    assert net.params == without.params + 2 * 4 * 1024 + 2


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", OF_EVERY_KIND, ids=lambda layer: layer.kind)
def test_json_round_trip_of_a_layer(layer: Layer) -> None:
    assert from_json(json.loads(json.dumps(to_json(layer)))) == layer
    for item in fields(layer):  # a value that is not the default comes back, too
        other = OTHER_VALUES.get(str(item.type))
        if other is not None and item.name not in ("method", "positions"):
            changed = replace(layer, **{item.name: other})
            back = from_json(json.loads(json.dumps(to_json(changed))))
            assert back == changed != layer


OTHER_VALUES: dict[str, object] = {
    "int": 7, "Pair": (5, 6), "Padding": ((1, 2), (3, 4)), "float": 0.375, "tuple[float, ...]": (0.25, 0.75),
    "tuple[int | None, ...]": (2, None, 0), "str": "other name",
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_json_round_trip(name: str) -> None:
    net = NETWORKS[name]()
    back = from_json(json.loads(json.dumps(to_json(net))))
    assert back == net
    assert back.sha256 == net.sha256
    assert back.parameters == net.parameters


def test_every_network_has_its_own_digest() -> None:
    digests = {NETWORKS[name]().sha256 for name in NETWORKS}
    assert len(digests) == len(NETWORKS)


def test_the_digest_is_of_what_is_computed_not_of_words() -> None:
    net = NETWORKS["lenet"]()
    assert replace(net, departures=("other words",), source="").sha256 == net.sha256
    assert NETWORKS["lenet"](classes=11).sha256 != net.sha256


def test_json_with_an_unknown_kind() -> None:
    with pytest.raises(SpecError, match="no layer kind 'Convolution'; there are AdaptiveAvgPool, Add, Affine, "):
        from_json({"kind": "Convolution", "name": "c"})


def test_only_the_standard_library_is_imported() -> None:
    code = "import sys; before = set(sys.modules); import frameworks.networks; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "frameworks.networks.resnet" in loaded
    assert {name.partition(".")[0] for name in loaded} <= sys.stdlib_module_names | {"frameworks"}
