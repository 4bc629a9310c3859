"""The articles' experiments as data: recipes and published figures.

`benchmarks.reproduce` runs one and compares the figures. Where the code of an article cannot run, or does not do what
the article says, the slip is listed, and the experiment has two variants: as written and as meant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.training.lr_schedules import Step
from benchmarks.training.recipes import (
    ARTICLE_002,
    ARTICLE_003,
    D2L,
    GLUON,
    OUC_LENET,
    OUC_MNIST,
    OUC_VGG,
    ROSETTA,
    SPEEDRUN,
    Recipe,
)

Metric = Literal["train_loss", "train_accuracy", "test_loss", "test_accuracy", "epoch_seconds", "seconds"]
TIMES = ("epoch_seconds", "seconds")


@dataclass(frozen=True)
class Figure:
    """A published figure: the value of one run, or the median of several with the lowest and the highest.

    metric: `seconds` is the training time until the experiment's target was reached, `epoch_seconds` the training and
    testing time of an epoch. epoch: None is the last one. decimals: as printed; truncated: further digits were cut off
    instead of rounded.
    """

    net: str
    metric: Metric
    value: float | None  # None: only the lowest and the highest are known
    source: str
    low: float | None = None
    high: float | None = None
    epoch: int | None = None
    decimals: int = 3
    truncated: bool = False

    def range_of(self, printed: float) -> tuple[float, float]:
        """The range of the numbers that would be printed like this one."""
        unit = 10.0**-self.decimals
        return (printed, printed + unit) if self.truncated else (printed - unit / 2, printed + unit / 2)

    def printed(self, value: float) -> str:
        """A value with all digits that were printed; a median of two may have one more."""
        return max(f"{value:.{self.decimals}f}", f"{value:g}", key=len)


@dataclass(frozen=True)
class Experiment:
    """Networks trained with one recipe, and the published figures.

    slips: where the published code cannot run, or does not do what its text says, and what is done here. meant: the
    experiment as it was meant, where it differs. plain: an experiment that differs from this one in a single thing,
    whose effect is the subject. target: the test accuracy whose time is published.
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
        """The experiment as written and, where it differs, as meant."""
        return {"as-written": self} | ({"as-meant": self.meant} if self.meant else {})


def _accuracies(net: str, *figures: tuple[float, str], decimals: int = 4) -> tuple[Figure, ...]:
    """Test accuracies after the last epoch, with their sources."""
    return tuple(Figure(net, "test_accuracy", value, source, decimals=decimals) for value, source in figures)


def _d2l(
    net: str, recipe: Recipe, torch: tuple[int, float, float, float], tensorflow: tuple[int, float, float, float],
    *others: Figure, slips: tuple[str, ...] = (),
) -> Experiment:  # fmt: skip
    """A network of the book; of each framework: the number of runs, and their lowest, median and highest accuracy."""
    by_framework = (("PyTorch", *torch), ("TensorFlow", *tensorflow))
    spreads = [
        Figure(net, "test_accuracy", median, f"d2l, {title}: {runs} runs", low, high)
        for title, runs, low, median, high in by_framework
    ]
    return Experiment((net,), recipe, (*spreads, *others), (*slips, _BATCHES, _BIASES))


def _single_run(net: str, source: str, epoch: int, loss: float, train: float, test: float) -> tuple[Figure, ...]:
    """A single run of the book's code."""
    metrics: tuple[tuple[Metric, float], ...] = (
        ("train_loss", loss), ("train_accuracy", train), ("test_accuracy", test),
    )  # fmt: skip
    digits = {"train_loss": 4} if source == _BERKELEY else {}
    return tuple(
        Figure(net, metric, value, source, epoch=epoch, decimals=digits.get(metric, 3)) for metric, value in metrics
    )


_SITE = "d2l-zh, PyTorch: its site"
_BERKELEY = "d2l, MXNet: Berkeley STAT 157"
_ONE_DAY = "d2l, MXNet: one-day course"
_BATCHES = (
    "the book's TensorFlow loader forms batches and then shuffles them, so a batch has the same images in every epoch "
    "(see d2l-lenet-batches); here images are shuffled, as in its PyTorch and MXNet loaders"
)
_BIASES = "without an explicit rule, PyTorch draws biases from the same range as weights; here they are 0"
_COLLAPSED = "the spread leaves out runs that collapsed (test accuracy below 0.15, or a loss that is not a number)"

