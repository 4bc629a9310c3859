"""Verdicts from errors: what a float32 limit rests on, and where a verdict is withheld."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import pytest

from benchmarks.verification.cases import BATCH, Case, Place
from benchmarks.verification.comparison import (
    BLIND,
    LIMIT,
    STEP_SIZE,
    TIMES,
    ReferenceEvidence,
    RelativeErrors,
    StageVerdict,
    dropout,
    relative_errors,
    stage_verdicts,
)
from benchmarks.verification.evidence import repetitions
from frameworks.arrays import Array
from frameworks.spec import Dense, Dropout, Flatten, Network, StochasticDepth

NETWORK = Network("net", (1, 3, 3), [Flatten("flat"), Dense("fc", 6), Dense("out", 3)])
CASE = Case.for_network(NETWORK, seed=0, batch_size=BATCH)
LOSS = Place("loss", "", 0, "loss")
LAYERS = [Place("evaluation", "", 0, name) for name in ("flat", "fc", "out")]


def weight(step: int, tensor: str = "fc.weight") -> Place:
    return Place("optimizers", "sgd", step, tensor)


def judged(
    errors: Mapping[str, Mapping[Place, float]],
    stage: str,
    precision: str = "float32",
    amplification: Mapping[Place, float] | None = None,
) -> dict[str, StageVerdict]:
    """The verdict on one stage by framework; `name:mode` is a mode of the framework `name`."""
    packages = {label: label.partition(":")[0] for label in errors}
    verdicts = stage_verdicts(
        {label: RelativeErrors(plain=dict(each)) for label, each in errors.items()},
        CASE,
        precision,
        amplification=amplification,
        packages=packages,
    )
    return {label: next(each for each in of_label if each.stage == stage) for label, of_label in verdicts.items()}


def differing(verdicts: Mapping[str, StageVerdict]) -> set[str]:
    return {label for label, each in verdicts.items() if each.verdict == "differs"}


# --- float32 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modes", [1, 2, 5])
@pytest.mark.parametrize("others", [1, 2])
def test_modes_of_one_framework_do_not_outvote_the_others(modes: int, others: int) -> None:
    faulty = {f"a:{mode}": {LOSS: 0.05} for mode in range(modes)}
    correct = {name: {LOSS: 1e-5} for name in ("b", "c")[:others]}
    assert differing(judged({**faulty, **correct}, "loss")) == set(faulty)


@pytest.mark.parametrize("labels", [("a",), ("a", "a:b"), ("a", "a:b", "a:c")], ids=str)
def test_float32_has_no_verdict_with_one_framework(labels: tuple[str, ...]) -> None:
    verdicts = judged({label: {LOSS: 0.4} for label in labels}, "loss")
    assert {each.verdict for each in verdicts.values()} == {"not verified"}
    assert all("only one" in each.note for each in verdicts.values())


def test_a_mode_with_a_fault_does_not_widen_the_limit_of_its_framework() -> None:
    errors = {"a": {LOSS: 1e-5}, "a:faulty": {LOSS: 0.05}, "b": {LOSS: 1e-5}}
    assert differing(judged(errors, "loss")) == {"a:faulty"}


def test_an_error_late_in_the_network_excuses_none_before_it() -> None:
    late = dict(zip(LAYERS, (1e-7, 1e-7, 1e-2)))
    early = dict(zip(LAYERS, (1e-7, 1e-3, 1e-2)))
    verdict = judged({"a": late, "b": late, "c": early}, "evaluation")["c"]
    assert (verdict.verdict, verdict.place) == ("differs", LAYERS[1])


def test_an_error_early_in_the_network_excuses_a_smaller_one_after_it() -> None:
    lucky = dict(zip(LAYERS, (1e-3, 1e-3, 1e-7)))
    usual = dict(zip(LAYERS, (1e-3, 1e-3, 1e-3)))
    assert not differing(judged({"a": lucky, "b": lucky, "c": usual}, "evaluation"))


@pytest.mark.parametrize("stage", ["loss", "curve"])
def test_a_loss_that_is_right_by_chance_refuses_no_other(stage: str) -> None:
    place = Place(stage, "", int(stage == "curve"), "loss")
    output = Place("training", "", 0, "out")
    lucky, usual = {output: 1e-3, place: 1e-7}, {output: 1e-3, place: 1e-3}
    assert not differing(judged({"a": lucky, "b": lucky, "c": usual}, stage))
    assert differing(judged({"a": lucky, "b": lucky, "c": usual | {place: 0.01}}, stage)) == {"c"}


def test_a_late_step_excuses_no_early_one() -> None:
    correct = {weight(1): 1e-6, weight(10): 1e-2}
    faulty = {weight(1): 1e-4, weight(10): 1e-2}
    verdict = judged({"a": correct, "b": correct, "c": faulty}, "optimizers")["c"]
    assert (verdict.verdict, verdict.place) == ("differs", weight(1))


def test_errors_of_correct_frameworks_above_the_limit_are_not_distinguishable() -> None:
    size = 2 * BLIND["float32"] / TIMES
    for verdict in judged({name: {LOSS: size} for name in "abc"}, "loss").values():
        assert verdict.verdict == "not distinguishable"
        assert f"an error below {TIMES * size:.0e} would not be seen" in verdict.note


def test_an_early_step_that_is_seen_verifies_the_tensor() -> None:
    errors = {weight(1): 1e-6, weight(10): 0.4}
    assert {each.verdict for each in judged(dict.fromkeys("abc", errors), "optimizers").values()} == {"ok"}


def test_an_error_that_is_not_a_number_differs_where_nothing_else_would_be_seen() -> None:
    errors = {"a": {LOSS: 0.3}, "b": {LOSS: 0.3}, "c": {LOSS: float("inf")}}
    assert differing(judged(errors, "loss")) == {"c"}


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1.0, 1.01, 0.9, 1.1, 2.0])
def test_the_step_size_is_compared(factor: float) -> None:
    """Most values move by the factor; a few, which rounding may turn around, move in the other direction."""
    moved = CASE.weights["fc.weight"] + 0.01
    actual = CASE.weights["fc.weight"] + 0.01 * factor
    actual.flat[:3] = CASE.weights["fc.weight"].flat[:3] - 0.01
    reference = ReferenceEvidence.from_evidence(CASE, {weight(1): moved})
    errors = relative_errors([(weight(1), actual)], reference, [], "float32")
    assert errors.plain[weight(1, STEP_SIZE)] == pytest.approx(abs(factor - 1), abs=1e-12)


def test_the_step_size_may_be_off_by_more_after_more_steps() -> None:
    errors = {weight(1): 1e-6, weight(1, STEP_SIZE): 1e-5, weight(5): 1e-6, weight(5, STEP_SIZE): 4e-3}
    lucky = errors | {weight(5, STEP_SIZE): 1e-5}
    assert not differing(judged({"a": lucky, "b": lucky, "c": errors}, "optimizers"))
    early = lucky | {weight(1, STEP_SIZE): 4e-3}
    assert differing(judged({"a": lucky, "b": lucky, "c": early}, "optimizers")) == {"c"}


def test_a_learning_rate_one_percent_off_differs_although_single_values_are_off_by_more() -> None:
    correct = {weight(1): 0.02, weight(1, STEP_SIZE): 1e-5}
    faulty = {weight(1): 0.02, weight(1, STEP_SIZE): 0.01}
    verdict = judged({"a": correct, "b": correct, "c": faulty}, "optimizers")["c"]
    assert (verdict.verdict, verdict.place) == ("differs", weight(1, STEP_SIZE))


# --- float64 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error, amplification, verdict", [
    (1e-12, 10.0, "ok"),
    (1e-8, 10.0, "differs"),
    (1e-12, 1e12, "ok"),  # below the limit, whatever the network amplifies
    (1e-6, 1e12, "not verified"),
    (0.5, 1e12, "differs"),  # more than rounding explains
])  # fmt: skip
def test_rounding_that_the_network_amplifies_is_no_difference(error: float, amplification: float, verdict: str) -> None:
    found = judged({"a": {weight(10): error}}, "optimizers", "float64", {weight(10): amplification})["a"]
    assert found.verdict == verdict
    assert ("amplifies rounding by 1e+12" in found.note) == (verdict == "not verified")


def test_a_gradient_that_is_zero_except_for_rounding_is_compared_with_its_rounding() -> None:
    place = Place("gradients", "", 0, "fc.weight")
    for error, verdict in ((1e-3, "ok"), (1.0, "differs")):
        assert judged({"a": {place: error}}, "gradients", "float64", {place: 1e13})["a"].verdict == verdict


@pytest.mark.parametrize("gradient, refused", [(1e-16, False), (1e-9, False), (1e-3, True), (1.0, True)])
def test_a_gradient_is_relative_to_at_least_a_fraction_of_the_largest(gradient: float, refused: bool) -> None:
    """Networks 62, 69 and 78 of `research.random_networks` were refused for the rounding of gradients that are 0."""
    small, large = (Place("gradients", "", 0, f"{layer}.weight") for layer in ("fc", "out"))
    evidence = {small: np.full(4, gradient), large: np.ones(4)}
    reference = ReferenceEvidence.from_evidence(CASE, evidence)
    actual = evidence | {small: evidence[small] * (1 + 1e-6)}
    error = relative_errors(iter(actual.items()), reference, (), "float64").error(small)
    assert (error > LIMIT) == refused


def test_errors_are_arrays_of_the_reference_shape() -> None:
    reference = ReferenceEvidence.from_evidence(CASE, {weight(1): CASE.weights["fc.weight"]})
    errors = relative_errors([(weight(1), np.zeros(3))], reference, [], "float64")
    assert errors.plain == {weight(1): float("inf")}


# --- dropout ----------------------------------------------------------------------------------------------------------

DROPPED = 200, 3, 4  # images, channels, pixels of a channel
PLAIN: dict[str, Dropout] = {"drop": Dropout("drop", rate=0.3)}
DEPTHS: dict[str, Dropout] = {name: StochasticDepth(name, rate=rate) for name, rate in {"a": 0.1, "b": 0.3}.items()}
Masks: TypeAlias = Callable[[np.random.Generator, float], Array]  # of the probability to remain


def by_value(stream: np.random.Generator, keep: float) -> Array:
    return np.asarray(stream.random(DROPPED) < keep) / keep


def by_image(stream: np.random.Generator, keep: float) -> Array:
    return np.asarray(stream.random((DROPPED[0], 1, 1)) < keep) / keep


def by_channel(stream: np.random.Generator, keep: float) -> Array:
    return np.asarray(stream.random((*DROPPED[:2], 1)) < keep) / keep


def in_pairs(stream: np.random.Generator, keep: float) -> Array:
    """Two images have one mask."""
    return np.repeat(by_image(stream, keep)[::2], 2, axis=0)


def evidence(layers: Mapping[str, Dropout], masks: Masks, seed: int) -> dict[Place, Array]:
    """Input and output of each layer."""
    stream = np.random.default_rng(seed)
    inputs = {name: stream.normal(size=DROPPED) for name in layers}
    return {
        Place("dropout", "", 0, name): np.stack([inputs[name], inputs[name] * masks(stream, 1 - layer.rate)])
        for name, layer in layers.items()
    }


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("layers", "masks"), [(PLAIN, by_value), (DEPTHS, by_image)], ids=["plain", "by image"])
def test_masks_by_the_rule_of_the_layer_pass(layers: Mapping[str, Dropout], masks: Masks, seed: int) -> None:
    assert dropout(evidence(layers, masks, seed), layers, "float64").verdict == "ok"


@pytest.mark.parametrize(
    ("layers", "masks", "note"),
    [
        (PLAIN, by_image, "neighbors"),
        (PLAIN, by_channel, "neighbors"),
        (DEPTHS, by_value, "an image is dropped in part"),
        (DEPTHS, by_channel, "an image is dropped in part"),
        (DEPTHS, in_pairs, "pairs of images alike: 200 of 200, expected 140"),
        (DEPTHS, lambda stream, keep: np.ones(DROPPED), "values are not divided by 1 - rate"),
        (DEPTHS, lambda stream, keep: by_image(stream, keep) * keep, "values are not divided by 1 - rate"),
        (DEPTHS, lambda stream, keep: np.full(DROPPED, 1 / keep), "the fraction of remaining images: 400 of 400"),
        (DEPTHS, lambda stream, keep: np.zeros(DROPPED), "the fraction of remaining images: 0 of 400"),
        (DEPTHS, lambda stream, keep: (by_image(stream, 1 - keep) > 0) / keep, "the fraction of remaining images"),
    ],
    ids=[
        "by image",
        "by channel",
        "by value",
        "by channels",
        "in pairs",
        "all",
        "unscaled",
        "none dropped",
        "all dropped",
        "rate",
    ],
)
def test_masks_by_another_rule_differ(layers: Mapping[str, Dropout], masks: Masks, note: str) -> None:
    verdict = dropout(evidence(layers, masks, 0), layers, "float64")
    assert verdict.verdict == "differs"
    assert verdict.note.startswith(note)


def test_one_mask_for_two_stochastic_depths_differs() -> None:
    layers: dict[str, Dropout] = {name: StochasticDepth(name, rate=0.3) for name in "ab"}
    mask = by_image(np.random.default_rng(0), 0.7)
    verdict = dropout(evidence(layers, lambda stream, keep: mask, 0), layers, "float64")
    assert verdict.verdict == "differs" and verdict.note.startswith("images alike in two layers: 200 of 200")


def test_an_image_that_is_zero_before_a_stochastic_depth_does_not_count_as_dropped() -> None:
    places = evidence(DEPTHS, by_image, 0)
    for before_and_after in places.values():
        before_and_after[:, ::2] = 0
    assert dropout(places, DEPTHS, "float64").verdict == "ok"


@pytest.mark.parametrize(("rates", "repeats"), [((0.5,), 6), ((0.1,), 46), ((0.1,) * 10, 5), ((), 1), ((0.0,), 1)])
def test_images_are_repeated_until_a_stochastic_depth_that_drops_nothing_shows(
    rates: Sequence[float], repeats: int
) -> None:
    """81 (1 - r) / (r layers) images show it at nine standard deviations."""
    layers = [StochasticDepth(f"depth{number}", rate=rate) for number, rate in enumerate(rates)]
    network = Network("net", (1, 4, 4), [*layers, Flatten(), Dense("fc", 2)])
    assert repetitions(network, 16) == repeats
