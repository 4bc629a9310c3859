"""The same network in every framework: the same arrays, the same logits, the same losses, in both precisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations, pairwise, product
from math import prod

import numpy as np
import pytest

from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights, initial
from frameworks.networks import NETWORKS
from frameworks.numpy_reference import Reference
from frameworks.registry import in_all, trained
from frameworks.spec import BatchNorm, Conv, Dense, Flatten, Network, ReLU, Resize, Scale
from frameworks.training import SGD, Adadelta, Adam, RMSprop, Training
from tests.conftest import Bench

SMALL = ["lenet", "lenet_relu", "lenet_cifar", "mlp", "cnn"]
STEPS, BATCH = 20, 32
RATE = 0.01  # at 0.1, a ReLU or maximum that switches in float32 can cause a difference of 1e-2 within ten steps
# Rounding is 6e-8 and 1e-16. A logit sums about 1e3 products, and differences grow tenfold in 20 steps.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


@pytest.mark.parametrize("framework", in_all())
@pytest.mark.parametrize("name", NETWORKS)
def test_parameters(bench: Bench, name: str, framework: str) -> None:
    """The names, shapes and trained arrays that the framework reports are those of the spec, by layer and in total."""
    net = NETWORKS[name]()
    built = bench.build(framework, net)["arrays"]
    assert built == {parameter.name: [list(parameter.shape), parameter.trainable] for parameter in net.parameters}
    assert sum(prod(shape) for shape, trained in built.values() if trained) == net.params
    assert sum(prod(shape) for shape, trained in built.values() if not trained) == net.buffers


@dataclass
class Outcome:
    logits: Array
    losses: Array


@pytest.fixture(scope="module")
def outcome(bench: Bench, split_images: Callable[[str], tuple[Array, Array]]) -> Callable[[str, str, str], Outcome]:
    """Losses and logits of a network in a framework, given the same weights, images and order."""

    @cache
    def compute(name: str, framework: str, precision: str) -> Outcome:
        net = on_gray_images(NETWORKS[name]())
        bench.build(framework, net, Training(SGD()), precision, weights=initial(net, seed=1))
        images, labels = split_images("train")
        bench.load(framework, "train", images, labels)
        bench.load(framework, "test", images[:100], labels[:100])
        _, logits = bench.arrays(framework, "predict", split="test", batch_size=64)
        order = bench.file(np.random.default_rng(2).permutation(len(images)))
        slice_ = {"start": 0, "stop": STEPS * BATCH, "batch_size": BATCH, "lrs": [RATE] * STEPS, "seed": 3}
        losses = bench.session(framework).request("train", order=order, **slice_)["losses"]
        return Outcome(logits, np.array(losses))

    return compute


def on_gray_images(net: Network) -> Network:
    """The network on 28 x 28 gray images of 0 to 255."""
    gray = net.with_input((1, *net.input[1:]))
    resize = [Resize("resize", *net.input[1:])] if net.input[1:] != (28, 28) else []
    return gray.after(Scale("pixels"), *resize, input=(1, 28, 28))


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("pair", list(combinations(in_all(), 2)), ids="-".join)
@pytest.mark.parametrize("name", SMALL)
def test_logits_agree(
    outcome: Callable[[str, str, str], Outcome], name: str, pair: tuple[str, str], precision: str
) -> None:
    one, other = (outcome(name, framework, precision).logits for framework in pair)
    assert one.shape == other.shape == (100, 10) and one.dtype == other.dtype == precision
    assert np.abs(one - other).max() <= TOLERANCE[precision] * np.abs(one).max()


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("pair", list(combinations(in_all(), 2)), ids="-".join)
@pytest.mark.parametrize("name", SMALL)
def test_losses_agree_over_twenty_steps(
    outcome: Callable[[str, str, str], Outcome], name: str, pair: tuple[str, str], precision: str
) -> None:
    one, other = (outcome(name, framework, precision).losses for framework in pair)
    assert len(one) == len(other) == STEPS
    assert (np.abs(one - other) <= TOLERANCE[precision] * np.abs(one)).all()


@pytest.mark.parametrize("framework", trained())
@pytest.mark.parametrize("name", SMALL)
def test_training_lowers_the_loss(
    bench: Bench, split_images: Callable[[str], tuple[Array, Array]], name: str, framework: str
) -> None:
    net = on_gray_images(NETWORKS[name]())
    bench.build(framework, net, Training(SGD(momentum=0.9)), weights=initial(net, seed=1, scheme="he_normal"))
    bench.load(framework, "train", *split_images("train"))
    slice_ = {"start": 0, "stop": 2_000, "batch_size": 32, "lrs": [0.05] * 63, "seed": 3}
    order = bench.file(np.random.default_rng(2).permutation(2_000))
    first, second = (bench.session(framework).request("train", order=order, **slice_)["losses"] for _ in range(2))
    assert np.mean(second) < np.mean(first)


# --- the same bits ----------------------------------------------------------------------------------------------------

CHANCES = ("lenet", "rosetta", "resnet9")  # dense layers and sums over batches; dropout; batch norm and shortcuts


@pytest.fixture(scope="module")
def twice(
    bench: Bench, split_images: Callable[[str], tuple[Array, Array]]
) -> Callable[[str], list[dict[str, Weights]]]:
    """Losses and weights of the networks after some steps with two threads, in one process and in a fresh one."""

    def trained(name: str, framework: str) -> Weights:
        net = on_gray_images(NETWORKS[name]())
        bench.build(framework, net, Training(SGD(momentum=0.9)), weights=initial(net, seed=1, scheme="he_normal"))
        images, labels = split_images("train")
        bench.load(framework, "train", images, labels)
        order = bench.file(np.random.default_rng(2).permutation(len(images)))
        slice_ = {"start": 0, "stop": 8 * 32, "batch_size": 32, "lrs": [0.01] * 8, "seed": 3}
        losses = bench.session(framework).request("train", order=order, **slice_)["losses"]
        return {"losses": np.array(losses), **bench.arrays(framework, "get_weights")[1]}

    @cache
    def run(framework: str) -> list[dict[str, Weights]]:
        found = []
        for _ in range(2):
            found.append({name: trained(name, framework) for name in CHANCES})
            bench.sessions.pop(framework).close()
        return found

    return run


@pytest.mark.parametrize("framework", trained())
@pytest.mark.parametrize("name", CHANCES)
def test_the_same_seed_gives_the_same_bits(
    twice: Callable[[str], list[dict[str, Weights]]], name: str, framework: str
) -> None:
    one, other = (found[name] for found in twice(framework))
    assert {key: value.tobytes() for key, value in one.items()} == {
        key: value.tobytes() for key, value in other.items()
    }


# --- optimizers -------------------------------------------------------------------------------------------------------

LAYERS = [Scale("pixels"), Conv("C", 4, 3, bias=False), BatchNorm("B"), ReLU(), Flatten(), Dense("F", 10)]
TINY = Network("tiny", (1, 8, 8), LAYERS)
DECAY, EPSILON = 0.1, 1e-3  # large enough to have an effect in every step
SGDS = [
    SGD(momentum, nesterov, DECAY, decoupled, inside)
    for momentum, nesterov, inside in ((0, False, False), *product((0.9,), (False, True), (False, True)))
    for decoupled in (False, True)
]
ADAMS = [Adam(0.9, 0.999, EPSILON, DECAY, *switches) for switches in product((False, True), repeat=2)]
RMSPROPS = [
    RMSprop(0.8, EPSILON, momentum, DECAY, decoupled, epsilon_inside, lr_in_velocity)
    for momentum, lr_in_velocity in ((0.0, False), (0.9, False), (0.9, True))
    for decoupled, epsilon_inside in product((False, True), repeat=2)
]
ADADELTAS = [Adadelta(0.8, EPSILON, DECAY, decoupled) for decoupled in (False, True)]
RULES = [Training(rule) for rule in (*SGDS, *ADAMS, *RMSPROPS, *ADADELTAS)]
FACTORS = (("F.w*", 0.25), ("F.*", 2.0), ("B.gamma", 0.0))
FURTHER = [
    Training(SGD(0.9, False, DECAY), clip_norm=0.1),  # below the norm of every gradient
    Training(SGD(0.9, False, DECAY), clip_norm=1e3),  # above it
    Training(SGD(0.9, True, DECAY, lr_in_velocity=True), clip_norm=0.1, lr_factors=FACTORS),
    Training(Adam(0.9, 0.999, EPSILON, DECAY, True), clip_norm=0.1, average=0.75, lr_factors=FACTORS),
    Training(SGD(0.9, lr_in_velocity=True), average=0.75),
    Training(SGD(), average=0.75),
    Training(RMSPROPS[-1], average=0.75, lr_factors=FACTORS, decay_all=True),
    Training(ADADELTAS[1], average=0.75, lr_factors=FACTORS, decay_all=True),
]
RATES = [0.0, 0.05, 0.05, 0.01, 0.01]  # a warm-up, then a step down
# Five steps accumulate about fifty roundings of 6e-8 and of 1e-16 (observed: at most 3e-6 and 5e-15).
ROUNDING = {"float32": 1e-5, "float64": 1e-13}


def rates_of(training: Training) -> list[float]:
    """The learning rate of each step. The first changes of RMSprop are 1 / sqrt(1 - rho) times as large as Adam's."""
    return [rate / 10 for rate in RATES] if isinstance(training.optimizer, RMSprop) else RATES


