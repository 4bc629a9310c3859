"""The likely cause is reported if a difference has exactly the form of a pattern, and not otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.verification.cases import BATCH, TRAININGS, Case, Place
from benchmarks.verification.comparison import ReferenceEvidence
from benchmarks.verification.diagnosis import difference_at, likely
from benchmarks.verification.diagnosis.patterns import single
from benchmarks.verification.diagnosis.steps import replayed
from frameworks.arrays import Array, resize_matrix
from frameworks.spec import BatchNorm, Conv, Dense, Flatten, MaxPool, Network, ReLU, Resize
from tests.conftest import evidence_of_reference
from tests.faults import NETS

Known = Callable[..., ReferenceEvidence]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """The reference evidence of a network of the fault tests, in trainings of these names."""

    @cache
    def compute(net: str, *trainings: str) -> ReferenceEvidence:
        case = Case.for_network(NETS[net], seed=0, batch_size=BATCH)
        case = replace(
            case, trainings={training: TRAININGS[training] for training in trainings or ("momentum, decay",)}, curve=10
        )
        return ReferenceEvidence.from_evidence(case, evidence_of_reference(case, tmp_path_factory.mktemp("truth")))

    return compute


def cause(known: ReferenceEvidence, place: Place, actual: Array) -> str:
    return str(likely(place, {place: actual}, known.evidence, known.case))


def given(known: ReferenceEvidence, stage: str, tensor: str) -> Array:
    return np.array(known.evidence[Place(stage, "", 0, tensor)])


# --- patterns of any tensor -------------------------------------------------------------------------------------------


def channels_last(values: Array) -> Array:
    return np.moveaxis(values, 1, -1).reshape(values.shape)


def at_the_corner(values: Array) -> Array:
    values[:, :, -1] += np.sin(np.arange(values[:, :, -1].size)).reshape(values[:, :, -1].shape)
    values[:, :, :, -1] -= np.cos(np.arange(values[:, :, :, -1].size)).reshape(values[:, :, :, -1].shape)
    return values


def around(values: Array) -> Array:
    inner = values[:, :, 1:-1, 1:-1].copy()
    values = values * np.linspace(1.1, 1.3, values.size).reshape(values.shape)
    values[:, :, 1:-1, 1:-1] = inner
    return values


PATTERNS: list[tuple[str, Callable[[Array], Array], str]] = [
    ("unbiased", lambda y: y * 50 / 49, "ratio 50/49"),
    ("summed", lambda y: y * BATCH, "ratio 4: the batch's sum"),
    ("once too often", lambda y: y / BATCH, "ratio 1/4: divided by the batch"),
    ("no fraction", lambda y: y * np.pi, "ratio 3.14159"),
    ("channels", lambda y: y[:, [2, 0, 1, 3]], "the channels in another order: 2, 0, 1, 3"),
    ("rows for columns", lambda y: y.swapaxes(2, 3), "transposed: axes 2 and 3"),
    ("channels last", channels_last, "a permutation"),
    ("by channel", lambda y: y + np.arange(4)[:, None, None], "a constant in each channel"),
    ("two edges", at_the_corner, "differs at the bottom and right edge alone"),
    ("all edges", around, "differs at the edges alone"),
    ("nothing", lambda y: 0 * y, "every value is 0"),
    ("infinite", lambda y: np.where(y > 1, np.inf, y), "are not finite"),
    ("another shape", lambda y: y[:, :3], "the shape is 4x3x6x6, not 4x4x6x6"),
]  # fmt: skip


@pytest.mark.parametrize("change, words", [row[1:] for row in PATTERNS], ids=[row[0] for row in PATTERNS])
def test_a_pattern_is_named(known: Known, change: Callable[[Array], Array], words: str) -> None:
    # of a gradient with this shape that no layer and no step explains
    place, values = Place("gradients", "", 0, "input"), np.random.default_rng(0).normal(size=(4, 4, 6, 6))
    net = known("conv")
    assert words in str(likely(place, {place: change(values.copy())}, {**net.evidence, place: values}, net.case))


@pytest.mark.parametrize("net", NETS)
def test_an_unknown_pattern_has_no_cause(known: Known, net: str) -> None:
    right = known(net)
    stream = np.random.default_rng(0)
    steps = set()  # of the steps, one tensor after each is enough: all are computed again together
    for place, tensor in right.evidence.items():
        if place.stage in ("parameters", "dropout", "curve") or (place.step and place[:3] in steps):
            continue
        steps.add(place[:3])
        # Of more than rounding in float32, which is 1e-3 behind a large mean.
        actual = tensor * stream.uniform(1.05, 1.1, tensor.shape)
        assert likely(place, {place: actual}, right.evidence, right.case) is None, place


def test_float32_hides_no_pattern(known: Known) -> None:
    right = known("conv")
    place = Place("training", "", 0, "conv")
    actual = given(right, "training", "conv").astype(np.float32)
    assert cause(right, place, actual * np.float32(50 / 49)) == "ratio 50/49"
    dropped = actual - rows(right.case.weights["conv.bias"]).astype(np.float32)
    assert cause(right, place, dropped) == "the bias is left out"
    loss = Place("loss", "", 0, "loss")  # always float64, so another tensor must show the precision
    summed = {loss: right.evidence[loss] * BATCH * (1 + 1e-7), place: actual}
    assert "summed" in str(likely(loss, summed, right.evidence, right.case))


def test_a_pattern_must_fit_everywhere(known: Known) -> None:
    right = known("conv")
    actual = given(right, "training", "conv") * 50 / 49
    actual[0, 0, 0, 0] *= 1.001
    assert cause(right, Place("training", "", 0, "conv"), actual) == "None"


def test_a_missing_tensor_has_no_cause(known: Known) -> None:
    right = known("conv")
    assert likely(Place("training", "", 0, "conv"), {}, right.evidence, right.case) is None


@pytest.mark.parametrize("actual, words", [
    ((4, 6, 1), "the shape is 4x6, not 6x4"),
    ((5, 5, 1), "the shape is 5x5, not 6x4"),
    ((6, 4, 0), "it is not trained and should be"),
])  # fmt: skip
def test_an_array_of_another_shape(known: Known, actual: tuple[int, ...], words: str) -> None:
    place = Place("parameters", "", 0, "w")
    assert words in str(likely(place, {place: np.array(actual)}, {place: np.array([6, 4, 1])}, known("conv").case))


CHAOTIC = Network(
    "chaotic",
    (1, 12, 12),
    [
        Conv("c1", 6, 5), ReLU(), BatchNorm("b0"), MaxPool("p", 2, 2), Flatten(),
        Dense("fc1", 120), ReLU(), BatchNorm("b1"), Dense("fc2", 84), ReLU(), BatchNorm("b2"), Dense("out", 10),
    ],
)  # fmt: skip


@pytest.mark.parametrize("unit, words", [(2.0**-52, "None"), (2.0**-24, "float32 somewhere")])
def test_amplified_rounding_is_not_taken_for_float32(unit: float, words: str) -> None:
    """At this seed ten steps amplify a change of one unit in the last place of float64 to 1e-8."""
    seed, name = (10, "nesterov, decay") if unit < 2.0**-50 else (4, "nesterov, decay")
    case = replace(Case.for_network(CHAOTIC, seed, 32), trainings={name: TRAININGS[name]})
    lrs, stream = case.lrs(name, 10), np.random.default_rng(0)
    moved = {key: array * (1 + unit * stream.choice([-1, 1], array.shape)) for key, array in case.weights.items()}
    right, actual = (replayed(each, case.trainings[name], lrs)[10] for each in (case, replace(case, weights=moved)))
    errors = {key: np.abs(actual[key] - right[key]).max() / np.abs(right[key]).max() for key in case.weights}
    worst = max((key for key in errors if key.endswith(".weight")), key=errors.__getitem__)
    assert errors[worst] > 1e-8, "not chaotic"
    place = Place("optimizers", name, 10, worst)
    difference = difference_at(place, {place: actual[worst]}, {place: right[worst]}, case)
    assert words in str(single(difference))


# --- layers, computed by hand -----------------------------------------------------------------------------------------


def rows(values: Array) -> Array:
    return values[:, None, None]


@pytest.mark.parametrize("stage", ["evaluation", "training"])
def test_epsilon_of_batch_norm(known: Known, stage: str) -> None:
    right = known("norm")
    x, weights = given(right, stage, "conv"), right.case.weights
    mean, variance, gamma, beta = (
        rows(weights[f"norm.{role}"]) for role in ("running_mean", "running_var", "gamma", "beta")
    )
    if stage == "training":
        mean, variance = rows(x.mean((0, 2, 3))), rows(x.var((0, 2, 3)))
    place = Place(stage, "", 0, "norm")
    outside = gamma * (x - mean) / (np.sqrt(variance) + 1e-5) + beta
    assert cause(right, place, outside) == "epsilon outside the root"
    assert cause(right, place, gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta) == "epsilon 0.001 for 1e-05"
    assert cause(right, place, (x - mean) / np.sqrt(variance + 1e-5) + beta) == "gamma is left out"
    assert cause(right, place, gamma * (x - mean) / np.sqrt(variance + 1e-5)) == "beta is left out"


def test_the_unbiased_variance_in_the_batch(known: Known) -> None:
    right = known("norm")
    x, weights = given(right, "training", "conv"), right.case.weights
    mean, variance = rows(x.mean((0, 2, 3))), rows(x.var((0, 2, 3), ddof=1))
    y = rows(weights["norm.gamma"]) * (x - mean) / np.sqrt(variance + 1e-5) + rows(weights["norm.beta"])
    assert cause(right, Place("training", "", 0, "norm"), y).startswith("ratio 36/35")


def test_local_response_norm(known: Known) -> None:
    right = known("response")
    x = given(right, "evaluation", "conv")
    place = Place("evaluation", "", 0, "response")

    def normal(alpha: float, below: int, above: int) -> Array:
        total = np.stack([(x[:, max(0, c - below) : c + above + 1] ** 2).sum(1) for c in range(x.shape[1])], 1)
        return x / (1 + alpha * total) ** 0.75

    assert np.allclose(normal(0.5 / 4, 2, 1), given(right, "evaluation", "response"), rtol=1e-12)
    assert "not divided" in cause(right, place, normal(0.5, 2, 1))
    assert "size is taken for the radius" in cause(right, place, normal(0.5 / 4, 4, 4))
    assert "from c-1 to c+2" in cause(right, place, normal(0.5 / 4, 1, 2))


def test_flatten_order_of_a_dense_layer(known: Known) -> None:
    right = known("conv")
    maps, weights = given(right, "training", "groups"), right.case.weights
    turned = np.moveaxis(maps, 1, -1).reshape(len(maps), -1)
    actual = turned @ weights["head.weight"].T + weights["head.bias"]
    assert cause(right, Place("training", "", 0, "head"), actual) == (
        "a permutation of the inputs of head: flatten order H,W,C for C,H,W"
    )


def test_a_bias_is_dropped(known: Known) -> None:
    right = known("conv")
    actual = given(right, "training", "conv") - rows(right.case.weights["conv.bias"])
    assert cause(right, Place("training", "", 0, "conv"), actual) == "the bias is left out"


def test_group_orders(known: Known) -> None:
    right = known("conv")
    weight, bias = (right.case.weights[f"groups.{role}"] for role in ("weight", "bias"))
    x = np.pad(given(right, "training", "conv_tanh"), ((0, 0), (0, 0), (1, 1), (1, 1)))

    def convolve(seen: Callable[[int], list[int]]) -> Array:
        y = np.zeros((BATCH, 6, 4, 4))
        for o, i, j in np.ndindex(6, 4, 4):
            y[:, o, i, j] = (x[:, seen(o), i : i + 3, j : j + 3] * weight[o]).sum((1, 2, 3)) + bias[o]
        return y

    place = Place("training", "", 0, "groups")
    assert np.allclose(convolve(lambda o: [0, 1] if o < 3 else [2, 3]), given(right, "training", "groups"), rtol=1e-9)
    assert "inputs in another order" in cause(right, place, convolve(lambda o: [2, 3] if o < 3 else [0, 1]))
    assert "inputs in another order" in cause(right, place, convolve(lambda o: [0, 2] if o < 3 else [1, 3]))


def test_padding_under_a_maximum(known: Known) -> None:
    right = known("padded max")
    x = np.pad(given(right, "evaluation", "conv"), ((0, 0), (0, 0), (1, 1), (1, 1)))
    actual = np.empty((BATCH, 4, 4, 4))
    for i, j in np.ndindex(4, 4):
        actual[:, :, i, j] = x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((2, 3))
    assert "0, not minus infinity" in cause(right, Place("evaluation", "", 0, "largest"), actual)


def test_resize_by_other_positions(known: Known) -> None:
    right = known("resize")
    x = given(right, "evaluation", "pixels")
    place = Place("evaluation", "", 0, "resize")
    actual = np.empty((BATCH, 2, 8, 7))
    for i, j in np.ndindex(8, 7):
        actual[:, :, i, j] = x[:, :, int((i + 0.5) * 5 / 8), int((j + 0.5) * 5 / 7)]
    assert "nearest" in cause(right, place, actual)
    for i, j in np.ndindex(8, 7):
        (a, s), (b, t) = divmod(i * 4 / 7, 1), divmod(j * 4 / 6, 1)
        above, below = int(a), min(int(a) + 1, 4)
        left, after = int(b), min(int(b) + 1, 4)
        top = (1 - t) * x[:, :, above, left] + t * x[:, :, above, after]
        actual[:, :, i, j] = (1 - s) * top + s * ((1 - t) * x[:, :, below, left] + t * x[:, :, below, after])
    assert "corners" in cause(right, place, actual)
    resize = Resize("resize", 8, 7)
    smoothed = resize_matrix(resize, 5, 8) @ x @ resize_matrix(resize, 5, 7).T
    assert cause(right, place, smoothed) == "the plain formula: a declared departure does not show"


def test_dropout_in_evaluation(known: Known) -> None:
    right = known("dropout")
    x = given(right, "evaluation", "conv")
    mask = np.random.default_rng(0).random(x.shape) >= 0.3
    actual = np.where(mask, x / 0.7, 0)
    assert cause(right, Place("evaluation", "", 0, "drop"), actual) == "dropout acts in evaluation"


# --- loss, steps, running statistics ----------------------------------------------------------------------------------


def losses(logits: Array, axis: int) -> Array:
    return np.log(np.exp(logits).sum(axis, keepdims=True)) - logits


@pytest.mark.parametrize("words", ["summed", "over them too", "twice", "wrong axis"])
def test_losses_by_hand(known: Known, words: str) -> None:
    right = known("dense")
    logits, labels = given(right, "training", "head"), right.case.labels[:BATCH]
    each = np.arange(BATCH), labels
    actual = {
        "summed": losses(logits, 1)[each].sum(),
        "over them too": losses(logits, 1)[each].sum() / logits.size,
        "twice": losses(np.exp(-losses(logits, 1)), 1)[each].mean(),
        "wrong axis": losses(logits, 0)[each].mean(),
    }[words]
    assert words in cause(right, Place("loss", "", 0, "loss"), np.array(actual))


def test_an_auxiliary_loss_is_left_out(known: Known) -> None:
    right = known("auxiliary")
    aside = losses(given(right, "training", "aside.aux"), 1)[np.arange(BATCH), right.case.labels[:BATCH]].mean()
    actual = given(right, "loss", "loss") - 0.3 * aside
    assert f"lower by 0.3 x {aside:.4g}" in cause(right, Place("loss", "", 0, "loss"), actual)


@pytest.mark.parametrize("training, change, words", [
    ("momentum, decay", lambda w, lr: -lr * 0.01 * w, "decay acts on biases"),
    ("adamw", lambda w, lr: -lr * 0.01 * w, "decay acts on biases"),
])  # fmt: skip
def test_decay_on_a_bias(known: Known, training: str, change: Callable[[Array, float], Array], words: str) -> None:
    right = known("dense", training)
    place = Place("optimizers", training, 1, "fc.bias")
    actual = right.evidence[place] + change(right.case.weights["fc.bias"], right.case.lrs(training, 1)[0])
    assert words in cause(right, place, actual)


def test_nesterovs_form_at_the_first_step(known: Known) -> None:
    right = known("dense", "nesterov")
    place, before = Place("optimizers", "nesterov", 1, "fc.weight"), right.case.weights["fc.weight"]
    actual = before + (right.evidence[place] - before) / 1.9  # w -= lr g for w -= lr (g + 0.9 g)
    assert cause(right, place, actual) == "Nesterov's form is not used, or no momentum"


def test_running_statistics_by_hand(known: Known) -> None:
    right = known("norm")
    place = Place("running statistics", "momentum, decay", 1, "norm.running_var")
    before, after = right.case.weights["norm.running_var"], right.evidence[place]
    batch = (after - 0.9 * before) / 0.1
    assert cause(right, place, 0.9 * before + 0.1 * batch * 36 / 35) == "ratio 36/35: unbiased for biased variance"
    assert cause(right, place, before) == "it is not updated"
    assert cause(right, place, 0.1 * before + 0.9 * batch).startswith("momentum 0.9 for 0.1: the weights of the old")
    assert cause(right, place, 0.99 * before + 0.01 * batch) == "momentum 0.01 for 0.1"
    assert cause(right, place, 0.81 * before + 0.19 * batch) == "momentum 0.19 for 0.1"  # moved twice
