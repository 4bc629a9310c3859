"""How each network is trained when nobody says otherwise: data, not code.

A recipe gives the data set, the batch, the optimiser and its rate, the initial weights and what is done to the pixels;
`source` says whose recipe it is. Options of `benchmarks.run` replace single values.
"""

from __future__ import annotations

from dataclasses import dataclass

from frameworks.spec import Layer, Normalize, Scale
from frameworks.training import SGD, Adam, Optimizer, Training

ZERO_TO_ONE = (Scale("pixels", factor=1 / 255),)


@dataclass(frozen=True)
class Recipe:
    """What to train on and how. rate: the learning rate of every step."""

    dataset: str
    epochs: int
    batch_size: int
    training: Training
    rate: float
    initial: str = "xavier_uniform"
    pixels: tuple[Layer, ...] = ZERO_TO_ONE
    shuffle: bool = True
    source: str = "ours, untuned"


_OUC_MNIST = Recipe(
    "mnist", 1, 64, Training(SGD(momentum=0.5)), 0.01,
    pixels=(*ZERO_TO_ONE, Normalize("normalize", mean=(0.1307,), std=(0.3081,))),
    source="OUC colab_demo 05_01_ConvNet, after Canziani's 06-convnet",
)  # fmt: skip

RECIPES: dict[str, Recipe] = {
    "lenet": Recipe(
        "fashion-mnist", 10, 256, Training(SGD()), 0.9,
        source="Dive into Deep Learning, section 7.6: SGD 0.9, batch 256, Xavier-uniform weights, 10 epochs",
    ),
    "lenet_relu": Recipe(
        "mnist", 10, 500, Training(Adam()), 0.01, pixels=(), shuffle=False,
        source="article 004: Adam 0.01, batch 500, raw pixels, no shuffling",
    ),
    "lenet_cifar": Recipe(
        "cifar10", 10, 64, Training(Adam()), 0.001,
        pixels=(*ZERO_TO_ONE, Normalize("normalize", mean=(0.5,), std=(0.5,))),
        source="OUC colab_demo 05_02_CNN_CIFAR10: Adam 0.001, batch 64",
    ),
    "mlp": _OUC_MNIST,
    "cnn": _OUC_MNIST,
}  # fmt: skip

# For every other network, and for a user's own.
DEFAULT = Recipe("fashion-mnist", 10, 128, Training(SGD(momentum=0.9)), 0.01, initial="he_normal")

# `--optimizer`: each with the values that its papers and most recipes use.
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9),
    "nesterov": SGD(momentum=0.9, nesterov=True),
    "adam": Adam(),
    "adamw": Adam(weight_decay=0.01, decoupled=True),
}
