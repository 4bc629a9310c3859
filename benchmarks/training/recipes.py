"""How each network is trained: data, not code.

A recipe names the data set, batch size, optimizer, learning rate and initial weights, and how pixels are prepared;
`source` says where the recipe comes from. Options of `onespec run` replace single values. The figures published for
these recipes are in `benchmarks/articles/experiments.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.datasets.augmentation import Augmentation, Crop, Cutout, Flip
from benchmarks.training.lr_schedules import CONSTANT, OneCycle, Schedule
from frameworks.spec import Layer, Normalize, Scale
from frameworks.training import SGD, Adadelta, Adam, Optimizer, RMSprop, Training

ZERO_TO_ONE = (Scale("pixels", factor=1 / 255),)


@dataclass(frozen=True)
class QuickTraining:
    """How `--quick` trains where the recipe needs more epochs before the accuracy increases."""

    training: Training
    lr: float
    batch_size: int


@dataclass(frozen=True)
class Recipe:
    """What to train on, and how."""

    dataset: str
    epochs: int
    batch_size: int
    training: Training
    lr: float  # of every step, times the schedule's factor
    initial: str = "xavier_uniform"
    pixels: tuple[Layer, ...] = ZERO_TO_ONE
    shuffle: bool = True
    fixed_batches: bool = False  # only their order is shuffled: a batch has the same images in every epoch
    lr_schedule: Schedule = CONSTANT
    augmentations: tuple[Augmentation, ...] = ()  # of the training images, drawn afresh for each epoch
    permutation: int | None = None  # seed of a permutation of the pixels, the same for all images
    side: int | None = None  # height and width to resize to, if not those of the network
    quick: QuickTraining | None = None  # None: as in the recipe
    test_in_training_mode: bool = False  # as without `eval()`: dropout is active, batch norm uses batch statistics
    source: str = "onespec, untuned"


def normalized(mean: Sequence[float], std: Sequence[float]) -> tuple[Layer, ...]:
    """Pixels from 0 to 1, less their mean, divided by their standard deviation: a value by channel, or one for all."""
    return (*ZERO_TO_ONE, Normalize("normalize", mean=tuple(mean), std=tuple(std)))


_HALF = normalized((0.5,), (0.5,))
_OUC_CIFAR = normalized((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_PAGE_CIFAR = normalized((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

# The sigmoids of LeNet need several epochs of the full data set with SGD at 0.9; after two of `--quick` the accuracy is
# that of chance. Adam at 0.005 exceeds 0.5 with every seed that was tried.
D2L = Recipe(
    "fashion-mnist", 10, 256, Training(SGD()), 0.9,
    quick=QuickTraining(Training(Adam()), 0.005, 16),
    source="d2l-zh, second edition, section 6.6: SGD 0.9, batch 256, Xavier-uniform weights, 10 epochs",
)  # fmt: skip
GLUON = Recipe(
    "mnist", 10, 500, Training(Adam()), 0.01, pixels=(), shuffle=False,
    source="article 004: Adam 0.01, batch 500, raw pixels, no shuffling",
)  # fmt: skip
OUC_MNIST = Recipe(
    "mnist", 1, 64, Training(SGD(momentum=0.5)), 0.01, pixels=normalized((0.1307,), (0.3081,)),
    initial="fan_in_uniform",
    source="OUC colab_demo 05_01_ConvNet, after Canziani's 06-convnet",
)  # fmt: skip
OUC_LENET = Recipe(
    "cifar10", 10, 64, Training(Adam()), 0.001, pixels=_HALF,
    initial="fan_in_uniform",
    source="OUC colab_demo 05_02_CNN_CIFAR10: Adam 0.001, batch 64",
)  # fmt: skip
OUC_VGG = Recipe(
    "cifar10", 10, 128, Training(Adam()), 0.001, pixels=_OUC_CIFAR, augmentations=(Crop(4), Flip()),
    initial="fan_in_uniform",
    source="OUC colab_demo 05_03_VGG_CIFAR10: Adam 0.001, batch 128, crops and flips",
)  # fmt: skip
ARTICLE_002 = Recipe(
    "fashion-mnist", 5, 16, Training(Adam()), 0.001, initial="fan_in_uniform",
    source="article 002: Adam, batch 16, 224 x 224",
)  # fmt: skip
ARTICLE_003 = Recipe(
    "cifar10", 40, 128, Training(Adam()), 1e-4, pixels=_HALF, test_in_training_mode=True,
    initial="fan_in_uniform",
    source="article 003, its second version: Adam 1e-4, batch 128, 224 x 224, 40 epochs",
)  # fmt: skip
ROSETTA = Recipe(
    "cifar10", 10, 64, Training(SGD(momentum=0.9)), 0.01,
    source="ilkarman/DeepLearningFrameworks, notebooks/common/params.py: SGD 0.01, momentum 0.9, batch 64",
)  # fmt: skip
SPEEDRUN = Recipe(
    "cifar10", 24, 512,
    Training(SGD(momentum=0.9, nesterov=True, weight_decay=5e-4), label_smoothing=0.2, decay_all=True), 0.4,
    initial="he_uniform", pixels=_PAGE_CIFAR, lr_schedule=OneCycle(peak=5 / 24),
    augmentations=(Crop(4, reflect=True), Flip(), Cutout(8)),
    source='Page, "How to train your ResNet", 2018 and 2019: parts 1 to 4, and part 8 for the label smoothing',
)  # fmt: skip

RECIPES: dict[str, Recipe] = {
    "lenet": D2L,
    "lenet_relu": GLUON,
    "lenet_cifar": OUC_LENET,
    "mlp": OUC_MNIST,
    "cnn": OUC_MNIST,
}

# For every other network. SGD at 0.01 with momentum 0.9 makes VGG-19 diverge within eight steps.
DEFAULT = Recipe("fashion-mnist", 10, 128, Training(Adam()), 1e-4, initial="he_normal")

# `--optimizer`: each with the usual values.
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9),
    "nesterov": SGD(momentum=0.9, nesterov=True),
    "adam": Adam(),
    "adamw": Adam(weight_decay=0.01, decoupled=True),
    "rmsprop": RMSprop(),
    "adadelta": Adadelta(),
}
