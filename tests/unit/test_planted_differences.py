"""Twenty mistakes of ports, each planted into one of two equal networks: found at its layer, with its cause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from benchmarks.porting.between import report
from benchmarks.porting.between.differences import OUTPUT, TRAINING
from benchmarks.porting.between.report import Report
from benchmarks.porting.sources import SOFTMAX, Side
from benchmarks.verification.case_weights import revealing_weights
from frameworks.arrays import Array, Weights
from frameworks.networks import NETWORKS
from frameworks.spec import (
    Add,
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Network,
    ReLU,
    Resize,
    Scale,
)
from frameworks.training import SGD, Adam, Training

MOMENTUM = Training(SGD(momentum=0.9, weight_decay=0.01))
WIDTH, INPUT, SUFFIX = 8, (3, 16, 16), "_b"


@dataclass(frozen=True)
class Model:
    """What a side of a comparison is made of. layers: by name, in order."""

    layers: dict[str, Layer]
    training: Training = MOMENTUM
    arrays: dict[str, Array] = field(default_factory=dict)  # in the place of those that are drawn
    notes: tuple[str, ...] = ()

    def changed(self, name: str, **arguments: object) -> Model:
        """The same with other arguments of one layer."""
        return replace(self, layers=self.layers | {name: replace(self.layers[name], **arguments)})  # type: ignore[arg-type]

    def without(self, name: str) -> Model:
        return replace(self, layers={key: layer for key, layer in self.layers.items() if key != name})

    def exchanged(self, one: str, other: str) -> Model:
        """The same with two layers in each other's place."""
        order = [{one: other, other: one}.get(name, name) for name in self.layers]
        return replace(self, layers={name: self.layers[name] for name in order})


def sound() -> Model:
    """Layers of every kind that the mistakes concern."""
    body = [Conv("block_conv", WIDTH, 3, padding=1), BatchNorm("block_bn")]
    layers: Sequence[Layer] = [
        Scale("scale"),
        Conv("conv1", WIDTH, 3, padding=1, bias=False),
        BatchNorm("bn1"),
        ReLU("relu1"),
        LocalResponseNorm("lrn", 5, alpha=5e-4),
        MaxPool("pool", 3, 2),
        Conv("conv2", WIDTH, 3, stride=2, padding=((0, 1), (0, 1))),
        ReLU("relu2"),
        Add("block", (body, ())),
        ReLU("relu3"),
        Resize("resize", 6, 6),
        Conv("conv3", WIDTH, 3),
        ReLU("relu4"),
        AvgPool("mean", 2, 2),
        Flatten("flatten"),
        Dropout("dropout", rate=0.2),
        Dense("dense", 10),
        ReLU("relu5"),
        Dense("output", 10),
    ]
    return Model({layer.name: layer for layer in layers})


def network(model: Model, suffix: str = "") -> Network:
    """The network of a model; the suffix gives other names to all layers."""
    return Network("net", INPUT, [_renamed(layer, suffix) for layer in model.layers.values()])


def _renamed(layer: Layer, suffix: str) -> Layer:
    name = layer.name + suffix
    if isinstance(layer, Add):
        return replace(layer, name=name, chains=[[_renamed(each, suffix) for each in chain] for chain in layer.chains])
    return replace(layer, name=name)


def arrays(model: Model) -> Weights:
    """By the names without a suffix."""
    drawn = revealing_weights(network(model), 0)
    assert model.arrays.keys() <= drawn.keys()
    return drawn | model.arrays


def compared(a: Model, b: Model) -> Report:
    """B has other names than A. Weights are given to both if the arrays are the difference."""
    sides = []
    for model, suffix in ((a, ""), (b, SUFFIX)):
        spec = network(model, suffix)
        names = [parameter.name for parameter in spec.parameters]
        weights = dict(zip(names, arrays(model).values())) if a.arrays or b.arrays else None
        sides.append(Side(f"net{suffix}", spec, weights, model.notes))
    return report.compared(sides[0], sides[1], None if a.training == b.training else (a.training, b.training))


def with_array(name: str, array: Array) -> Model:
    return replace(sound(), arrays={name: array})


def flattened_in_rows() -> Array:
    """The dense layer's weights with their inputs as a channels-last framework flattens them."""
    weight = arrays(sound())["dense.weight"]
    return weight.reshape(10, WIDTH, 2, 2).transpose(0, 2, 3, 1).reshape(weight.shape)


def kernel(name: str) -> Array:
    return arrays(sound())[f"{name}.weight"]


