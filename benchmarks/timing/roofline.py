"""What a machine allows: the roofline of Williams, Waterman and Patterson 2009, per framework, network and layer.

Both of its lines are measured in each framework with networks made from the spec, so that no framework needs code for
it. For the rate of matrix products n x n by n x n: four dense layers of n inputs on n pictures, and four convolutions
of n maps with windows of one pixel on a picture of n, for the two can be another library's work, with another rate. For
the bandwidth: a chain of ReLUs on a large input, nine of them less one, so that only what eight more passes over memory
take is counted. The best of three sizes and of three calls counts, for what disturbs a machine only makes it slower.

From the spec come the operations (two a multiply-add) and the bytes that move: every layer reads its input and its
weights and writes its output. Training takes three such passes where there are weights (forward, backward by input,
backward by weight), two elsewhere, and none backward by the pictures. A framework that fuses layers moves less, so the
bound is that of a program that runs layer by layer, not what none can pass: for that, see `reachable`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from frameworks.arrays import initial
from frameworks.spec import (
    Auxiliary,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Layer,
    Network,
    Node,
    ReLU,
    Scale,
    pair,
    to_json,
)
from frameworks.training import Training

Ask: TypeAlias = Callable[..., dict[str, Any]]

SIDES = {"cpu": (16, 32, 36), "cuda": (32, 64, 90)}  # of the pictures that products take: n is their square
MEBI_VALUES = {"cpu": (4, 8, 16), "cuda": (64, 128, 256)}  # of the input that is copied
PRODUCTS, COPIES, CALLS = 4, (1, 9), 3

# A difference of two times that is less than this share of the longer one is noise, or the chain was fused into one.
TOLD = 0.1


@dataclass(frozen=True)
class Roof:
    """Operations a second of matrix products, and bytes a second of copies; None where it could not be told."""

    flops: float
    bandwidth: float | None


def measure(ask: Ask, setting: dict[str, Any], scratch: Path) -> dict[str, list[list[float]]]:
    """Raw: `products` and `convolutions` [n, operations, seconds], and `copies` [bytes, seconds], for each size."""
    found: dict[str, list[list[float]]] = {"products": [], "convolutions": [], "copies": []}
    for side in SIDES[setting["device"]]:
        n = side * side
        for kind, network, count in (("products", _products(side), n), ("convolutions", _convolutions(side), 1)):
            seconds = _seconds(ask, network, count, setting, scratch)
            found[kind].append([n, 2.0 * network.macs * count, seconds])
    itemsize = np.dtype(setting["precision"]).itemsize
    for mebi in MEBI_VALUES[setting["device"]]:
        few, many = (
            _seconds(ask, _copies(mebi, passes), 1, setting, scratch)
            for passes in COPIES
        )  # fmt: skip
        moved = 2.0 * (COPIES[1] - COPIES[0]) * (mebi << 20) * itemsize
        if many - few > TOLD * many:
            found["copies"].append([moved, many - few])
    return found


def _products(side: int) -> Network:
    """Matrix products of so many inputs as a picture has pixels, on as many pictures."""
    layers = [Dense(f"D{number}", side * side) for number in range(PRODUCTS)]
    return Network("product", (1, side, side), [Scale("pixels"), Flatten(), *layers])


def _convolutions(side: int) -> Network:
    """The same products as convolutions, on one picture of as many maps as pixels; of the last, little comes back."""
    layers = [Conv(f"C{number}", side * side, 1) for number in range(PRODUCTS)]
    return Network("convolution", (side * side, side, side), [Scale("pixels"), *layers, GlobalAvgPool(), Flatten()])


def _copies(mebi: int, passes: int) -> Network:
    """A chain of ReLUs; the last layer makes little of much, for what is predicted comes back to the host."""
    return Network("copy", (mebi, 1024, 1024), [*(ReLU(f"R{n}") for n in range(passes)), GlobalAvgPool(), Flatten()])


def _seconds(ask: Ask, network: Network, count: int, setting: dict[str, Any], scratch: Path) -> float:
    """Of predicting so many random pictures at once: the quickest of a few calls, after one that compiles."""
    files = {name: scratch / f"roof_{name}.npy" for name in ("images", "labels")}
    np.save(files["images"], np.random.default_rng(0).integers(0, 256, (count, *network.input), np.uint8))
    np.save(files["labels"], np.zeros(count, np.int64))
    np.savez(scratch / "roof.npz", **initial(network, 0))  # type: ignore[arg-type]
    ask("build", network=to_json(network), training=Training().to_json(), setting=setting)
    ask("set_weights", path=str(scratch / "roof.npz"))
    ask("load", split="test", count=count, **{name: str(path) for name, path in files.items()})
    return float(min(ask("infer", split="test", batch_size=count, repeats=1 + CALLS)["calls"][1:]))


def roof(raw: dict[str, Sequence[Sequence[float]]]) -> Roof:
    """The best of the sizes, and of products as dense layers and as convolutions: runs before these were have none."""
    bandwidths = [moved / seconds for moved, seconds in raw["copies"]]
    products = [*raw["products"], *raw.get("convolutions", ())]
    return Roof(max(operations / seconds for _, operations, seconds in products), max(bandwidths, default=None))


# --- what a network needs ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Of one layer and one picture: operations, and bytes that must move. least: operations by any known algorithm."""

    path: str
    flops: float
    moved: float
    least: float

    def seconds(self, roof: Roof) -> float:
        """The bound: neither faster than its operations nor than its bytes."""
        return max(self.flops / roof.flops, self.moved / roof.bandwidth if roof.bandwidth else 0.0)