# Article 004: training loss, training accuracy, test accuracy and seconds of each epoch.
_GLUON_EPOCHS = (
    (1.8267, 0.571, 0.896, 3.0), (0.2449, 0.924, 0.948, 2.6), (0.1563, 0.952, 0.954, 2.6), (0.1302, 0.961, 0.962, 2.5),
    (0.1169, 0.964, 0.958, 2.5), (0.1017, 0.969, 0.967, 2.5), (0.0855, 0.973, 0.964, 3.3), (0.0848, 0.973, 0.964, 3.6),
    (0.0767, 0.976, 0.963, 3.5), (0.0771, 0.977, 0.970, 3.5),
)  # fmt: skip
_GLUON_METRICS: tuple[tuple[Metric, int], ...] = (
    ("train_loss", 4), ("train_accuracy", 3), ("test_accuracy", 3), ("epoch_seconds", 1),
)  # fmt: skip
_ARTICLE = "article 004, MXNet"
_OUC = "OUC, PyTorch"
_TUTORIAL = "ShusenTang, PyTorch"
_BATCH_16 = "the batch sizes in its comments are never used: all its networks use AlexNet's loader, with batch size 16"


def _article_002(net: str, epochs: int, rate: float, meant: Experiment, *slips: str, side: int = 224) -> Experiment:
    recipe = replace(ARTICLE_002, epochs=epochs, lr=rate, side=side)
    return Experiment((net,), recipe, slips=(*slips, _BATCH_16, _BIASES), meant=meant)


def _tutorial(net: str, batch_size: int, rate: float, accuracy: float) -> Experiment:
    """The tutorial from which article 002 took its networks, with 5 epochs."""
    recipe = replace(
        ARTICLE_002, batch_size=batch_size, lr=rate,
        source=f"ShusenTang, Dive-into-DL-PyTorch: Adam {rate:g}, batch {batch_size}, 5 epochs",
    )  # fmt: skip
    return Experiment((net,), recipe, _accuracies(net, (accuracy, _TUTORIAL)), (_BIASES,))


_VGG_CIFAR = _accuracies("vgg_cifar", (0.8292, "article 001"), (0.8492, _OUC))

