"""How each network is trained when nobody says otherwise, and the articles' experiments: data, not code.

A recipe gives the data set, the batch, the optimiser and its rate, the initial weights and what is done to the pixels;
`source` says whose recipe it is. Options of `benchmarks.run` replace single values. An experiment is a recipe with what
was published of it: `benchmarks.reproduce` runs it and puts ours beside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.augment import Change, Crop, Cutout, Flip
from benchmarks.rates import CONSTANT, OneCycle, Schedule, Step
from frameworks.spec import Layer, Normalize, Scale
from frameworks.training import SGD, Adam, Optimizer, Training

ZERO_TO_ONE = (Scale("pixels", factor=1 / 255),)


@dataclass(frozen=True)
class Recipe:
    """What to train on and how. rate: the learning rate of every step, times the schedule's factor."""

    dataset: str
    epochs: int
    batch_size: int
    training: Training
    rate: float
    initial: str = "xavier_uniform"
    pixels: tuple[Layer, ...] = ZERO_TO_ONE
    shuffle: bool = True
    schedule: Schedule = CONSTANT
    changes: tuple[Change, ...] = ()  # of the training pictures, drawn anew for each epoch
    permutation: int | None = None  # the seed of one other order of the pixels, the same for all pictures
    side: int | None = None  # height and width to resize to, where it is not the network's own
    tested_in_training_mode: bool = False  # a slip of article 003: dropout is at work when it tests
    source: str = "ours, untuned"


