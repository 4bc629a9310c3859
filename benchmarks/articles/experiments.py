"""The articles' experiments as data: recipes, and what was published of each.

`benchmarks.reproduce` runs one and puts ours beside. Where what an article prints cannot run, or does something else
than it says, the slip is named, and both are there: as written and as meant.
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
    """What was published: one run's value, or the median of several between the lowest and the highest.

    seconds: of training until the experiment's target was reached; epoch_seconds: of an epoch's training and testing.
    epoch: None is the last one. decimals: how many were printed; truncated: what follows was cut off, not rounded.
    """

    net: str
    metric: Metric
    value: float | None  # None: only the lowest and the highest are known
    whose: str
    low: float | None = None
    high: float | None = None
    epoch: int | None = None
    decimals: int = 3
    truncated: bool = False

    def meant(self, printed: float) -> tuple[float, float]:
        """From where to where the number may have been of which this was printed."""
        unit = 10.0**-self.decimals
        return (printed, printed + unit) if self.truncated else (printed - unit / 2, printed + unit / 2)


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


def _tests(net: str, *figures: tuple[float, str], decimals: int = 4) -> tuple[Figure, ...]:
    """Test accuracies after the last epoch."""
    return tuple(Figure(net, "test_accuracy", value, whose, decimals=decimals) for value, whose in figures)


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
    return Experiment((net,), recipe, (*spreads, *others), (*slips, _BATCHES, _BIASES))


def _one(net: str, whose: str, epoch: int, loss: float, train: float, test: float) -> tuple[Figure, ...]:
    """One run of the book's code."""
    metrics: tuple[tuple[Metric, float], ...] = (
        ("train_loss", loss), ("train_accuracy", train), ("test_accuracy", test),
    )  # fmt: skip
    digits = {"train_loss": 4} if whose == _BERKELEY else {}
    return tuple(
        Figure(net, metric, value, whose, epoch=epoch, decimals=digits.get(metric, 3)) for metric, value in metrics
    )


_SITE = "d2l-zh, PyTorch: its site"
_BERKELEY = "d2l, MXNet: Berkeley STAT 157"
_ONE_DAY = "d2l, MXNet: one-day course"
_BATCHES = (
    "the book's TensorFlow loader makes batches first and shuffles them then, so a batch has the same pictures in "
    "every epoch (see d2l-lenet-batches); here, as in its PyTorch and MXNet loaders, pictures are shuffled"
)
_BIASES = "PyTorch draws biases too, from the range of their weights, where a recipe names no rule: here they are 0"
_COLLAPSED = "the spread is that of the runs that did not collapse (test accuracy under 0.15, or a loss that is none)"

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
_BATCH_16 = "the batch sizes in its comments are never used: the loader of AlexNet, with 16, serves all its networks"


def _article_002(net: str, epochs: int, rate: float, meant: Experiment, *slips: str, side: int = 224) -> Experiment:
    recipe = replace(ARTICLE_002, epochs=epochs, lr=rate, side=side)
    return Experiment((net,), recipe, slips=(*slips, _BATCH_16, _BIASES), meant=meant)


def _tutorial(net: str, batch_size: int, rate: float, accuracy: float) -> Experiment:
    """The tutorial from which article 002 took its networks: 5 epochs."""
    recipe = replace(
        ARTICLE_002, batch_size=batch_size, lr=rate,
        source=f"ShusenTang, Dive-into-DL-PyTorch: Adam {rate:g}, batch {batch_size}, 5 epochs",
    )  # fmt: skip
    return Experiment((net,), recipe, _tests(net, (accuracy, _TUTORIAL)), (_BIASES,))


_VGG_CIFAR = _tests("vgg_cifar", (0.8292, "article 001"), (0.8492, _OUC))