def training_name(training: Training) -> str:
    """A short name of a training for the test's id."""
    rule = asdict(training.optimizer)
    further = ("clip_norm", "average", "lr_factors")
    switches = [name for name, value in (rule | asdict(training)).items() if value is True]
    switches += [name for name in further if getattr(training, name)]
    return " ".join([type(training.optimizer).__name__, *["momentum"] * (rule.get("momentum", 0) > 0), *switches])


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize(
    "training", [*RULES, *(Training(r, decay_all=True) for r in (SGDS[2], ADAMS[0])), *FURTHER], ids=training_name
)
@pytest.mark.parametrize("framework", trained())
def test_optimizers(bench: Bench, framework: str, training: Training, precision: str) -> None:
    """After five steps, every array equals that of the reference, including the state of the optimizer.

    So do the predictions, which use the averages if there are any.
    """
    stream, rates = np.random.default_rng(0), rates_of(training)
    images = stream.integers(0, 256, (8 * len(RATES), *TINY.input), dtype=np.uint8)
    labels, order, weights = stream.integers(0, 10, len(images)), np.arange(len(images)), initial(TINY, seed=1)
    departures = bench.build(framework, TINY, training, precision, weights=weights)["departures"]
    for split in ("train", "test"):
        bench.load(framework, split, images, labels)
    slice_ = {"start": 0, "stop": len(order), "batch_size": 8, "lrs": rates, "seed": 0}
    bench.session(framework).request("train", order=bench.file(order), **slice_)
    _, logits = bench.arrays(framework, "predict", split="test", batch_size=16)
    _, found = bench.arrays(framework, "get_weights")
    reference = Reference(TINY, training, Setting(), departures)
    reference.set_weights(weights)
    for split in ("train", "test"):
        reference.load(split, images, labels)
    reference.train(order, 8, np.array(rates), 0)
    expected, predicted = reference.get_weights(), reference.predict("test", 16)
    assert np.abs(logits - predicted).max() <= 10 * ROUNDING[precision] * np.abs(predicted).max()
    assert found.keys() == expected.keys()
    # The velocity of an array with a learning rate of 0 is 0.
    scales = {name: np.abs(array).max() or 1.0 for name, array in expected.items()}
    errors = {name: np.abs(found[name] - array).max() / scales[name] for name, array in expected.items()}
    moments = {name for name in errors if name.endswith("second_moment") and precision == "float32"}
    assert max(error for name, error in errors.items() if name not in moments) <= ROUNDING[precision], errors
    # 1 - beta2 is taken in float32 by the fused updates of MXNet and TensorFlow: 1.3e-5 less, which the correction by
    # the same number takes out again of the step.
    assert all(errors[name] <= 2e-5 + ROUNDING[precision] for name in moments), errors


