"""The roofline of Williams, Waterman and Patterson 2009, by framework, network and layer.

Both limits are measured in each framework with networks built from specs, so no framework needs code for it. The rate
of matrix products n x n by n x n: four dense layers of n inputs on n images, and four convolutions of n maps with
windows of one pixel on an image of n pixels, because a framework may use different libraries for the two. The
bandwidth: chains of nine ReLUs and of one on a large input, of which the difference is counted: eight passes over
memory. The best of three sizes and of three calls counts, because interference only slows a machine down.

The spec gives the operations (two per multiply-add) and the bytes that move: every layer reads its input and its
weights and writes its output. Training takes three such passes through layers with weights (forward, backward by
input, backward by weight), two elsewhere, and no backward pass by the images. A framework that fuses layers moves less,
so the bound is that of a program that runs layer by layer; `reachable` is an absolute one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from benchmarks.records.events import Roofline
from benchmarks.runtime.devices import Kind
from benchmarks.runtime.precisions import ITEMSIZE
from benchmarks.runtime.worker_client import Commands
from frameworks.adapter import Setting
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
)
from frameworks.training import Training


@dataclass(frozen=True)
class RawRoofline:
    """Measured times: (n, operations, seconds) of each product and convolution, (bytes, seconds) of each copy."""

    products: list[tuple[float, float, float]]
    convolutions: list[tuple[float, float, float]]
    copies: list[tuple[float, float]]


# Side of the images for products; n is its square.
SIDES: dict[Kind, tuple[int, ...]] = {"cpu": (16, 32, 36), "cuda": (32, 64, 90), "mps": (24, 48, 64)}
# Size of the input that is copied.
MEBI_VALUES: dict[Kind, tuple[int, ...]] = {"cpu": (4, 8, 16), "cuda": (64, 128, 256), "mps": (16, 32, 64)}
PRODUCTS, COPIES, CALLS = 4, (1, 9), 3

# If two times differ by less than this fraction of the longer one, the difference is noise, or the chain was fused.
DISTINCT = 0.1


@dataclass(frozen=True)
class Roof:
    """Operations per second of matrix products, and bytes per second of copies; None if it could not be measured."""

    flops: float
    bandwidth: float | None


def measure(client: Commands, setting: Setting) -> RawRoofline:
    """Time the products, convolutions and copies of each size."""
    raw = RawRoofline([], [], [])
    for side in SIDES[setting.device]:
        n = side * side
        for times, network, count in ((raw.products, _products(side), n), (raw.convolutions, _convolutions(side), 1)):
            times.append((n, 2.0 * network.macs * count, _seconds(client, network, count, setting)))
    itemsize = ITEMSIZE[setting.precision]
    for mebi in MEBI_VALUES[setting.device]:
        few, many = (_seconds(client, _copies(mebi, passes), 1, setting) for passes in COPIES)
        moved = 2.0 * (COPIES[1] - COPIES[0]) * (mebi << 20) * itemsize
        if many - few > DISTINCT * many:
            raw.copies.append((moved, many - few))
    return raw


def _products(side: int) -> Network:
    """Matrix products with as many inputs as an image has pixels; run on as many images."""
    layers = [Dense(f"D{number}", side * side) for number in range(PRODUCTS)]
    return Network("product", (1, side, side), [Scale("pixels"), Flatten(), *layers])


def _convolutions(side: int) -> Network:
    """The same products as convolutions, on one image with as many maps as pixels; the output is small."""
    layers = [Conv(f"C{number}", side * side, 1) for number in range(PRODUCTS)]
    return Network("convolution", (side * side, side, side), [Scale("pixels"), *layers, GlobalAvgPool(), Flatten()])


def _copies(mebi: int, passes: int) -> Network:
    """A chain of ReLUs; the last layers keep the output small, because predictions are copied to the host.

    The dense layer takes no time beside the others. PyTorch makes no optimizer for a network without trained arrays.
    """
    end = (GlobalAvgPool(), Flatten(), Dense("D", 1))
    return Network("copy", (mebi, 1024, 1024), [*(ReLU(f"R{n}") for n in range(passes)), *end])


def _seconds(client: Commands, network: Network, count: int, setting: Setting) -> float:
    """Seconds to predict `count` random images at once: the fastest of a few calls, after one that compiles."""
    images = np.random.default_rng(0).integers(0, 256, (count, *network.input), np.uint8)
    client.build(network, Training(), setting)
    client.set_weights(initial(network, 0))
    client.load("test", images, np.zeros(count, np.int64))
    return float(min(client.infer("test", count, 1 + CALLS).calls[1:]))


def roof(measured: Roofline) -> Roof:
    """The best of all sizes, and of dense layers and convolutions; old records have no convolutions."""
    bandwidths = [moved / seconds for moved, seconds in measured.copies]
    products = [*measured.products, *measured.convolutions]
    return Roof(max(operations / seconds for _, operations, seconds in products), max(bandwidths, default=None))


# --- what a network needs ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LayerCost:
    """Of one layer and one image: operations, and bytes that must move. least: operations of the best algorithm."""

    path: str
    flops: float
    moved: float
    least: float

    def seconds(self, roof: Roof) -> float:
        """The bound: the longer of the times of its operations and of its bytes."""
        return max(self.flops / roof.flops, self.moved / roof.bandwidth if roof.bandwidth else 0.0)


def costs(network: Network, what: str, batch_size: int, itemsize: int = 4) -> list[LayerCost]:
    """Of every layer without branches, and of the layers that join branches, in reading order. what: train or infer."""
    layers, gradient_needed = [], False
    for node in _leaves(network.nodes, what == "train"):
        # By the input, if a layer before it has weights, and by its own weights.
        backward = (gradient_needed + bool(node.parameters)) if what == "train" else 0
        passes = 1 + backward
        gradient_needed = gradient_needed or bool(node.parameters)
        values = 0 if isinstance(node.layer, Flatten) else prod(node.input) + prod(node.output)
        arrays = sum(parameter.size for parameter in node.parameters) / batch_size
        flops = 2.0 * passes * node.macs
        moved = float(passes * (values + arrays) * itemsize)
        layers.append(LayerCost(node.path, flops, moved, flops / _saving(node.layer)))
    return layers


def _leaves(nodes: Sequence[Node], training: bool) -> Iterator[Node]:
    for node in nodes:
        if training or not isinstance(node.layer, Auxiliary):
            for branch in node.branches:
                yield from _leaves(branch, training)
            if not isinstance(node.layer, Auxiliary):
                yield node


def _saving(layer: Layer) -> float:
    """By what factor a known algorithm needs fewer multiplications: 4 for 3 x 3 windows at stride 1 by F(4x4, 3x3).

    Winograd's minimal filtering, Lavin and Gray 2016, section 4.2, as libraries use it.
    """
    winograd = isinstance(layer, Conv) and pair(layer.kernel) == (3, 3) and pair(layer.stride) == (1, 1)
    return 4.0 if winograd else 1.0


def bound(network_costs: Sequence[LayerCost], roof: Roof) -> float:
    """Images per second that the roofline of a framework allows a program that runs layer by layer."""
    return 1 / sum(cost.seconds(roof) for cost in network_costs)


# A result may exceed the bound by this factor: roofline and network are measured at different times, and load from
# other programs can halve either.
SLACK = 2.0


def reachable(network_costs: Sequence[LayerCost], roofs: Sequence[Roof]) -> float:
    """Images per second that nothing on this machine can exceed: the fewest operations at the best rate, times slack.

    Infinite for a network without multiply-adds.
    """
    least = sum(cost.least for cost in network_costs)
    return SLACK * max(each.flops for each in roofs) / least if least else float("inf")
