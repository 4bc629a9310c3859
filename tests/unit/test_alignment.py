"""Layers of two networks side by side: one change in one layer is one difference, and other forms are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import pytest

from benchmarks.porting.between import differences, report
from benchmarks.porting.between.alignment import aligned
from benchmarks.porting.between.differences import NetworkDifference
from benchmarks.porting.between.rows import rows
from benchmarks.porting.sources import Side
from frameworks.networks import NETWORKS
from frameworks.spec import (
    ELU,
    GELU,
    AdaptiveAvgPool,
    Add,
    Affine,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    HardSigmoid,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool,
    Multiply,
    Network,
    Normalize,
    Pad,
    ReLU,
    ReLU6,
    Residual,
    Resize,
    Scale,
    Select,
    Shape,
    Sigmoid,
    SiLU,
    StochasticDepth,
    Tanh,
)
from frameworks.spec.layers import KINDS

ACTIVATIONS = (ReLU, ReLU6, Sigmoid, SiLU)
Change = Callable[[Layer], "list[Layer] | None"]

# What is done to one layer, None where it cannot be done; what the difference is called.
CHANGES: dict[str, tuple[Change, str]] = {
    "dropped": (lambda layer: [] if isinstance(layer, (BatchNorm, *ACTIVATIONS)) else None, "layer"),
    "another activation": (
        lambda layer: [LeakyReLU(layer.name, slope=0.1)] if isinstance(layer, ACTIVATIONS) else None,
        "kind",
    ),
    "epsilon": (lambda layer: [replace(layer, eps=0.5)] if isinstance(layer, BatchNorm) else None, "eps"),
    "bias": (
        lambda layer: [replace(layer, bias=not layer.bias)] if isinstance(layer, (Conv, Dense)) else None,
        "bias",
    ),
    "added behind": (lambda layer: [layer, Tanh()] if isinstance(layer, Conv) else None, "layer"),
    "added before": (lambda layer: [SiLU(), layer] if isinstance(layer, BatchNorm) else None, "layer"),
}
CHANGED = ("lenet_bn", "cifar_resnet18", "cifar_senet18", "cifar_pnasnet_a", "shufflenet_v2_x0_5")
EVERY = 7  # one layer in so many is changed


def with_layers(layers: Sequence[Layer], change: Callable[[Layer], list[Layer]]) -> list[Layer]:
    """All layers, also those inside others, after a change of each."""
    changed: list[Layer] = []
    for layer in layers:
        chains = [with_layers(chain, change) for chain in layer.branches()]
        if chains and isinstance(layer, Residual):
            layer = replace(layer, body=chains[0], shortcut=chains[1])
        elif chains:
            layer = replace(layer, chains=chains)  # type: ignore[call-arg]
        changed += change(layer)
    return changed


def changed_once(network: Network, change: Change) -> Iterator[Network]:
    """Networks with other names in which one layer is changed."""
    able: list[int] = []
    with_layers(network.layers, lambda layer: able.append(change(layer) is not None) or [layer])  # type: ignore[func-returns-value]
    places = [place for place, possible in enumerate(able) if possible]
    for chosen in places[::EVERY]:
        count = iter(range(len(able)))

        def one(layer: Layer) -> list[Layer]:
            place = next(count)  # noqa: B023
            named = replace(layer, name=f"m{place}" if layer.name else "")
            return (change(named) or []) if place == chosen else [named]  # noqa: B023

        yield replace(network, layers=with_layers(network.layers, one), as_printed=False)


def differences_of(a: Network, b: Network) -> list[NetworkDifference]:
    return differences.of_layers(aligned(rows(a), rows(b)))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", CHANGED)
def test_a_change_of_one_layer_is_one_difference(name: str, change: str) -> None:
    """Whatever the names are."""
    network, (work, what) = NETWORKS[name](), CHANGES[change]
    networks = list(changed_once(network, work))
    assert networks
    for other in networks:
        assert [each.what for each in differences_of(network, other)] == [what]


# Layers that take 4 x 8 x 8, or with "flat" 8 values, and another value for every argument that has one.
ARGUMENTS: list[tuple[Layer, dict[str, Any]]] = [
    (
        Conv("x", 4, 3, padding=1),
        {"stride": 2, "padding": 0, "bias": False, "dilation": 2, "groups": 2, "channels": 8, "kernel": 1},
    ),
    (MaxPool("x", 3, 2), {"kernel": 2, "stride": 1, "padding": 1, "dilation": 2, "ceil": True}),
    (
        AvgPool("x", 3, 2, padding=1),
        {"kernel": 2, "stride": 1, "padding": 0, "count_padding": False, "ceil": True},
    ),
    (AdaptiveAvgPool("x", 3, 3), {"height": 5, "width": 5}),
    (Pad("x", 1), {"padding": 2, "value": 1.0}),
    (BatchNorm("x"), {"eps": 1e-3, "momentum": 0.9, "gamma": False, "beta": False}),
    (LayerNorm("x"), {"eps": 1e-6, "gamma": False, "beta": False}),
    (GroupNorm("x", 2), {"groups": 4, "eps": 1e-3, "gamma": False, "beta": False}),
    (InstanceNorm("x"), {"eps": 1e-3, "gamma": False, "beta": False}),
    (LocalResponseNorm("x", 5), {"size": 3, "alpha": 5e-4, "beta": 0.5, "k": 2.0}),
    (Affine("x"), {"beta": False}),
    (Dropout("x", rate=0.2), {"rate": 0.8}),
    (StochasticDepth("x", rate=0.2), {"rate": 0.3}),
    (LeakyReLU("x"), {"slope": 0.3}),
    (ELU("x"), {"alpha": 0.5}),
    (HardSigmoid("x"), {"slope": 0.2}),
    (Tanh("x"), {"amplitude": 1.7159, "slope": 2 / 3}),
    (GELU("x"), {"approximate": True}),
    (Scale("x", factor=0.5), {"factor": 0.25}),
    (Normalize("x", mean=(0.5,)), {"mean": (0.25,), "std": (2.0,)}),
    (Resize("x", 6, 6), {"height": 5, "width": 5, "method": "nearest", "positions": "asymmetric"}),
    (Select("x", (2, 1, 0)), {"maps": (0, 1, 2, 3, 3)}),
]


@pytest.mark.parametrize(
    ("layer", "name"),
    [(layer, name) for layer, given in ARGUMENTS for name in given],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_every_argument_is_reported_by_its_name(layer: Layer, name: str) -> None:
    """With a cause that holds both values or says what they mean, in one line; in both directions."""
    value = next(given for one, given in ARGUMENTS if one is layer)[name]
    changed = replace(layer, **{name: value})
    for a, b in ((layer, changed), (changed, layer)):
        (found,) = differences_of(network([a]), network([b]))
        assert (found.a, found.b, found.what) == ("x", "x", name)
        assert found.in_a != found.in_b
        assert " in A" in found.cause or " in B" in found.cause or "other order" in found.cause
        assert "\n" not in found.cause


def test_every_kind_of_layer_with_arguments_is_tested() -> None:
    tested = {type(layer): given.keys() for layer, given in ARGUMENTS}
    for kind in KINDS.values():
        arguments = {item.name for item in fields(kind)} - {"name", "out", "chains", "body", "shortcut", "head"}
        assert kind in (Dense, Auxiliary) or arguments == set(tested.get(kind, ())), kind.__name__


X: Shape = (4, 8, 8)
BODY = [Conv("a", 4, 3, padding=1), Sigmoid()]
# Two forms of one function, each on 4 x 8 x 8.
FORMS: dict[str, tuple[list[Layer], list[Layer]]] = {
    "residual and sum": ([Residual("r", BODY)], [Add("s", [(), BODY])]),
    "order of a product": ([Multiply("m", [BODY, ()])], [Multiply("n", [(), BODY])]),
    "padding by a layer": ([Conv("a", 6, 3, 2, padding=((0, 1), (0, 1)))],
                           [Pad("p", ((0, 1), (0, 1))), Conv("b", 6, 3, 2)]),
    "padding in pairs": ([Conv("a", 6, (3, 3), padding=(1, 1))], [Conv("b", 6, 3, padding=1)]),
    "mean of each map": ([GlobalAvgPool()], [AvgPool("p", 8, 8)]),
    "adaptive mean of each map": ([AdaptiveAvgPool("p", 1, 1)], [GlobalAvgPool()]),
    "adaptive pool": ([AdaptiveAvgPool("p", 4, 4)], [AvgPool("q", 2, 2)]),
    "instance norm": ([InstanceNorm("i")], [GroupNorm("g", 4)]),
    "dense and convolution": ([Flatten(), Dense("d", 7)], [Conv("c", 7, 8), Flatten()]),
    "rounded up": ([MaxPool("p", 3, 2, ceil=True)], [MaxPool("q", 3, 2, padding=((0, 1), (0, 1)))]),
    "rounding without effect": ([MaxPool("p", 2, 2, ceil=True)], [MaxPool("q", 2, 2)]),
    "mean rounded up": ([AvgPool("p", 3, 2, ceil=True)],
                        [AvgPool("q", 3, 2, padding=((0, 1), (0, 1)), count_padding=False)]),
    "mean rounded up, not counted": ([AvgPool("p", 3, 2, 1, ceil=True, count_padding=False)],
                                     [AvgPool("q", 3, 2, ((1, 2), (1, 2)), count_padding=False)]),
    "one mean for all channels": ([Normalize(mean=(0.5,), std=(2.0,))],
                                  [Normalize(mean=(0.5,) * 4, std=(2.0,) * 4)]),
    "nothing changed": ([Dropout(rate=0.0), Scale(factor=1.0), Select("s", (0, 1, 2, 3))], []),
    "the rounding of 1 - momentum": ([BatchNorm("a", 1e-3, 1 - 0.9997)], [BatchNorm("b", 1e-3, 3e-4)]),
    "the rounding of 1 / std": ([Normalize(std=(0.3, 0.7, 0.1, 0.9))],
                                [Normalize(std=tuple(1 / (1 / each) for each in (0.3, 0.7, 0.1, 0.9)))]),
    "flattened twice": ([Flatten(), Flatten()], [Flatten()]),
}  # fmt: skip


def network(layers: list[Layer], name: str = "net") -> Network:
    return Network(name, X, [Conv("first", 4, 3, padding=1), ReLU(), *layers, Flatten(), Dense("last", 3)])


@pytest.mark.parametrize("form", FORMS)
def test_two_forms_of_one_function(form: str) -> None:
    a, b = map(network, FORMS[form])
    result = report.compared(Side("a", a), Side("b", b))
    assert result.same and result.differences == (), result.text


def test_a_layer_that_changes_nothing() -> None:
    result = report.compared(Side("a", network([])), Side("b", network([ReLU()])))
    assert result.same and [each.what for each in result.differences] == ["layer"]


def test_an_order_that_changes_nothing() -> None:
    """The order of ReLU and a maximum is reported, but the function is the same."""
    a, b = network([ReLU(), MaxPool("p", 2, 2)]), network([MaxPool("p", 2, 2), ReLU()])
    result = report.compared(Side("a", a), Side("b", b))
    assert result.same and [each.what for each in result.differences] == ["order"]


def test_an_order_that_changes_nothing_hides_no_other_difference() -> None:
    a = network([ReLU(), MaxPool("p", 2, 2), BatchNorm("bn")])
    b = network([MaxPool("p", 2, 2), ReLU(), BatchNorm("bn", eps=0.1)])
    result = report.compared(Side("a", a), Side("b", b))
    assert result.parted and result.parted.a == "bn"
    assert result.cause.startswith("bn: epsilon is")


@pytest.mark.parametrize("added", [[ReLU6()], []])
def test_a_bound_that_no_value_reaches_is_a_difference(added: list[Layer]) -> None:
    """Values on few images may not reach 6."""
    small: list[Layer] = [ReLU(), Scale(factor=1e-6)]
    result = report.compared(Side("a", network([*small, *added])), Side("b", network(small)))
    assert result.same == (not added)
    assert not result.parted and ("none of these values shows it" in result.verdict) == bool(added)


def test_dropout_elsewhere_changes_no_other_mask() -> None:
    """A layer in front has random values of its own; that of an auxiliary classifier changes nothing behind it."""
    head = Auxiliary("aux", [GlobalAvgPool(), Dropout(), Flatten(), Dense("head", 3)])
    layers: list[Layer] = [Conv("c", 4, 1), Dropout()]
    result = report.compared(Side("a", network([head, *layers])), Side("b", network(layers)))
    assert [stage.name for stage in result.stages if stage.parted] == ["loss", "gradients"]
    assert result.cause == "aux | -: B has no Auxiliary after first_relu"


def test_networks_of_different_inputs() -> None:
    one, other = network([]), replace(network([]), input=(4, 9, 9))
    result = report.compared(Side("a", one), Side("b", other))
    assert not result.same and not result.stages
    assert result.cause.startswith("the input is 4x8x8 in A, 4x9x9 in B")


def test_rows_inside_a_missing_join_are_one_difference() -> None:
    result: list[Any] = differences_of(network([Residual("r", [*BODY, Conv("b", 4, 1)])]), network([]))
    assert [(each.a, each.what) for each in result] == [("r", "layer")]