# Its second convolution has many input and output channels; frameworks differ in their order in memory.
TWO = Network("two", (1, 8, 8), [*LAYERS[:4], Conv("D", 3, 3), Flatten(), Dense("F", 10)])


@pytest.mark.parametrize(
    "training",
    [
        Training(SGDS[2]),
        Training(ADAMS[0]),
        Training(SGD(), average=0.75),
        *(Training(rule, average=0.75) for rule in (SGDS[2], RMSPROPS[7], RMSPROPS[8], ADADELTAS[0])),
    ],
    ids=training_name,
)
@pytest.mark.parametrize("framework", trained())
def test_training_continues_from_saved_arrays(bench: Bench, framework: str, training: Training) -> None:
    """Three steps, saving, loading into another adapter and two more steps equal five uninterrupted steps."""
    stream = np.random.default_rng(0)
    images = stream.integers(0, 256, (8 * len(RATES), *TWO.input), dtype=np.uint8)
    labels, order = stream.integers(0, 10, len(images)), bench.file(np.arange(len(images)))

    def after(*stops: int) -> Weights:
        weights = initial(TWO, seed=1)
        for start, stop in pairwise((0, *stops)):
            bench.build(framework, TWO, training, "float64", weights=weights)
            bench.load(framework, "train", images, labels)
            slice_ = {"start": 8 * start, "stop": 8 * stop, "batch_size": 8, "lrs": RATES[start:stop], "seed": 0}
            bench.session(framework).request("train", order=order, **slice_)
            _, weights = bench.arrays(framework, "get_weights")
        return weights

    straight, broken = after(5), after(3, 5)
    assert broken.keys() == straight.keys()
    errors = {name: np.abs(broken[name] - array).max() for name, array in straight.items()}
    assert max(errors.values()) <= ROUNDING["float64"], errors