# A, B, the layers at which the first tensor differs, the stage, and words of the cause.
FORWARD, IN_TRAINING, STATISTICS = "forward in evaluation", "forward in training", "running statistics"
A = sound()
PLANTED: dict[str, tuple[Model, Model, tuple[str, str], str, str]] = {
    "padding side": (A, A.changed("conv2", padding=((1, 0), (1, 0))), ("conv2", "conv2"), FORWARD,
                     "the same number of zeros on the other side"),
    "epsilon": (A, A.changed("bn1", eps=1e-3), ("bn1", "bn1"), FORWARD,
                "0.001 is the default of Keras"),
    "momentum": (A, A.changed("bn1", momentum=0.9), ("bn1", "bn1"), STATISTICS,
                 "the fraction of the new statistic (PyTorch) taken for that of the old one"),
    "flatten order": (A, with_array("dense.weight", flattened_in_rows()), ("dense", "dense"), FORWARD,
                      "flatten order: channels, rows, columns in A, rows, columns, channels in B"),
    "flatten order of A": (with_array("dense.weight", flattened_in_rows()), A, ("dense", "dense"), FORWARD,
                           "flatten order: rows, columns, channels in A, channels, rows, columns in B"),
    "fixed gamma": (with_array("block.block_bn.gamma", np.ones(WIDTH)), A, ("block.block_bn", "block.block_bn"),
                    FORWARD, "gamma is 1 everywhere in A: fixed there"),
    "gamma of the layer": (A.changed("bn1", gamma=False), A, ("bn1", "bn1"), FORWARD,
                           "gamma is fixed at 1 in A"),
    "LRN alpha": (A, A.changed("lrn", alpha=1e-4), ("lrn", "lrn"), FORWARD,
                  "divide it by the window's size, TensorFlow and the paper do not"),
    "missing ReLU": (A, A.without("relu2"), ("relu2", ""), FORWARD, "B has no ReLU after conv2"),
    "bias": (A, A.changed("conv3", bias=False), ("conv3", "conv3"), FORWARD, "no bias in B"),
    "order of normalization and activation": (A, A.exchanged("bn1", "relu1"), ("relu1", "relu1"), FORWARD,
                                              "BatchNorm, ReLU in A, ReLU, BatchNorm in B"),
    "pooling rounding": (A.changed("pool", ceil=True), A, ("pool", "pool"),
                         FORWARD, "the number of windows is rounded up in A (Caffe, ceil_mode=True) and down in B"),
    "dropout rate": (A, A.changed("dropout", rate=0.8), ("dropout", "dropout"), IN_TRAINING,
                     "the fraction that is dropped was taken for the one that is kept"),
    "aligned corners": (A, A.changed("resize", positions="aligned_corners"), ("resize", "resize"), FORWARD,
                        "aligned corners (align_corners=True) in B"),
    "input scaling": (A, A.without("scale"), ("scale", ""), FORWARD, "input scaling"),
    "scaled weights": (A, with_array("conv1.weight", 255 * kernel("conv1")), ("conv1", "conv1"), FORWARD,
                       "B is A times 255: pixels from 0 to 255"),
    "BGR": (A, with_array("conv1.weight", kernel("conv1")[:, ::-1]), ("conv1", "conv1"), FORWARD,
            "RGB in one, BGR in the other"),
    "label smoothing": (A, replace(A, training=replace(A.training, label_smoothing=0.1)), (TRAINING, TRAINING),
                        "loss", "label smoothing is 0 in A, 0.1 in B"),
    "decay form": (replace(A, training=Training(Adam(weight_decay=0.1))),
                   replace(A, training=Training(Adam(weight_decay=0.1, decoupled=True))), ("", ""), "step 1 at 0.01",
                   "weight decay is decoupled from the gradient in B (AdamW)"),
    "learning-rate form": (A, replace(A, training=Training(SGD(momentum=0.9, weight_decay=0.01, lr_in_velocity=True))),
                           ("", ""), "step 3 at 0.001", "the velocity contains the learning rate in B"),
    "double softmax": (A, replace(A, notes=(f"{SOFTMAX}: the network gives logits",)), (OUTPUT, OUTPUT), FORWARD,
                       "B ends in softmax, A gives logits"),
    "stride": (A, A.changed("conv2", stride=1), ("conv2", "conv2"), FORWARD, "stride is 2 in A, 1 in B"),
    "transposed kernel": (A, with_array("conv3.weight", kernel("conv3").swapaxes(2, 3)), ("conv3", "conv3"), FORWARD,
                          "rows and columns of the kernel are exchanged"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_difference_is_found(name: str) -> None:
    """The first tensor that differs is that of the layer, and the cause is said; nothing else is reported."""
    a, b, places, stage, words = PLANTED[name]
    result = compared(a, b)
    assert not result.same
    first = next(each for each in result.stages if each.parted)
    assert first.name == stage and first.parted
    if any(places):
        ends = (TRAINING, OUTPUT)
        other = ".".join(part + SUFFIX for part in places[1].split(".") if part)
        assert (first.parted.a, first.parted.b) == (places[0], places[1] if places[1] in ends else other)
    assert words in result.cause, result.text
    assert len(result.differences) == 1, result.text


def test_equal_networks_with_other_names() -> None:
    result = compared(A, A)
    assert result.same and result.verdict == "The same function."
    assert result.differences == ()
    assert [stage.name for stage in result.stages] == [FORWARD, IN_TRAINING, STATISTICS, "loss", "gradients"]


@pytest.mark.parametrize("owners", ["", "A", "B", "AB"])
def test_weights_in_float32_of_either_side_give_no_difference(owners: str) -> None:
    """Both sides compute in float64, whatever their files hold."""
    network = NETWORKS["lenet_bn"]()
    stored = {name: array.astype(np.float32) for name, array in revealing_weights(network, 0).items()}
    a, b = (Side(name, network, stored if name in owners else None) for name in "AB")
    found = report.compared(a, b)
    assert found.same and not found.differences and found.verdict == "The same function."
    expected = {"": "drawn weights in both", "AB": "each with the weights of its file"}
    assert found.weights == expected.get(owners, f"the weights of the file of {owners} in both")


def test_a_difference_without_a_cause_is_one_of_the_function() -> None:
    network = NETWORKS["lenet"]()
    a, b = (Side(name, network, revealing_weights(network, seed)) for seed, name in enumerate("AB"))
    found = report.compared(a, b)
    assert not found.same and found.verdict.startswith("Another function.")