EXPERIMENTS: dict[str, Experiment] = {
    "d2l-lenet": _d2l(
        "lenet", D2L, (163, 0.752, 0.806, 0.828), (31, 0.805, 0.822, 0.829),
        *_single_run("lenet", _SITE, 10, 0.469, 0.823, 0.779),
        *_single_run("lenet", _BERKELEY, 5, 0.6787, 0.735, 0.762),
        *_single_run("lenet", _ONE_DAY, 10, 0.472, 0.822, 0.829),
    ),
    "d2l-lenet-batches": Experiment(
        ("lenet",), replace(D2L, fixed_batches=True),
        (Figure("lenet", "test_accuracy", 0.822, "d2l, TensorFlow: 31 runs", 0.805, 0.829),),
        slips=("the book's TensorFlow loader: it forms batches, then shuffles them", _BIASES),
        plain="d2l-lenet",
    ),
    "gluon-lenet": Experiment(
        ("lenet_relu",), GLUON,
        tuple(
            Figure("lenet_relu", metric, value, _ARTICLE, epoch=epoch, decimals=decimals)
            for epoch, row in enumerate(_GLUON_EPOCHS, start=1)
            for (metric, decimals), value in zip(_GLUON_METRICS, row)
        ),
        slips=(
            "its text counts 61,706 parameters, for 32 x 32 images; its code builds 44,426, for 28 x 28",
            "its times include loading the batches and a second test in every epoch, whose result is not used",
            "MXNet's Adam adds epsilon before it corrects the moments; here it is added after, as in the paper",
        ),
        meant=Experiment(
            ("lenet_relu",), replace(GLUON, side=32),
            slips=("the images are resized to 32 x 32",),
        ),
    ),
    "fc-vs-cnn": Experiment(
        ("mlp", "cnn"), OUC_MNIST,
        (
            *_accuracies("mlp", (0.8735, _OUC)), Figure("mlp", "test_loss", 0.4253, _OUC, decimals=4),
            *_accuracies("cnn", (0.9615, _OUC)), Figure("cnn", "test_loss", 0.1266, _OUC, decimals=4),
        ),
        slips=(_BIASES,),
    ),
    "fc-vs-cnn-permuted": Experiment(
        ("mlp", "cnn"), replace(OUC_MNIST, permutation=0),
        (
            *_accuracies("mlp", (0.8348, _OUC)), Figure("mlp", "test_loss", 0.5751, _OUC, decimals=4),
            *_accuracies("cnn", (0.8003, _OUC)), Figure("cnn", "test_loss", 0.6227, _OUC, decimals=4),
        ),
        slips=(
            "each of its two networks had its own permutation, drawn without a seed; here both networks and all seeds "
            "share one permutation, so the spread does not include the choice of the permutation",
            _BIASES,
        ),
        plain="fc-vs-cnn",
    ),
    "lenet-cifar": Experiment(
        ("lenet_cifar",), OUC_LENET,
        (
            Figure("lenet_cifar", "test_accuracy", 0.62, "article 001", decimals=2),
            Figure("lenet_cifar", "test_accuracy", 0.64, _OUC, decimals=2, truncated=True),
        ),
        ("the notebook truncates its percentage", _BIASES),
    ),
    "vgg-cifar": Experiment(
        ("vgg_cifar",), replace(OUC_VGG, test_in_training_mode=True), _VGG_CIFAR,
        slips=(
            "its code uses a list that does not exist, and a dense layer with 2,048 inputs instead of 512: repaired",
            "`eval()` is never called, so batch norm uses the statistics of each test batch; the same is done here",
            _BIASES,
        ),
        meant=Experiment(("vgg_cifar",), OUC_VGG, _VGG_CIFAR, (_BIASES,)),
    ),
    "alexnet-fashion": _article_002(
        "alexnet_fashion", 3, 0.001, _tutorial("alexnet_d2l", 128, 0.001, 0.902),
        "its text has two hidden dense layers, its code one (the other is commented out)",
    ),
    "vgg-small": _article_002("vgg_small", 5, 0.001, _tutorial("vgg_small", 64, 0.001, 0.918)),
    "nin": _article_002("nin", 5, 0.002, _tutorial("nin", 128, 0.002, 0.831)),
    "googlenet-fashion": _article_002(
        "googlenet_fashion", 5, 0.001, _tutorial("googlenet_fashion", 128, 0.001, 0.896),
        "its shapes are for 96 x 96; its loader gives 224 x 224",
    ),
    "alexnet-cifar": Experiment(
        ("alexnet_cifar",), ARTICLE_003,
        slips=(
            "`Adam(..., momentum=0.9)`, `normalize()` and an indentation error stop its code: repaired",
            "its scheduler is never stepped, so the learning rate stays at 1e-4; the same is done here",
            "`model.eval()` is never called, so dropout is active in testing; the same is done here",
            "the printed loss is divided by the batch size a second time; not here",
            "its first version has 100 epochs, its second 40; here 40",
            _BIASES,
        ),
        meant=Experiment(
            ("alexnet_cifar",), replace(ARTICLE_003, lr_schedule=Step(10, 0.5), test_in_training_mode=False),
            slips=(_BIASES,),
        ),
    ),
    "d2l-lenet-bn": _d2l(
        "lenet_bn", replace(D2L, lr=1.0, source="d2l-zh, second edition, section 7.5: SGD 1.0, batch 256"),
        (246, 0.518, 0.850, 0.894), (62, 0.761, 0.869, 0.890),
        *_single_run("lenet_bn", _SITE, 10, 0.273, 0.899, 0.807),
        *_single_run("lenet_bn", f"{_SITE}, second run", 10, 0.267, 0.902, 0.708),
    ),
    "d2l-alexnet": _d2l(
        "alexnet_d2l",
        replace(D2L, lr=0.01, batch_size=128, source="d2l-zh, second edition, section 7.1: SGD 0.01, batch 128"),
        (120, 0.847, 0.880, 0.886), (31, 0.870, 0.882, 0.887),
        *_single_run("alexnet_d2l", _SITE, 10, 0.331, 0.878, 0.883),
        *_single_run("alexnet_d2l", _BERKELEY, 5, 0.4276, 0.844, 0.867),
        *_single_run("alexnet_d2l", _ONE_DAY, 10, 0.335, 0.878, 0.889),
    ),
    "d2l-vgg": _d2l(
        "vgg_d2l",
        replace(D2L, lr=0.05, batch_size=128, source="d2l-zh, second edition, section 7.2: SGD 0.05, batch 128"),
        (106, 0.900, 0.9185, 0.925), (31, 0.915, 0.921, 0.924),
        *_single_run("vgg_d2l", _SITE, 10, 0.178, 0.935, 0.920),
        *_single_run("vgg_d2l", _BERKELEY, 5, 0.2605, 0.905, 0.911),
        *_single_run("vgg_d2l", _ONE_DAY, 10, 0.174, 0.936, 0.916),
    ),
    "d2l-nin": _d2l(
        "nin",
        replace(D2L, lr=0.1, batch_size=128, source="d2l-zh, second edition, section 7.3: SGD 0.1, batch 128"),
        (103, 0.197, 0.849, 0.885), (28, 0.335, 0.854, 0.887),
        *_single_run("nin", _SITE, 10, 0.563, 0.786, 0.790),
        *_single_run("nin", _BERKELEY, 5, 0.5287, 0.803, 0.828),
        slips=(f"{_COLLAPSED}: 8 of 111 in PyTorch and 3 of 31 in TensorFlow",),
    ),
    "d2l-googlenet": _d2l(
        "googlenet_fashion",
        replace(D2L, lr=0.1, batch_size=128, source="d2l-zh, second edition, section 7.4: SGD 0.1, batch 128"),
        (115, 0.808, 0.889, 0.902), (32, 0.603, 0.898, 0.912),
        *_single_run("googlenet_fashion", _SITE, 10, 0.262, 0.900, 0.886),
        *_single_run("googlenet_fashion", _BERKELEY, 5, 0.3376, 0.873, 0.882),
        *_single_run("googlenet_fashion", _ONE_DAY, 5, 0.336, 0.873, 0.879),
        slips=(
            f"{_COLLAPSED}: 2 of 117 in PyTorch",
            "the book has a ReLU after each convolution; article 002's network, which is trained here, lacks two",
        ),
    ),
    "d2l-resnet": _d2l(
        "resnet18_fashion",
        replace(D2L, lr=0.05, source="d2l-zh, second edition, section 7.6: SGD 0.05, batch 256"),
        (113, 0.669, 0.912, 0.927), (31, 0.899, 0.922, 0.927),
        *_single_run("resnet18_fashion", _SITE, 10, 0.012, 0.997, 0.893),
        *_single_run("resnet18_fashion", _BERKELEY, 5, 0.1134, 0.960, 0.917),
        *_single_run("resnet18_fashion", _ONE_DAY, 10, 0.013, 0.997, 0.879),
    ),
    "rosetta": Experiment(
        ("rosetta",), ROSETTA,
        (Figure("rosetta", "test_accuracy", None, "Karmanov et al., a run of each", 0.7525, 0.7902, decimals=4),),
    ),
    "speedrun": Experiment(
        ("resnet9",), SPEEDRUN,
        (
            Figure("resnet9", "seconds", 9.4, "DAWNBench, 8 V100", decimals=1),
            Figure("resnet9", "seconds", 57.0, "DAWNBench, 1 V100", decimals=0),
            Figure("resnet9", "seconds", 2.59, "airbench, 1 A100, different network and recipe", decimals=2),
        ),
        slips=(
            "label smoothing is from his last part; half precision and the other tricks of single records are left out",
            "his cutout squares lie inside the image; here they are clipped at its edges, as in DeVries and Taylor",
            "he leaves out the last, short batch of an epoch",
            "his time includes augmentation; here it is done once for all frameworks, outside the timed slices",
        ),
        target=0.94,
    ),
}  # fmt: skip