EXPERIMENTS: dict[str, Experiment] = {
    "d2l-lenet": _d2l(
        "lenet", D2L, (163, 0.752, 0.806, 0.828), (31, 0.805, 0.822, 0.829),
        *_one("lenet", _SITE, 10, 0.469, 0.823, 0.779),
        *_one("lenet", _BERKELEY, 5, 0.6787, 0.735, 0.762), *_one("lenet", _ONE_DAY, 10, 0.472, 0.822, 0.829),
    ),
    "d2l-lenet-batches": Experiment(
        ("lenet",), replace(D2L, fixed_batches=True),
        (Figure("lenet", "test_accuracy", 0.822, "d2l, TensorFlow: 31 runs", 0.805, 0.829),),
        slips=("the book's TensorFlow loader: batches first, shuffled then", _BIASES),
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
            "its text counts 61,706 parameters, for pictures of 32 x 32; its code builds the 44,426 of 28 x 28",
            "its seconds hold the loading of the batches and a second test of every epoch, whose result is not used",
            "MXNet's own Adam adds epsilon before the correction of the moments: here it is the paper's, after it",
        ),
        meant=Experiment(
            ("lenet_relu",), replace(GLUON, side=32),
            slips=("the pictures are resized to 32 x 32",),
        ),
    ),
    "fc-vs-cnn": Experiment(
        ("mlp", "cnn"), OUC_MNIST,
        (
            *_tests("mlp", (0.8735, _OUC)), Figure("mlp", "test_loss", 0.4253, _OUC, decimals=4),
            *_tests("cnn", (0.9615, _OUC)), Figure("cnn", "test_loss", 0.1266, _OUC, decimals=4),
        ),
        slips=(_BIASES,),
    ),
    "fc-vs-cnn-permuted": Experiment(
        ("mlp", "cnn"), replace(OUC_MNIST, permutation=0),
        (
            *_tests("mlp", (0.8348, _OUC)), Figure("mlp", "test_loss", 0.5751, _OUC, decimals=4),
            *_tests("cnn", (0.8003, _OUC)), Figure("cnn", "test_loss", 0.6227, _OUC, decimals=4),
        ),
        slips=(
            "each of its two nets had a permutation of its own, drawn without a seed: ours is another one, the same "
            "for both nets and all seeds, so what still another would change is in no spread",
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
        ("the notebook cuts its percentage off, it does not round", _BIASES),
    ),
    "vgg-cifar": Experiment(
        ("vgg_cifar",), replace(OUC_VGG, test_in_training_mode=True), _VGG_CIFAR,
        slips=(
            "its code names a list that does not exist, and a dense layer of 2,048 inputs for 512: mended",
            "`eval()` is never called, so batch norm takes each test batch's mean and variance: as written here too",
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
        "its shapes are for 96 x 96, its loader gives 224 x 224",
    ),
    "alexnet-cifar": Experiment(
        ("alexnet_cifar",), ARTICLE_003,
        slips=(
            "`Adam(..., momentum=0.9)`, `normalize()` and an indentation stop its code: mended",
            "its scheduler is never stepped, so the rate stays 1e-4: as written here too",
            "`model.eval()` is never called, so dropout is at work when it tests: as written here too",
            "the loss that it prints is divided by the batch size once more: not here",
            "100 epochs in its first version, 40 in its second: 40 here",
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
        *_one("lenet_bn", _SITE, 10, 0.273, 0.899, 0.807),
        *_one("lenet_bn", f"{_SITE}, again", 10, 0.267, 0.902, 0.708),
    ),
    "d2l-alexnet": _d2l(
        "alexnet_d2l",
        replace(D2L, lr=0.01, batch_size=128, source="d2l-zh, second edition, section 7.1: SGD 0.01, batch 128"),
        (120, 0.847, 0.880, 0.886), (31, 0.870, 0.882, 0.887),
        *_one("alexnet_d2l", _SITE, 10, 0.331, 0.878, 0.883),
        *_one("alexnet_d2l", _BERKELEY, 5, 0.4276, 0.844, 0.867),
        *_one("alexnet_d2l", _ONE_DAY, 10, 0.335, 0.878, 0.889),
    ),
    "d2l-vgg": _d2l(
        "vgg_d2l",
        replace(D2L, lr=0.05, batch_size=128, source="d2l-zh, second edition, section 7.2: SGD 0.05, batch 128"),
        (106, 0.900, 0.9185, 0.925), (31, 0.915, 0.921, 0.924),
        *_one("vgg_d2l", _SITE, 10, 0.178, 0.935, 0.920),
        *_one("vgg_d2l", _BERKELEY, 5, 0.2605, 0.905, 0.911), *_one("vgg_d2l", _ONE_DAY, 10, 0.174, 0.936, 0.916),
    ),
    "d2l-nin": _d2l(
        "nin",
        replace(D2L, lr=0.1, batch_size=128, source="d2l-zh, second edition, section 7.3: SGD 0.1, batch 128"),
        (103, 0.197, 0.849, 0.885), (28, 0.335, 0.854, 0.887),
        *_one("nin", _SITE, 10, 0.563, 0.786, 0.790),
        *_one("nin", _BERKELEY, 5, 0.5287, 0.803, 0.828),
        slips=(_COLLAPSED + "; 8 of 111 runs in PyTorch and 3 of 31 in TensorFlow did",),
    ),
    "d2l-googlenet": _d2l(
        "googlenet_fashion",
        replace(D2L, lr=0.1, batch_size=128, source="d2l-zh, second edition, section 7.4: SGD 0.1, batch 128"),
        (115, 0.808, 0.889, 0.902), (32, 0.603, 0.898, 0.912),
        *_one("googlenet_fashion", _SITE, 10, 0.262, 0.900, 0.886),
        *_one("googlenet_fashion", _BERKELEY, 5, 0.3376, 0.873, 0.882),
        *_one("googlenet_fashion", _ONE_DAY, 5, 0.336, 0.873, 0.879),
        slips=(
            _COLLAPSED + "; 2 of 117 runs in PyTorch did",
            "the book has a ReLU after each convolution; article 002's net, which is trained here, lacks two of them",
        ),
    ),
    "d2l-resnet": _d2l(
        "resnet18_fashion",
        replace(D2L, lr=0.05, source="d2l-zh, second edition, section 7.6: SGD 0.05, batch 256"),
        (113, 0.669, 0.912, 0.927), (31, 0.899, 0.922, 0.927),
        *_one("resnet18_fashion", _SITE, 10, 0.012, 0.997, 0.893),
        *_one("resnet18_fashion", _BERKELEY, 5, 0.1134, 0.960, 0.917),
        *_one("resnet18_fashion", _ONE_DAY, 10, 0.013, 0.997, 0.879),
    ),
    "rosetta": Experiment(
        ("rosetta",), ROSETTA,
        (Figure("rosetta", "test_accuracy", None, "Karmanov et al., one of each", 0.7525, 0.7902, decimals=4),),
    ),
    "speedrun": Experiment(
        ("resnet9",), SPEEDRUN,
        (
            Figure("resnet9", "seconds", 9.4, "DAWNBench, 8 V100", decimals=1),
            Figure("resnet9", "seconds", 57.0, "DAWNBench, 1 V100", decimals=0),
            Figure("resnet9", "seconds", 2.59, "airbench, 1 A100, another network and recipe", decimals=2),
        ),
        slips=(
            "label smoothing is from his last part; half precision and the other tricks of single records are left out",
            "his cut-out squares lie wholly inside the picture; ours are cut at its edges, as in DeVries and Taylor",
            "he leaves out an epoch's last, short batch",
            "his clock includes the changing of the pictures; here they are drawn once for all frameworks, outside it",
        ),
        target=0.94,
    ),
}  # fmt: skip
