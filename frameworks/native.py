"""The defaults of each framework as data, and a network and its training with these defaults.

`aligned`, the default semantics of every command, is defined by `spec`, `training.py` and `arrays.py` and is the same
in every framework. `native` is the recipe with the default settings of the framework: the recipe sets layers, learning
rates, momentum, betas, rho and the size of the decay in both cases; the framework sets what `CHOICES` lists.

Each adapter declares its `Native`. An adapter does not know which semantics it computes: `with_defaults` and `initial`
return a network, a training and weights in which every value is explicit.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from frameworks import arrays
from frameworks.arrays import Array, Weights
from frameworks.spec import (
    Auxiliary,
    AvgPool,
    BatchNorm,
    Conv,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Network,
    Node,
    Residual,
    Sides,
    pair,
    sides,
)
from frameworks.spec.joins import Join
from frameworks.training import SGD, Adadelta, Adam, RMSprop, Training

T = TypeVar("T", bool, float, str)

# The bound a of a uniform distribution on (-a, a), by its formula.
BOUNDS: dict[str, Callable[[int, int], float]] = {
    "sqrt(6 / (fan_in + fan_out))": lambda inputs, outputs: (6 / (inputs + outputs)) ** 0.5,
    "1 / sqrt(fan_in)": lambda inputs, outputs: inputs**-0.5,
    "0.07": lambda inputs, outputs: 0.07,
    "0": lambda inputs, outputs: 0.0,
}
# The deviation s of a normal distribution that is cut off, by its formula.
TRUNCATED: dict[str, Callable[[int, int], float]] = {
    "truncated, 1 / sqrt(fan_in)": lambda inputs, outputs: inputs**-0.5,
}
# Of a normal distribution of deviation 1 after it is cut off at -2 and 2 (jax.nn.initializers.variance_scaling).
CUT_DEVIATION = 0.87962566103423978


class Choice(NamedTuple):
    """Something that a framework fills in: what it is, its aligned value, and how a value reads as a formula."""

    what: str
    aligned: bool | float | str
    formula: Callable[[Any], str]


def _distribution(formula: str) -> str:
    if formula in TRUNCATED:
        return f"normal, cut off at 2 / 0.88 s; s = {formula.removeprefix('truncated, ')}"
    return "0" if formula == "0" else f"uniform on (-a, a), a = {formula}"


_FROM_RECIPE = "the recipe's"  # in both semantics

# In the order of `Native`'s fields. Of two formulas the first is that of False.
CHOICES = {
    "lr_in_velocity": Choice(
        "momentum",
        SGD.lr_in_velocity,
        ("v = momentum v + g; w -= lr v", "v = momentum v + lr g; w -= v").__getitem__,
    ),
    "epsilon": Choice("Adam: epsilon", Adam.epsilon, "{:g}".format),
    "epsilon_hat": Choice(
        "Adam: its place",
        Adam.epsilon_hat,
        ("m' / (sqrt(v') + epsilon)", "m' / (sqrt(v') + epsilon / sqrt(1 - beta2^t))").__getitem__,
    ),
    "rmsprop_epsilon": Choice("RMSprop: epsilon", RMSprop.epsilon, "{:g}".format),
    "rmsprop_epsilon_inside": Choice(
        "RMSprop: its place", RMSprop.epsilon_inside, ("sqrt(v) + epsilon", "sqrt(v + epsilon)").__getitem__
    ),
    "rmsprop_lr_in_velocity": Choice(
        "RMSprop: momentum",
        RMSprop.lr_in_velocity,
        ("b = momentum b + u; w -= lr b", "b = momentum b + lr u; w -= b").__getitem__,
    ),
    "rmsprop_rho": Choice("RMSprop: rho", _FROM_RECIPE, str),
    "adadelta_epsilon": Choice("Adadelta: epsilon", Adadelta.epsilon, "{:g}".format),
    "adadelta_rho": Choice("Adadelta: rho", _FROM_RECIPE, str),
    "adadelta_lr": Choice("Adadelta: learning rate", _FROM_RECIPE, str),
    "adamw_decay": Choice("AdamW: size of the decay", _FROM_RECIPE, str),
    "decoupled": Choice(
        "`weight_decay`",
        SGD.decoupled,
        ("L2: g' = g + decay w", "decoupled: w -= lr decay w, g' = g").__getitem__,
    ),
    "decay_all": Choice("what decays", Training.decay_all, ("weights", "weights, biases, gamma, beta").__getitem__),
    "norm_epsilon": Choice("batch norm: epsilon", BatchNorm.eps, "{:g}".format),
    "norm_momentum": Choice("batch norm: fraction of the new value", BatchNorm.momentum, "{:g}".format),
    "norm_unbiased": Choice(
        "batch norm: running variance",
        False,
        ("biased: sum of squares / n", "unbiased: sum of squares / (n - 1)").__getitem__,
    ),
    "sum_squares": Choice(
        "LRN: what alpha multiplies",
        False,
        ("the mean of the squares in the window", "the sum of the squares in the window").__getitem__,
    ),
    "weights": Choice("initial weights", "sqrt(6 / (fan_in + fan_out))", _distribution),
    "biases": Choice("initial biases", "0", _distribution),
    "same_padding": Choice(
        'padding that keeps size / stride ("same") at stride 2',
        "explicit",
        {
            "explicit": "explicit in each layer",
            "symmetric": "kernel // 2 on each side",
            "after": "as much as the last window needs; an odd line at the bottom and right",
        }.__getitem__,
    ),
    "pool_rounding": Choice(
        "number of pooling windows",
        "explicit",
        {"explicit": "explicit in each layer", "down": "rounded down"}.__getitem__,
    ),
    "padding_counts": Choice(
        "average pooling: padded zeros",
        "explicit",
        {"explicit": "explicit in each layer", "counted": "counted", "not counted": "not counted"}.__getitem__,
    ),
    "resize_positions": Choice(
        "linear resize: position of pixel i",
        "half pixel",
        {"half pixel": "(i + 1/2) size / to - 1/2", "corners": "i (size - 1) / (to - 1)"}.__getitem__,
    ),
}
# What a spec says in each layer or what no layer of a spec can say: `native` does not change it. The lines of the
# ledger tell a person who writes the network with the layers of the framework what changes.
OF_LAYERS = ("same_padding", "pool_rounding", "padding_counts", "resize_positions")
# What every recipe says: `native` does not change it either.
OF_RECIPES = ("rmsprop_rho", "adadelta_rho", "adadelta_lr", "adamw_decay")


@dataclass(frozen=True)
class Default(Generic[T]):
    """A framework's default, where it is documented, and how its adapter arrives at the aligned value."""

    value: T
    source: str
    alignment: str = "the same"


