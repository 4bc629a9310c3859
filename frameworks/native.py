"""What a framework does where nobody says otherwise, as data; and a network and its training brought to that.

`aligned`, the default of every command, is what `spec.py`, `training.py` and `weights.py` say, the same in every
framework. `native` is the recipe as a framework's own user gets it who leaves open what the framework fills in: layers,
rates, momentum, betas and the size of the decay are the recipe's in both, what `POINTS` lists is the framework's own.

Each adapter declares its `Native`. It need not know which of the two it computes: `natively` and `initial` give a
network, a training and weights that say everything, and the adapter computes what they say.
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


class Point(NamedTuple):
    """Something that a framework fills in: what it is, the aligned choice, and how a choice reads as a formula."""

    what: str
    aligned: bool | float | str
    formula: Callable[[Any], str]


def _drawn(bound: str) -> str:
    return "0" if bound == "0" else f"uniform on (-a, a), a = {bound}"


# In the order of `Native`'s fields. Of two formulas the first is that of False.
POINTS = {
    "rate_inside": Point(
        "momentum",
        SGD.rate_inside,
        ("v = momentum v + g; w -= rate v", "v = momentum v + rate g; w -= v").__getitem__,
    ),
    "epsilon": Point("Adam: epsilon", Adam.epsilon, "{:g}".format),
    "epsilon_hat": Point(
        "Adam: its place",
        Adam.epsilon_hat,
        ("m' / (sqrt(v') + epsilon)", "m' / (sqrt(v') + epsilon / sqrt(1 - beta2^t))").__getitem__,
    ),
    "decoupled": Point(
        "`weight_decay`",
        SGD.decoupled,
        ("L2: g' = g + decay w", "decoupled: w -= rate decay w, g' = g").__getitem__,
    ),
    "decay_all": Point("what decays", Training.decay_all, ("weights", "weights, biases, gamma, beta").__getitem__),
    "norm_epsilon": Point("batch norm: epsilon", BatchNorm.eps, "{:g}".format),
    "norm_momentum": Point("batch norm: share of the new value", BatchNorm.momentum, "{:g}".format),
    "norm_unbiased": Point(
        "batch norm: running variance",
        False,
        ("biased: sum of squares / n", "unbiased: sum of squares / (n - 1)").__getitem__,
    ),
    "sum_squares": Point(
        "LRN: what alpha multiplies",
        False,
        ("the mean of the squares in the window", "the sum of the squares in the window").__getitem__,
    ),
    "weights": Point("initial weights", "sqrt(6 / (fan_in + fan_out))", _drawn),
    "biases": Point("initial biases", "0", _drawn),
}


@dataclass(frozen=True)
class Own(Generic[T]):
    """A framework's own choice, where it is to be read, and how its adapter comes to the aligned one."""

    value: T
    source: str
    brought: str = "the same"


class Row(NamedTuple):
    """One line of the ledger."""

    what: str
    aligned: str
    native: str
    brought: str
    source: str


@dataclass(frozen=True)
class Native:
    """A framework's own choice at every one of `POINTS`, where what they are is said."""

    rate_inside: Own[bool]
    epsilon: Own[float]
    epsilon_hat: Own[bool]
    decoupled: Own[bool]
    decay_all: Own[bool]
    norm_epsilon: Own[float]
    norm_momentum: Own[float]
    norm_unbiased: Own[bool]
    sum_squares: Own[bool]
    weights: Own[str]
    biases: Own[str]

    def ledger(self) -> list[Row]:
        """Every point, whether the framework's choice is another than the aligned one or not."""
        own = {item.name: getattr(self, item.name) for item in fields(self)}
        return [
            Row(point.what, point.formula(point.aligned), point.formula(own[name].value), own[name].brought,
                own[name].source)
            for name, point in POINTS.items()
        ]  # fmt: skip

    def to_json(self) -> dict[str, dict[str, Any]]:
        return asdict(self)

    @staticmethod
    def from_json(thing: dict[str, dict[str, Any]]) -> Native:
        return Native(**{name: Own(**own) for name, own in thing.items()})


def natively(network: Network, training: Training, native: Native) -> tuple[Network, Training]:
    """The two as a framework's own user would get them; names, shapes and arrays stay.

    A recipe's decoupled decay stays decoupled: it asks for AdamW by name. The running variance is not switched: every
    adapter computes its framework's own or the aligned one, and declares a departure where they differ.
    """

    def own(layer: Layer) -> Layer:
        match layer:
            case BatchNorm():
                return replace(layer, eps=native.norm_epsilon.value, momentum=native.norm_momentum.value)
            case LocalResponseNorm() if native.sum_squares.value:
                return replace(layer, alpha=layer.alpha * layer.size)  # the spec's alpha multiplies the mean
        return layer

    rule = replace(training.optimizer, decoupled=training.optimizer.decoupled or native.decoupled.value)
    if isinstance(rule, SGD):
        rule = replace(rule, rate_inside=native.rate_inside.value)
    else:
        rule = replace(rule, epsilon=native.epsilon.value, epsilon_hat=native.epsilon_hat.value)
    return mapped(network, own), replace(training, optimizer=rule, decay_all=native.decay_all.value)


def mapped(network: Network, change: Callable[[Layer], Layer]) -> Network:
    """The same network, names and all, with every layer changed, those inside others too."""

    def inside(thing: Any) -> Any:
        match thing:
            case Layer() | Network():
                made = replace(thing, **{item.name: inside(getattr(thing, item.name)) for item in fields(thing)})
                return change(made) if isinstance(made, Layer) else made
            case tuple():
                return tuple(map(inside, thing))
        return thing

    return inside(network)


def initial(network: Network, seed: int, native: Native) -> Weights:
    """Initial weights from the framework's own distributions; see `arrays.initial`, whose streams they are drawn from.

    Gamma and the running variance begin at 1, beta and the running mean at 0, in every framework.
    """
    weights = arrays.initial(network, seed)
    for _, node in network.walk():
        held = {parameter.role: parameter for parameter in node.parameters}
        for role, own in (("weight", native.weights), ("bias", native.biases)):
            if role in held:
                bound = BOUNDS[own.value](*held["weight"].fans)
                stream = np.random.default_rng([seed, zlib.crc32(held[role].name.encode())])
                weights[held[role].name] = stream.uniform(-bound, bound, held[role].shape)
    return weights