def costs(network: Network, what: str, batch_size: int, itemsize: int = 4) -> list[Cost]:
    """Of every layer without chains inside, and of what joins them, in reading order. what: train or infer."""
    found, weighed = [], False
    for node in _leaves(network.nodes, what == "train"):
        backward = (weighed + bool(node.parameters)) if what == "train" else 0  # by the input, by the weights
        passes = 1 + backward
        weighed = weighed or bool(node.parameters)
        values = 0 if isinstance(node.layer, Flatten) else prod(node.input) + prod(node.output)
        arrays = sum(parameter.size for parameter in node.parameters) / batch_size
        flops = 2.0 * passes * node.macs
        moved = float(passes * (values + arrays) * itemsize)
        found.append(Cost(node.path, flops, moved, flops / _saving(node.layer)))
    return found


def _leaves(nodes: Sequence[Node], training: bool) -> Iterator[Node]:
    for node in nodes:
        if training or not isinstance(node.layer, Auxiliary):
            for branch in node.branches:
                yield from _leaves(branch, training)
            if not isinstance(node.layer, Auxiliary):
                yield node


def _saving(layer: Layer) -> float:
    """How many times fewer multiplications a known algorithm takes: 4 for 3 x 3 windows at stride 1 by F(4x4, 3x3).

    Winograd's minimal filtering, Lavin and Gray 2016, section 4.2; what libraries use.
    """
    winograd = isinstance(layer, Conv) and pair(layer.kernel) == (3, 3) and pair(layer.stride) == (1, 1)
    return 4.0 if winograd else 1.0


def bound(network_costs: Sequence[Cost], own: Roof) -> float:
    """Pictures a second that the roofline of a framework allows a program that runs layer by layer."""
    return 1 / sum(cost.seconds(own) for cost in network_costs)


# By so much may a result pass: the roof was measured at one time and the network at another, and load from outside has
# been seen to take half of either.
SLACK = 2.0


def reachable(network_costs: Sequence[Cost], roofs: Sequence[Roof]) -> float:
    """Pictures a second that nothing on this machine can pass: the fewest operations at the best rate, and some slack.

    Infinite for a network without multiply-adds.
    """
    least = sum(cost.least for cost in network_costs)
    return SLACK * max(one.flops for one in roofs) / least if least else float("inf")
