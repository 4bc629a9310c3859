"""The experiments are those of the articles: their recipes, networks and published figures."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.articles.experiments import EXPERIMENTS, Experiment, Figure
from benchmarks.datasets.augmentation import Crop, Flip
from benchmarks.datasets.registry import Dataset, Split
from benchmarks.datasets.sources import DATASETS
from benchmarks.records.runs import RecipeInfo
from benchmarks.runtime.errors import BadInput
from benchmarks.runtime.networks import network
from benchmarks.training.jobs import describe_recipe
from benchmarks.training.lr_schedules import Constant, OneCycle, Step
from benchmarks.training.plan import TrainingRequest, fit
from benchmarks.training.recipes import RECIPES, ZERO_TO_ONE, Recipe
from frameworks.networks import NETWORKS
from frameworks.spec import Normalize
from frameworks.training import SGD, Adam, RMSprop, Training

VARIANTS = {
    f"{name} {variant}": experiment
    for name, of_name in EXPERIMENTS.items()
    for variant, experiment in of_name.variants.items()
}
FIGURES = [
    pytest.param(experiment, figure, id=f"{name} {figure.net} {figure.metric} {figure.epoch or ''} {figure.source}")
    for name, experiment in VARIANTS.items()
    for figure in experiment.published
]

# Optimizer, learning rate, batch size, epochs as the articles and the notebooks behind them print them.
PRINTED = {
    "d2l-lenet as-written": (SGD(), 0.9, 256, 10),
    "d2l-lenet-batches as-written": (SGD(), 0.9, 256, 10),
    "gluon-lenet as-written": (Adam(), 0.01, 500, 10),
    "gluon-lenet as-meant": (Adam(), 0.01, 500, 10),
    "fc-vs-cnn as-written": (SGD(momentum=0.5), 0.01, 64, 1),
    "fc-vs-cnn-permuted as-written": (SGD(momentum=0.5), 0.01, 64, 1),
    "lenet-cifar as-written": (Adam(), 0.001, 64, 10),
    "vgg-cifar as-written": (Adam(), 0.001, 128, 10),
    "vgg-cifar as-meant": (Adam(), 0.001, 128, 10),
    "alexnet-fashion as-written": (Adam(), 0.001, 16, 3),
    "alexnet-fashion as-meant": (Adam(), 0.001, 128, 5),
    "vgg-small as-written": (Adam(), 0.001, 16, 5),
    "vgg-small as-meant": (Adam(), 0.001, 64, 5),
    "nin as-written": (Adam(), 0.002, 16, 5),
    "nin as-meant": (Adam(), 0.002, 128, 5),
    "googlenet-fashion as-written": (Adam(), 0.001, 16, 5),
    "googlenet-fashion as-meant": (Adam(), 0.001, 128, 5),
    "alexnet-cifar as-written": (Adam(), 1e-4, 128, 40),
    "alexnet-cifar as-meant": (Adam(), 1e-4, 128, 40),
    "d2l-lenet-bn as-written": (SGD(), 1.0, 256, 10),
    "d2l-alexnet as-written": (SGD(), 0.01, 128, 10),
    "d2l-vgg as-written": (SGD(), 0.05, 128, 10),
    "d2l-nin as-written": (SGD(), 0.1, 128, 10),
    "d2l-googlenet as-written": (SGD(), 0.1, 128, 10),
    "d2l-resnet as-written": (SGD(), 0.05, 256, 10),
    "rosetta as-written": (SGD(momentum=0.9), 0.01, 64, 10),
    "speedrun as-written": (SGD(momentum=0.9, nesterov=True, weight_decay=5e-4), 0.4, 512, 24),
}


def data_set(name: str) -> Dataset:
    """A data set without its files."""
    about, nowhere = DATASETS[name], Path("nowhere")
    splits = [Split(nowhere, nowhere, count) for count in about.counts]
    return Dataset(name, about.input, len(about.class_names), about.class_names, *splits, {}, True, "")


def test_every_experiment_has_a_printed_recipe() -> None:
    assert set(PRINTED) == set(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_an_experiment_is_trained_as_printed(name: str) -> None:
    recipe = VARIANTS[name].recipe
    assert (recipe.training.optimizer, recipe.lr, recipe.batch_size, recipe.epochs) == PRINTED[name]


@pytest.mark.parametrize(("name", "net"), [(name, net) for name in VARIANTS for net in VARIANTS[name].nets])
def test_the_networks_of_an_experiment_fit_its_data_set(name: str, net: str) -> None:
    recipe = VARIANTS[name].recipe
    data = data_set(recipe.dataset)
    fitted = fit(network(net, classes=data.classes), recipe, data)
    assert fitted.input == data.input and fitted.output == (10,)


@pytest.mark.parametrize(("experiment", "figure"), FIGURES)
def test_a_figure_belongs_to_the_experiment(experiment: Experiment, figure: Figure) -> None:
    assert figure.net in experiment.nets
    assert figure.epoch is None or 1 <= figure.epoch <= experiment.recipe.epochs
    assert (figure.low is None) == (figure.high is None) and (figure.value, figure.low) != (None, None)
    if figure.low is not None and figure.high is not None:
        assert figure.low <= (figure.value or figure.low) <= figure.high
        assert figure.metric == "test_accuracy", "collapsed runs are identified by it"
    if figure.metric.endswith("accuracy"):
        assert 0 < (figure.value or figure.low or 0) < 1
    assert figure.metric != "seconds" or experiment.target


@pytest.mark.parametrize("name", [name for name in VARIANTS if "as-written" in name])
def test_a_network_has_the_recipe_of_its_experiment(name: str) -> None:
    """The default recipe of a network is that of its article, where both have one."""
    for net in VARIANTS[name].nets:
        if net in RECIPES and name.split()[0] in ("d2l-lenet", "gluon-lenet", "fc-vs-cnn", "lenet-cifar"):
            assert RECIPES[net] == VARIANTS[name].recipe


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("d2l-lenet as-written", Constant()),
        ("alexnet-cifar as-written", Constant()),
        ("alexnet-cifar as-meant", Step(10, 0.5)),
        ("speedrun as-written", OneCycle(5 / 24)),
    ],
)
def test_learning_rate_schedules(name: str, schedule: object) -> None:
    assert VARIANTS[name].recipe.lr_schedule == schedule


@pytest.mark.parametrize(
    ("name", "side"), [("googlenet-fashion as-written", 224), ("googlenet-fashion as-meant", 96), ("nin as-meant", 224)]
)
def test_images_are_resized_to_the_size_of_the_recipe(name: str, side: int) -> None:
    recipe, data = VARIANTS[name].recipe, data_set("fashion-mnist")
    fitted = fit(network(VARIANTS[name].nets[0]), recipe, data)
    resized = next(node for node in fitted.nodes if node.layer.kind == "Resize")
    assert resized.output == (1, side, side)


def test_only_experiments_as_written_test_in_training_mode() -> None:
    assert [name for name, one in VARIANTS.items() if one.recipe.test_in_training_mode] == [
        "vgg-cifar as-written", "alexnet-cifar as-written",
    ]  # fmt: skip


def test_article_004s_text_and_code_differ_in_their_parameters() -> None:
    """61,706 for the 32 x 32 of the text, 44,426 for the 28 x 28 of the code."""
    params = {}
    for name in ("gluon-lenet as-written", "gluon-lenet as-meant"):
        params[name.split()[1]] = fit(network("lenet_relu"), VARIANTS[name].recipe, data_set("mnist")).params
    assert params == {"as-written": 44_426, "as-meant": 61_706}


# Scaling and normalization of the pixels, scheme of the initial weights, shuffling and augmentations.
HALF, MNIST = ((0.5,), (0.5,)), ((0.1307,), (0.3081,))
OUC_CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
PREPARED = {
    "d2l-lenet": ("unit", None, "xavier_uniform", True, ()),
    "gluon-lenet": ("raw", None, "xavier_uniform", False, ()),
    "fc-vs-cnn": ("unit", MNIST, "fan_in_uniform", True, ()),
    "fc-vs-cnn-permuted": ("unit", MNIST, "fan_in_uniform", True, ()),
    "lenet-cifar": ("unit", HALF, "fan_in_uniform", True, ()),
    "vgg-cifar": ("unit", OUC_CIFAR, "fan_in_uniform", True, (Crop(4), Flip())),
    "alexnet-fashion": ("unit", None, "fan_in_uniform", True, ()),
    "alexnet-cifar": ("unit", HALF, "fan_in_uniform", True, ()),
    "d2l-resnet": ("unit", None, "xavier_uniform", True, ()),
}


@pytest.mark.parametrize("name", PREPARED)
def test_pixels_weights_and_order_are_as_printed(name: str) -> None:
    scale, normalized, initial, shuffle, changes = PREPARED[name]
    recipe = EXPERIMENTS[name].recipe
    pixels = () if scale == "raw" else ZERO_TO_ONE
    if normalized:
        pixels = (*pixels, Normalize("normalize", mean=normalized[0], std=normalized[1]))
    assert (recipe.pixels, recipe.initial, recipe.shuffle, recipe.augmentations) == (pixels, initial, shuffle, changes)


@pytest.mark.parametrize(
    ("figure", "printed", "expected"),
    [
        (Figure("n", "test_accuracy", 0.97, ""), 0.97, (0.9695, 0.9705)),
        (Figure("n", "train_loss", 1.8267, "", decimals=4), 1.8267, (1.82665, 1.82675)),
        (Figure("n", "test_accuracy", 0.64, "", decimals=2, truncated=True), 0.64, (0.64, 0.65)),
        (Figure("n", "seconds", 57.0, "", decimals=0), 57.0, (56.5, 57.5)),
    ],
)
def test_a_printed_figure_stands_for_an_interval(figure: Figure, printed: float, expected: tuple[float, float]) -> None:
    assert figure.range_of(printed) == pytest.approx(expected)


def test_the_permuted_variant_differs_in_the_permutation_alone() -> None:
    plain, other = (describe_recipe(EXPERIMENTS[name].recipe) for name in ("fc-vs-cnn", "fc-vs-cnn-permuted"))
    assert {name for name in RecipeInfo.__struct_fields__ if getattr(plain, name) != getattr(other, name)} == {
        "permutation"
    }


@pytest.mark.parametrize("net", NETWORKS)
def test_every_network_has_a_recipe(net: str) -> None:
    assert isinstance(TrainingRequest().recipe(net), Recipe)


def test_options_change_the_training() -> None:
    plain = TrainingRequest(net=("lenet",)).recipe("lenet")
    assert (plain.training.clip_norm, plain.training.average) == (None, None)
    request = TrainingRequest(net=("lenet",), optimizer="rmsprop", clip_norm=1.0, weight_average=0.9)
    recipe = request.recipe("lenet")
    assert recipe.training == Training(RMSprop(), clip_norm=1.0, average=0.9)
    assert TrainingRequest.from_info(request.info).recipe("lenet") == recipe
    described = describe_recipe(recipe)
    assert (described.optimizer, described.clip_norm, described.weight_average) == ("RMSprop", 1.0, 0.9)


def test_factors_of_the_learning_rate_are_recorded() -> None:
    recipe = RECIPES["lenet"]
    factors = (("*.bias", 2.0),)
    described = describe_recipe(replace(recipe, training=replace(recipe.training, lr_factors=factors)))
    assert described.lr_factors == [("*.bias", 2.0)] and describe_recipe(recipe).lr_factors is None


@pytest.mark.parametrize(
    "option, value",
    [
        *(("clip_norm", value) for value in (0.0, -1.0, math.inf, math.nan)),
        *(("weight_average", value) for value in (0.0, 1.0, -0.5, 2.0, math.nan)),
    ],
)
def test_options_that_no_training_can_have_are_refused(option: str, value: float) -> None:
    with pytest.raises(BadInput, match=f"--{option.replace('_', '-')} {value}: must be"):
        TrainingRequest(**{option: value})  # type: ignore[arg-type]


def test_an_average_is_refused_where_the_test_is_in_training_mode() -> None:
    """Such a test takes steps with a learning rate of 0, which use the weights."""
    recipe = next(each.recipe for each in VARIANTS.values() if each.recipe.test_in_training_mode)
    with pytest.raises(BadInput, match=r"--weight-average 0.9: the recipe of lenet tests in training mode"):
        TrainingRequest(net=("lenet",), experiment_recipe=recipe, weight_average=0.9).recipe("lenet")


@pytest.mark.parametrize(("scale", "epochs"), [(1.0, 10), (0.5, 5), (0.26, 3), (0.01, 1)])
def test_scale_reduces_the_epochs(scale: float, epochs: int) -> None:
    request = TrainingRequest(net=("lenet",), experiment_recipe=EXPERIMENTS["d2l-lenet"].recipe, scale=scale)
    assert request.recipe("lenet").epochs == epochs
