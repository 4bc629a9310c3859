"""The defaults of each framework as data, and a network and its training with these defaults.

`aligned`, the default semantics of every command, is defined by `spec`, `training.py` and `arrays.py` and is the same
in every framework. `native` is the recipe with the default settings of the framework: the recipe sets layers, learning
rates, momentum, betas and the size of the decay in both cases; the framework sets what `CHOICES` lists.

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
from frameworks.arrays import Weights
from frameworks.spec import BatchNorm, Layer, LocalResponseNorm, Network
from frameworks.training import SGD, Adam, Training

T = TypeVar("T", bool, float, str)

# The bound a of a uniform distribution on (-a, a), by its formula.
BOUNDS: dict[str, Callable[[int, int], float]] = {
    "sqrt(6 / (fan_in + fan_out))": lambda inputs, outputs: (6 / (inputs + outputs)) ** 0.5,
    "1 / sqrt(fan_in)": lambda inputs, outputs: inputs**-0.5,
    "0.07": lambda inputs, outputs: 0.07,
    "0": lambda inputs, outputs: 0.0,
}


class Choice(NamedTuple):
    """Something that a framework fills in: what it is, its aligned value, and how a value reads as a formula."""

    what: str
    aligned: bool | float | str
    formula: Callable[[Any], str]


def _distribution(bound: str) -> str:
    return "0" if bound == "0" else f"uniform on (-a, a), a = {bound}"


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
}


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
    decoupled: Default[bool]
    decay_all: Default[bool]
    norm_epsilon: Default[float]
    norm_momentum: Default[float]
    norm_unbiased: Default[bool]
    sum_squares: Default[bool]
    weights: Default[str]
    biases: Default[str]

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


def with_defaults(network: Network, training: Training, native: Native) -> tuple[Network, Training]:
    """The network and the training with a framework's defaults; names, shapes and arrays do not change.

    Decoupled decay of a recipe stays decoupled, because the recipe names AdamW. The running variance does not change:
    an adapter computes that of its framework, and declares a departure if it differs from the aligned one.
    """

    def change(layer: Layer) -> Layer:
        match layer:
            case BatchNorm():
                return replace(layer, eps=native.norm_epsilon.value, momentum=native.norm_momentum.value)
            case LocalResponseNorm() if native.sum_squares.value:
                return replace(layer, alpha=layer.alpha * layer.size)  # the spec's alpha multiplies the mean
        return layer

    rule = replace(training.optimizer, decoupled=training.optimizer.decoupled or native.decoupled.value)
    if isinstance(rule, SGD):
        rule = replace(rule, lr_in_velocity=native.lr_in_velocity.value)
    else:
        rule = replace(rule, epsilon=native.epsilon.value, epsilon_hat=native.epsilon_hat.value)
    return mapped(network, change), replace(training, optimizer=rule, decay_all=native.decay_all.value)


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
                bound = BOUNDS[default.value](*parameters["weight"].fans)
                stream = np.random.default_rng([seed, zlib.crc32(parameter.name.encode())])
                weights[parameter.name] = stream.uniform(-bound, bound, parameter.shape)
    return weights