class Row(NamedTuple):
    """A line of the ledger."""

    what: str
    aligned: str
    native: str
    alignment: str
    source: str


@dataclass(frozen=True)
class Native:
    """A framework's default for each of `CHOICES`, which says what they are."""

    lr_in_velocity: Default[bool]
    epsilon: Default[float]
    epsilon_hat: Default[bool]
    rmsprop_epsilon: Default[float]
    rmsprop_epsilon_inside: Default[bool]
    rmsprop_lr_in_velocity: Default[bool]
    rmsprop_rho: Default[str]
    adadelta_epsilon: Default[float]
    adadelta_rho: Default[str]
    adadelta_lr: Default[str]
    adamw_decay: Default[str]
    decoupled: Default[bool]
    decay_all: Default[bool]
    norm_epsilon: Default[float]
    norm_momentum: Default[float]
    norm_unbiased: Default[bool]
    sum_squares: Default[bool]
    weights: Default[str]
    biases: Default[str]
    same_padding: Default[str]
    pool_rounding: Default[str]
    padding_counts: Default[str]
    resize_positions: Default[str]

    def ledger(self) -> list[Row]:
        """Every choice, whether the framework's default differs from the aligned value or not."""
        rows = []
        for name, choice in CHOICES.items():
            default = getattr(self, name)
            values = choice.formula(choice.aligned), choice.formula(default.value)
            rows.append(Row(choice.what, *values, default.alignment, default.source))
        return rows

    def to_json(self) -> dict[str, dict[str, Any]]:
        return asdict(self)

    @staticmethod
    def from_json(thing: dict[str, dict[str, Any]]) -> Native:
        return Native(**{name: Default(**default) for name, default in thing.items()})