def _normalized(mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[Layer, ...]:
    return (*ZERO_TO_ONE, Normalize("normalize", mean=mean, std=std))


_HALF = _normalized((0.5,), (0.5,))
_OUC_CIFAR = _normalized((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_PAGE_CIFAR = _normalized((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

_D2L = Recipe(
    "fashion-mnist", 10, 256, Training(SGD()), 0.9,
    source="Dive into Deep Learning, section 7.6: SGD 0.9, batch 256, Xavier-uniform weights, 10 epochs",
)  # fmt: skip
_GLUON = Recipe(
    "mnist", 10, 500, Training(Adam()), 0.01, pixels=(), shuffle=False,
    source="article 004: Adam 0.01, batch 500, raw pixels, no shuffling",
)  # fmt: skip
_OUC_MNIST = Recipe(
    "mnist", 1, 64, Training(SGD(momentum=0.5)), 0.01, pixels=_normalized((0.1307,), (0.3081,)),
    initial="fan_in_uniform",
    source="OUC colab_demo 05_01_ConvNet, after Canziani's 06-convnet",
)  # fmt: skip
_OUC_LENET = Recipe(
    "cifar10", 10, 64, Training(Adam()), 0.001, pixels=_HALF,
    initial="fan_in_uniform",
    source="OUC colab_demo 05_02_CNN_CIFAR10: Adam 0.001, batch 64",
)  # fmt: skip
_OUC_VGG = Recipe(
    "cifar10", 10, 128, Training(Adam()), 0.001, pixels=_OUC_CIFAR, changes=(Crop(4), Flip()),
    initial="fan_in_uniform",
    source="OUC colab_demo 05_03_VGG_CIFAR10: Adam 0.001, batch 128, crops and flips",
)  # fmt: skip
_ARTICLE_002 = Recipe(
    "fashion-mnist", 5, 16, Training(Adam()), 0.001, initial="fan_in_uniform",
    source="article 002: Adam, batch 16, 224 x 224",
)  # fmt: skip
_ARTICLE_003 = Recipe(
    "cifar10", 40, 128, Training(Adam()), 1e-4, pixels=_HALF, tested_in_training_mode=True,
    initial="fan_in_uniform",
    source="article 003, its second version: Adam 1e-4, batch 128, 224 x 224, 40 epochs",
)  # fmt: skip
_ROSETTA = Recipe(
    "cifar10", 10, 64, Training(SGD(momentum=0.9)), 0.01,
    source="ilkarman/DeepLearningFrameworks, notebooks/common/params.py: SGD 0.01, momentum 0.9, batch 64",
)  # fmt: skip
_SPEEDRUN = Recipe(
    "cifar10", 24, 512,
    Training(SGD(momentum=0.9, nesterov=True, weight_decay=5e-4), label_smoothing=0.2, decay_all=True), 0.4,
    initial="he_uniform", pixels=_PAGE_CIFAR, schedule=OneCycle(peak=5 / 24),
    changes=(Crop(4, reflect=True), Flip(), Cutout(8)),
    source='Page, "How to train your ResNet", 2018 and 2019: parts 1 to 4, and part 8 for the label smoothing',
)  # fmt: skip

RECIPES: dict[str, Recipe] = {
    "lenet": _D2L,
    "lenet_relu": _GLUON,
    "lenet_cifar": _OUC_LENET,
    "mlp": _OUC_MNIST,
    "cnn": _OUC_MNIST,
}

# For every other network, and for a user's own. SGD at 0.01 with momentum 0.9 makes VGG-19 diverge within eight steps.
DEFAULT = Recipe("fashion-mnist", 10, 128, Training(Adam()), 1e-4, initial="he_normal")

# `--optimizer`: each with the values that its papers and most recipes use.
OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": SGD(momentum=0.9),
    "nesterov": SGD(momentum=0.9, nesterov=True),
    "adam": Adam(),
    "adamw": Adam(weight_decay=0.01, decoupled=True),
}

# --- the articles' experiments ----------------------------------------------------------------------------------------

Metric = Literal["train_loss", "train_accuracy", "test_loss", "test_accuracy", "epoch_seconds", "seconds"]
TIMES = ("epoch_seconds", "seconds")


@dataclass(frozen=True)
class Figure:
    """What was published: one run's value, or the median of several between the lowest and the highest.

    seconds: of training until the experiment's target was reached; epoch_seconds: of an epoch's training and testing.
    epoch: None is the last one. rounding: half a unit of the last digit that was printed.
    """

    net: str
    metric: Metric
    value: float | None  # None: only the lowest and the highest are known
    whose: str
    low: float | None = None
    high: float | None = None
    epoch: int | None = None
    rounding: float = 0.0005


@dataclass(frozen=True)
class Experiment:
    """Networks trained with one recipe, and what was published of it.

    slips: where what is published cannot run, or does something else than it says, and what is done here. meant: the
    experiment as it was meant, where that is another. plain: the experiment that this one differs from in one thing,
    whose effect is what it is about. target: the test accuracy whose time is published.
    """

    nets: tuple[str, ...]
    recipe: Recipe
    published: tuple[Figure, ...] = ()
    slips: tuple[str, ...] = ()
    meant: Experiment | None = None
    plain: str | None = None
    target: float | None = None

    @property
    def variants(self) -> dict[str, Experiment]:
        """As written and, where there is one, as meant."""
        return {"as-written": self} | ({"as-meant": self.meant} if self.meant else {})


def _tests(net: str, *figures: tuple[float, str] | tuple[float, str, float, float]) -> tuple[Figure, ...]:
    """Test accuracies after the last epoch."""
    return tuple(Figure(net, "test_accuracy", *figure) for figure in figures)


def _d2l(
    net: str, recipe: Recipe, torch: tuple[int, float, float, float], tensorflow: tuple[int, float, float, float],
    *others: Figure, slips: tuple[str, ...] = (),
) -> Experiment:  # fmt: skip
    """One of the book's nets: how many runs were committed with each framework; lowest, median and highest of them."""
    told = (("PyTorch", *torch), ("TensorFlow", *tensorflow))
    spreads = [
        Figure(net, "test_accuracy", median, f"d2l, {title}: {runs} runs", low, high)
        for title, runs, low, median, high in told
    ]
    return Experiment((net,), recipe, (*spreads, *others), (*slips, _BIASES))


def _mxnet(net: str, epoch: int, loss: float, train: float, test: float) -> tuple[Figure, ...]:
    """A run of the book's code in MXNet: the Berkeley course's has 5 epochs, the one-day course's 10."""
    whose = f"d2l, MXNet: {'Berkeley STAT 157' if epoch == 5 else 'one-day course'}"
    metrics: tuple[tuple[Metric, float], ...] = (
        ("train_loss", loss), ("train_accuracy", train), ("test_accuracy", test),
    )  # fmt: skip
    return tuple(Figure(net, metric, value, whose, epoch=epoch) for metric, value in metrics)


_BIASES = "PyTorch draws biases too, from the range of their weights, where a recipe names no rule: here they are 0"
_COLLAPSED = "the spread is that of the runs that did not collapse (test accuracy under 0.15, or a loss that is none)"

# Article 004: training loss, training accuracy, test accuracy and seconds of each epoch.
_GLUON_EPOCHS = (
    (1.8267, 0.571, 0.896, 3.0), (0.2449, 0.924, 0.948, 2.6), (0.1563, 0.952, 0.954, 2.6), (0.1302, 0.961, 0.962, 2.5),
    (0.1169, 0.964, 0.958, 2.5), (0.1017, 0.969, 0.967, 2.5), (0.0855, 0.973, 0.964, 3.3), (0.0848, 0.973, 0.964, 3.6),
    (0.0767, 0.976, 0.963, 3.5), (0.0771, 0.977, 0.970, 3.5),
)  # fmt: skip
_GLUON_METRICS: tuple[Metric, ...] = ("train_loss", "train_accuracy", "test_accuracy", "epoch_seconds")
_ARTICLE = "article 004, MXNet"
_OUC = "OUC, PyTorch"
_TUTORIAL = "ShusenTang, PyTorch"
_BATCH_16 = "the batch sizes in its comments are never used: the loader of AlexNet, with 16, serves all its networks"


def _article_002(net: str, epochs: int, rate: float, meant: Experiment, *slips: str, side: int = 224) -> Experiment:
    recipe = replace(_ARTICLE_002, epochs=epochs, rate=rate, side=side)
    return Experiment((net,), recipe, slips=(*slips, _BATCH_16, _BIASES), meant=meant)


def _tutorial(net: str, batch_size: int, rate: float, accuracy: float) -> Experiment:
    """The tutorial from which article 002 took its networks: 5 epochs."""
    recipe = replace(
        _ARTICLE_002, batch_size=batch_size, rate=rate,
        source=f"ShusenTang, Dive-into-DL-PyTorch: Adam {rate:g}, batch {batch_size}, 5 epochs",
    )  # fmt: skip
    return Experiment((net,), recipe, _tests(net, (accuracy, _TUTORIAL)), (_BIASES,))


EXPERIMENTS: dict[str, Experiment] = {
    "d2l-lenet": _d2l(
        "lenet", _D2L, (163, 0.752, 0.806, 0.828), (31, 0.805, 0.822, 0.829),
        *_mxnet("lenet", 5, 0.6787, 0.735, 0.762), *_mxnet("lenet", 10, 0.472, 0.822, 0.829),
    ),
    "gluon-lenet": Experiment(
        ("lenet_relu",), _GLUON,
        tuple(
            Figure("lenet_relu", metric, value, _ARTICLE, epoch=epoch)
            for epoch, row in enumerate(_GLUON_EPOCHS, start=1) for metric, value in zip(_GLUON_METRICS, row)
        ),
        slips=("its text counts 61,706 parameters, for padded pictures; its code builds the 44,426 of unpadded ones",),
    ),
    "fc-vs-cnn": Experiment(
        ("mlp", "cnn"), _OUC_MNIST,
        (
            *_tests("mlp", (0.8735, _OUC)), Figure("mlp", "test_loss", 0.4253, _OUC),
            *_tests("cnn", (0.9615, _OUC)), Figure("cnn", "test_loss", 0.1266, _OUC),
        ),
        slips=(_BIASES,),
    ),
    "fc-vs-cnn-permuted": Experiment(
        ("mlp", "cnn"), replace(_OUC_MNIST, permutation=0),
        (
            *_tests("mlp", (0.8348, _OUC)), Figure("mlp", "test_loss", 0.5751, _OUC),
            *_tests("cnn", (0.8003, _OUC)), Figure("cnn", "test_loss", 0.6227, _OUC),
        ),
        slips=("the permutation was drawn without a seed: ours is another one", _BIASES),
        plain="fc-vs-cnn",
    ),
    "lenet-cifar": Experiment(
        ("lenet_cifar",), _OUC_LENET,
        (
            Figure("lenet_cifar", "test_accuracy", 0.62, "article 001", rounding=0.005),
            Figure("lenet_cifar", "test_accuracy", 0.64, _OUC, rounding=0.005),
        ),
        (_BIASES,),
    ),
    "vgg-cifar": Experiment(
        ("vgg_cifar",), _OUC_VGG, _tests("vgg_cifar", (0.8292, "article 001"), (0.8492, _OUC)),
        slips=("its code names a list that does not exist, and a dense layer of 2,048 inputs for 512: mended", _BIASES),
    ),
    "alexnet-fashion": _article_002(
        "alexnet_fashion", 3, 0.001, _tutorial("alexnet_d2l", 128, 0.001, 0.902),
        "its text has two hidden dense layers, its code one (the other is commented out)",
    ),
    "vgg-small": _article_002("vgg_small", 5, 0.001, _tutorial("vgg_small", 64, 0.001, 0.918)),
    "nin": _article_002("nin", 5, 0.002, _tutorial("nin", 128, 0.002, 0.831)),
    "googlenet-fashion": _article_002(
        "googlenet_fashion", 5, 0.001, _tutorial("googlenet_fashion", 128, 0.001, 0.896),
        "its shapes are for 96 x 96, its loader gives 224 x 224",
    ),
    "alexnet-cifar": Experiment(
        ("alexnet_cifar",), _ARTICLE_003,
        slips=(
            "`Adam(..., momentum=0.9)`, `normalize()` and an indentation stop its code: mended",
            "its scheduler is never stepped, so the rate stays 1e-4: as written here too",
            "`model.eval()` is never called, so dropout is at work when it tests: as written here too",
            "the loss that it prints is divided by the batch size once more: not here",
            "100 epochs in its first version, 40 in its second: 40 here",
            _BIASES,
        ),
        meant=Experiment(
            ("alexnet_cifar",), replace(_ARTICLE_003, schedule=Step(10, 0.5), tested_in_training_mode=False),
            slips=(_BIASES,),
        ),
    ),
    "d2l-lenet-bn": _d2l(
        "lenet_bn", replace(_D2L, rate=1.0, source="Dive into Deep Learning, section 8.5: SGD 1.0, batch 256"),
        (246, 0.518, 0.850, 0.894), (62, 0.761, 0.869, 0.890),
    ),
    "d2l-alexnet": _d2l(
        "alexnet_d2l",
        replace(_D2L, rate=0.01, batch_size=128, source="Dive into Deep Learning, section 8.1: SGD 0.01, batch 128"),
        (120, 0.847, 0.880, 0.886), (31, 0.870, 0.882, 0.887),
        *_mxnet("alexnet_d2l", 5, 0.4276, 0.844, 0.867), *_mxnet("alexnet_d2l", 10, 0.335, 0.878, 0.889),
    ),
    "d2l-vgg": _d2l(
        "vgg_d2l",
        replace(_D2L, rate=0.05, batch_size=128, source="Dive into Deep Learning, section 8.2: SGD 0.05, batch 128"),
        (106, 0.900, 0.9185, 0.925), (31, 0.915, 0.921, 0.924),
        *_mxnet("vgg_d2l", 5, 0.2605, 0.905, 0.911), *_mxnet("vgg_d2l", 10, 0.174, 0.936, 0.916),
    ),
    "d2l-nin": _d2l(
        "nin",
        replace(_D2L, rate=0.1, batch_size=128, source="Dive into Deep Learning, section 8.3: SGD 0.1, batch 128"),
        (103, 0.197, 0.849, 0.885), (28, 0.335, 0.854, 0.887),
        *_mxnet("nin", 5, 0.5287, 0.803, 0.828),
        slips=(_COLLAPSED + "; 8 of 111 runs in PyTorch and 3 of 31 in TensorFlow did",),
    ),
    "d2l-googlenet": _d2l(
        "googlenet_fashion",
        replace(_D2L, rate=0.1, batch_size=128, source="Dive into Deep Learning, section 8.4: SGD 0.1, batch 128"),
        (115, 0.808, 0.889, 0.902), (32, 0.603, 0.898, 0.912),
        *_mxnet("googlenet_fashion", 5, 0.3376, 0.873, 0.882),
        slips=(
            _COLLAPSED + "; 2 of 117 runs in PyTorch did",
            "the book has a ReLU after each convolution; article 002's net, which is trained here, lacks two of them",
        ),
    ),
    "d2l-resnet": _d2l(
        "resnet18_fashion",
        replace(_D2L, rate=0.05, source="Dive into Deep Learning, section 8.6: SGD 0.05, batch 256"),
        (113, 0.669, 0.912, 0.927), (31, 0.899, 0.922, 0.927),
        *_mxnet("resnet18_fashion", 5, 0.1134, 0.960, 0.917), *_mxnet("resnet18_fashion", 10, 0.013, 0.997, 0.879),
    ),
    "rosetta": Experiment(
        ("rosetta",), _ROSETTA,
        (Figure("rosetta", "test_accuracy", None, "Karmanov et al., a run in each framework", 0.7525, 0.7902),),
    ),
    "speedrun": Experiment(
        ("resnet9",), _SPEEDRUN,
        (
            Figure("resnet9", "seconds", 9.4, "DAWNBench, 8 V100"),
            Figure("resnet9", "seconds", 57.0, "DAWNBench, 1 V100"),
            Figure("resnet9", "seconds", 2.59, "airbench, 1 A100, another network and recipe"),
        ),
        slips=("half precision and tricks of single records are left out: this is the recipe that they started from",),
        target=0.94,
    ),
}  # fmt: skip