# --- networks and trainings with defaults -----------------------------------------------------------------------------


def with_defaults(network: Network, training: Training, native: Native) -> tuple[Network, Training]:
    """The network and the training with a framework's defaults; names, shapes and arrays do not change.

    Decoupled decay of a recipe stays decoupled, because the recipe names AdamW. The running variance does not change:
    an adapter computes that of its framework, and declares a departure if it differs from the aligned one. What each
    layer of the spec says explicitly, `OF_LAYERS`, and what every recipe says, `OF_RECIPES`, does not change either.
    """
    for name in CHOICES:
        if name not in (*OF_LAYERS, *OF_RECIPES):
            network, training = with_default(network, training, name, getattr(native, name).value)
    return network, training


def with_default(network: Network, training: Training, name: str, value: Any) -> tuple[Network, Training]:
    """The network and the training with one default of a framework.

    name: a key of `CHOICES`. The initial values, the running variance and the positions of a resize are no part of a
    network or a training, and `OF_RECIPES` are the recipe's, so these change nothing here. Raises SpecError if the
    network cannot be built with the default.
    """
    rule = training.optimizer
    match name:
        case "lr_in_velocity" if isinstance(rule, SGD):
            rule = replace(rule, lr_in_velocity=value)
        case "epsilon" | "epsilon_hat" if isinstance(rule, Adam):
            rule = replace(rule, **{name: value})
        case "rmsprop_epsilon" | "rmsprop_epsilon_inside" | "rmsprop_lr_in_velocity" if isinstance(rule, RMSprop):
            rule = replace(rule, **{name.removeprefix("rmsprop_"): value})
        case "adadelta_epsilon" if isinstance(rule, Adadelta):
            rule = replace(rule, epsilon=value)
        case "decoupled":
            rule = replace(rule, decoupled=rule.decoupled or value)
        case "decay_all":
            training = replace(training, decay_all=value)
        case "norm_epsilon":
            network = mapped(
                network, lambda layer: replace(layer, eps=value) if isinstance(layer, BatchNorm) else layer
            )
        case "norm_momentum":
            network = mapped(
                network, lambda layer: replace(layer, momentum=value) if isinstance(layer, BatchNorm) else layer
            )
        case "sum_squares" if value:
            network = mapped(network, _alpha_of_the_sum)
        case "same_padding" if value != "explicit":
            network = _renewed(network, lambda node: _same_size(node, value))
        case "pool_rounding" if value == "down":
            unchecked = replace(network, as_printed=False)
            network = mapped(
                unchecked, lambda layer: replace(layer, ceil=False) if isinstance(layer, MaxPool) else layer
            )
            network = replace(network, as_printed=unchecked == network)
        case "padding_counts" if value != "explicit":
            counts = value == "counted"
            network = mapped(network, lambda layer: _counting(layer, counts))
    return network, replace(training, optimizer=rule)


def _alpha_of_the_sum(layer: Layer) -> Layer:
    """The spec's alpha multiplies the mean of the squares."""
    return replace(layer, alpha=layer.alpha * layer.size) if isinstance(layer, LocalResponseNorm) else layer


def _counting(layer: Layer, counts: bool) -> Layer:
    padded = isinstance(layer, AvgPool) and sides(layer.padding) != ((0, 0), (0, 0))
    return replace(layer, count_padding=counts) if padded else layer  # type: ignore[call-arg]


def _same_size(node: Node, form: str) -> Layer:
    """The layer with the padding with which a framework keeps ceil(size / stride) at a stride above 1.

    form: "symmetric" or "after". A layer of another size or stride does not change, and neither does one whose windows
    stay at their places.
    """
    layer = node.layer
    if not isinstance(layer, (Conv, MaxPool, AvgPool)) or pair(layer.stride) == (1, 1):
        return layer
    ways = list(zip(node.input[1:], node.output[1:], pair(layer.kernel), pair(layer.stride), sides(layer.padding)))
    if any(to != -(-size // stride) for size, to, _, stride, _ in ways):
        return layer
    around = []
    for size, to, kernel, stride, _ in ways:
        total = max(0, (to - 1) * stride + kernel - size)
        around.append((total // 2, total - total // 2) if form == "after" else (kernel // 2, kernel // 2))
    padding: Sides = (around[0], around[1])
    moved = replace(layer, padding=padding)
    same_places = all(before == way[-1][0] for (before, _), way in zip(padding, ways))
    return layer if same_places or moved.output(node.input) != node.output else moved


def _renewed(network: Network, change: Callable[[Node], Layer]) -> Network:
    """The same network with every layer changed, which `change` sees at its place, with the shapes around it."""

    def inside(nodes: tuple[Node, ...]) -> tuple[Layer, ...]:
        return tuple(layer(node) for node in nodes)

    def layer(node: Node) -> Layer:
        match node.layer:
            case Join():
                return replace(node.layer, chains=tuple(inside(branch) for branch in node.branches))
            case Residual():
                body, shortcut = (inside(branch) for branch in node.branches)
                return replace(node.layer, body=body, shortcut=shortcut)
            case Auxiliary():
                return replace(node.layer, head=inside(node.branches[0]))
        return change(node)

    changed = [change(node) for _, node in network.walk()]
    if all(after is node.layer for after, (_, node) in zip(changed, network.walk())):
        return network
    return replace(network, layers=inside(network.nodes))


def mapped(network: Network, change: Callable[[Layer], Layer]) -> Network:
    """The same network and names with every layer changed, including inner layers."""

    def inside(thing: Any) -> Any:
        match thing:
            case Layer() | Network():
                copy = replace(thing, **{item.name: inside(getattr(thing, item.name)) for item in fields(thing)})
                return change(copy) if isinstance(copy, Layer) else copy
            case tuple():
                return tuple(map(inside, thing))
        return thing

    return inside(network)


def initial(network: Network, seed: int, native: Native) -> Weights:
    """Initial weights from the framework's distributions; see `arrays.initial`, whose streams they are drawn from.

    Gamma and the running variance begin at 1, beta and the running mean at 0, in every framework.
    """
    weights = arrays.initial(network, seed)
    for _, node in network.walk():
        parameters = {parameter.role: parameter for parameter in node.parameters}
        for role, default in (("weight", native.weights), ("bias", native.biases)):
            if role in parameters:
                parameter = parameters[role]
                bound, deviation = spread(default.value, *parameters["weight"].fans)
                stream = np.random.default_rng([seed, zlib.crc32(parameter.name.encode())])
                if default.value in TRUNCATED:
                    weights[parameter.name] = _cut_off(stream, deviation / CUT_DEVIATION, bound, parameter.shape)
                else:
                    weights[parameter.name] = stream.uniform(-bound, bound, parameter.shape)
    return weights


def spread(formula: str, inputs: int, outputs: int) -> tuple[float, float]:
    """The bound of a distribution's absolute values, and its standard deviation.

    formula: a key of `BOUNDS` or `TRUNCATED`. inputs, outputs: fan in and fan out.
    """
    if formula in TRUNCATED:
        deviation = TRUNCATED[formula](inputs, outputs)
        return 2 / CUT_DEVIATION * deviation, deviation
    bound = BOUNDS[formula](inputs, outputs)
    return bound, bound / 3**0.5


def _cut_off(stream: np.random.Generator, deviation: float, bound: float, shape: tuple[int, ...]) -> Array:
    """Normal values; those beyond the bound are drawn again."""
    values = stream.normal(0.0, deviation, shape)
    while (beyond := np.abs(values) > bound).any():
        values[beyond] = stream.normal(0.0, deviation, beyond.sum())
    return values
