"""Means, intervals and decisions, against values computed by hand and against simulations with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.timing.statistics import (
    Estimate,
    NoiseFloor,
    break_even,
    equivalence,
    geometric_mean,
    launches_ratio,
    location,
    noise_floor,
    paired_ratio,
    pairs_needed,
    quantile,
    runs_ratio,
    verdict,
    warm_up,
)

Drawn = np.ndarray  # count x launches x rounds


def test_no_samples_give_no_estimate() -> None:
    assert geometric_mean([]) is None


def test_one_sample_has_no_spread() -> None:
    assert geometric_mean([3.0]) == (3.0, None, None)


def test_equal_samples_have_an_interval_of_no_width() -> None:
    assert geometric_mean([2.0, 2.0, 2.0]) == (2.0, 2.0, 2.0)


@pytest.mark.filterwarnings("error")
def test_differences_by_rounding_count_as_equal() -> None:
    assert geometric_mean([3.0, 3.0 * (1 + 2**-52)]) == (3.0, 3.0, 3.0)


def test_two_samples_by_hand() -> None:
    """Logs 0 and 2 ln 2: mean ln 2, standard error ln 2; t of one degree of freedom at 97.5 % is 12.706."""
    value, low, high = geometric_mean([1.0, 4.0])  # type: ignore[misc]
    assert value == pytest.approx(2.0)
    assert low == pytest.approx(2 ** (1 - 12.7062), rel=1e-3)
    assert high == pytest.approx(2 ** (1 + 12.7062), rel=1e-3)


def test_drift_cancels_within_pairs() -> None:
    drift = np.linspace(1, 3, 10)
    estimate = paired_ratio(list(2 * drift), list(drift))
    assert estimate == pytest.approx((2.0, 2.0, 2.0))


def test_unpaired_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        paired_ratio([1.0], [1.0, 2.0])


def test_the_interval_covers_the_true_value_as_often_as_stated() -> None:
    """95 % of 2,000 intervals, give or take three standard errors of that count (1.5 points)."""
    stream = np.random.default_rng(0)
    result = [geometric_mean(list(np.exp(stream.normal(0, 0.1, 10)))) for _ in range(2_000)]
    covered = np.mean([low <= 1 <= high for _, low, high in result])  # type: ignore[misc]
    assert abs(covered - 0.95) < 0.015


# --- ratios over launches ---------------------------------------------------------------------------------------------


def drawn(stream: np.random.Generator, count: int, launches: int, tau: float, ratio: float = 1.0) -> list[list[Drawn]]:
    """Pairs (mine, theirs), 20 rounds a launch: both drift together, each launch has a factor of its own."""
    shape = (count, launches, 20)
    drift = np.cumsum(stream.normal(0, 0.02, shape), -1)
    noise = [drift + stream.exponential(0.01, shape) + stream.normal(0, tau, (*shape[:2], 1)) for _ in range(2)]
    return [[np.exp(mine), np.exp(theirs) * ratio] for mine, theirs in zip(*noise)]


def test_a_launch_hit_by_load_is_judged_by_the_middle_of_its_rounds() -> None:
    """`mine` takes half as long; a burst that hits both cancels, one that begins or ends between them is left out."""
    theirs = [2.0, 2.0, 9.0, 8.0, 6.0, 2.0, 2.0, 2.0]
    mine = [1.0, 1.0, 1.0, 4.0, 3.0, 1.1, 1.0, 3.0]
    assert location(mine, theirs) == pytest.approx(np.log(2))


def test_location_is_the_same_from_either_side() -> None:
    mine, theirs = np.exp(np.random.default_rng(0).normal(size=(2, 15)))
    assert location(list(mine), list(theirs)) == pytest.approx(-location(list(theirs), list(mine)))


def test_a_second_baseline_worker_reduces_the_variance_without_bias() -> None:
    """Noise that only adds time, as on a machine: the median against the mean of two would be biased by 0.8 %."""
    logs = np.random.default_rng(0).exponential(0.07, (2_000, 3, 31))  # launches x workers x rounds
    one, two = ([location(*launch[: 2 + more]) for launch in np.exp(logs)] for more in (0, 1))
    assert abs(np.mean(two)) < 4 * np.std(two) / len(two) ** 0.5 < 0.002
    assert 0.5 < np.var(two) / np.var(one) < 0.75, "two thirds, with this noise"
    assert np.median(logs[:, 1:].mean(1) - logs[:, 0], axis=1).mean() > 0.005, "the biased estimate"


@pytest.mark.parametrize(("mine", "theirs"), [([], []), ([1.0, 0.0], [1.0, 1.0]), ([1.0], [-1.0])])
def test_seconds_must_be_more_than_0(mine: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        location(mine, theirs)


def test_launches_by_hand() -> None:
    """Launches at 1, 2 and 4 times: mean of logs ln 2, standard error ln 2 / sqrt 3, t of 2 degrees 4.3027."""
    result = launches_ratio([[1.0, 1.0], [1.0], [1.0]], [[1.0, 1.0], [2.0], [4.0]])
    assert result and result.value == pytest.approx(2)
    half = 4.3027 / 3**0.5
    assert np.log2(result[1:]) == pytest.approx([1 - half, 1 + half], rel=1e-4)


def test_no_launch_has_no_ratio_and_one_has_no_interval() -> None:
    assert launches_ratio([], []) is None
    assert launches_ratio([[1.0, 1.0]], [[3.0, 3.0]]) == (pytest.approx(3.0), None, None)


@pytest.mark.parametrize("unpaired", [([[1.0]], []), ([[1.0, 1.0]], [[1.0]])])
def test_unpaired_launches_or_rounds_are_refused(unpaired: tuple[list[list[float]], list[list[float]]]) -> None:
    with pytest.raises(ValueError):
        launches_ratio(*unpaired)


@pytest.mark.parametrize("launches", [2, 3, 6])
@pytest.mark.parametrize("tau", [0.0, 0.003, 0.02])
def test_the_interval_over_launches_covers_the_true_value(launches: int, tau: float) -> None:
    """95 % of 600 intervals, for any spread of launches; minus three standard errors of this count (2.7 points)."""
    result = [launches_ratio(*pair) for pair in drawn(np.random.default_rng(1), 600, launches, tau, 1.05)]
    assert np.mean([each.low <= 1.05 <= each.high for each in result]) > 0.95 - 0.027  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("launches", [(3, 3), (2, 5)])
def test_the_interval_between_runs_covers_the_true_value(launches: tuple[int, int]) -> None:
    """`mine` is 1.1 times as fast as it was. Welch's t is approximate: one point more is allowed."""
    stream = np.random.default_rng(2)
    after, before = drawn(stream, 600, launches[0], 0.01, 2.2), drawn(stream, 600, launches[1], 0.01, 2.0)
    result = [runs_ratio((a[0], a[1]), (b[0], b[1])) for a, b in zip(after, before)]
    assert np.mean([each.low <= 1.1 <= each.high for each in result]) > 0.95 - 0.027 - 0.01  # type: ignore[union-attr, operator]


def test_runs_by_hand() -> None:
    """Logs 0 and 2 against 0 and 0: one run has no spread, so the degrees of freedom are the other's, 1."""
    e2 = float(np.exp(2))
    result = runs_ratio(([[1.0], [1.0]], [[1.0], [e2]]), ([[1.0], [1.0]], [[1.0], [1.0]]))
    assert np.log(result) == pytest.approx([1, 1 - 12.7062, 1 + 12.7062], rel=1e-4)  # type: ignore[arg-type]


def test_a_run_of_one_launch_leaves_no_interval() -> None:
    two: tuple[list[list[float]], list[list[float]]] = ([[1.0], [1.0]], [[2.0], [2.0]])
    one: tuple[list[list[float]], list[list[float]]] = ([[1.0]], [[1.0]])
    assert runs_ratio(two, one) == (pytest.approx(2.0), None, None)
    assert runs_ratio(two, ([], [])) is None
    assert runs_ratio(two, two) == pytest.approx((1.0, 1.0, 1.0))


# --- detectable differences -------------------------------------------------------------------------------------------


def test_the_floor_reaches_to_the_farthest_control() -> None:
    floor = noise_floor(Estimate(1.01, 1.0, 1.02), Estimate(0.98, 0.97, 0.99))
    assert (floor.low, floor.high) == pytest.approx((0.98, 1 / 0.98))
    assert floor.visible == pytest.approx(1 / 0.97 - 1)
    assert noise_floor() == (1.0, 1.0, None)
    assert noise_floor(Estimate(1.02)).visible is None


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (Estimate(1.05, 1.03, 1.07), "faster"),
        (Estimate(0.95, 0.93, 0.97), "slower"),
        (Estimate(1.05, 1.01, 1.09), "same"),  # beyond 1, within the floor
        (Estimate(1.00, 0.90, 1.10), "same"),
        (Estimate(1.05), None),
    ],
)
def test_verdicts(ratio: Estimate, expected: str | None) -> None:
    assert verdict(ratio, NoiseFloor(1 / 1.02, 1.02)) == expected


def test_equal_programs_are_rarely_called_different_and_3_percent_often() -> None:
    """Of 40 pairs at most 4, and at least 36; five launches with a spread of 0.3 %."""
    stream = np.random.default_rng(3)
    floors = [noise_floor(launches_ratio(*pair)) for pair in drawn(stream, 40, 5, 0.003)]  # type: ignore[arg-type]
    verdicts = {}
    for ratio in (1.0, 1 / 1.03):
        rows = [launches_ratio(*pair) for pair in drawn(stream, 40, 5, 0.003, ratio)]
        verdicts[ratio] = [verdict(row, floor) for row, floor in zip(rows, floors)]  # type: ignore[arg-type]
    assert sum(one != "same" for one in verdicts[1.0]) <= 4
    assert sum(one == "slower" for one in verdicts[1 / 1.03]) >= 36


@pytest.mark.parametrize("true", [0, 1, 4, 9])
def test_warm_up_is_discarded(true: int) -> None:
    """Slices that take twice as long at the start are all discarded, and on average at most three others."""
    stream = np.random.default_rng(4)
    result = []
    for _ in range(100):
        seconds = 1 + stream.exponential(0.02, 30)
        seconds[:true] *= 2
        result.append(warm_up(list(seconds)))
    settled = [cut for cut in result if cut is not None]
    assert len(settled) >= 95 and min(settled) >= true and np.mean(settled) <= true + 3


def test_without_a_steady_state_warm_up_has_no_end() -> None:
    assert warm_up([float(number) for number in range(30, 0, -1)]) is None


def test_equal_slices_need_no_warm_up() -> None:
    assert warm_up([0.1] * 20) == 0
    assert warm_up([9.0, 1.0, 1.0]) == 0  # too few slices


@pytest.mark.parametrize(
    ("mine", "theirs", "epochs"),
    [
        ((10.0, 1.0), (4.0, 3.0), 3.0),
        ((4.0, 3.0), (10.0, 1.0), 0.0),  # ahead at the start
        ((4.0, 1.0), (4.0, 3.0), 0.0),
        ((10.0, 3.0), (4.0, 3.0), None),
        ((10.0, 4.0), (4.0, 3.0), None),
    ],
)
def test_break_even(mine: tuple[float, float], theirs: tuple[float, float], epochs: float | None) -> None:
    assert break_even(mine, theirs) == epochs


@pytest.mark.parametrize(("fraction", "least"), [(0.5, 6), (0.95, 72), (0.99, 368)])
def test_the_number_of_samples_for_an_interval_of_a_quantile(fraction: float, least: int) -> None:
    """0.5 ** 6, 0.95 ** 72 and 0.99 ** 368 are the first powers below 2.5 %."""
    samples = [float(number) for number in range(least)]
    below, enough = quantile(samples[:-1], fraction), quantile(samples, fraction)
    assert below and below.low is None
    assert enough and enough.low is not None and enough.low <= enough.value <= enough.high  # type: ignore[operator]


@pytest.mark.parametrize("fraction", [0.5, 0.95])
def test_a_quantiles_interval_covers_the_true_value(fraction: float) -> None:
    """At least as often as stated, because order statistics have steps. 200 intervals, three standard errors."""
    stream = np.random.default_rng(5)
    result = [quantile(list(stream.exponential(1, 200)), fraction) for _ in range(200)]
    true = -np.log(1 - fraction)
    assert np.mean([each.low <= true <= each.high for each in result]) > 0.95 - 0.046  # type: ignore[union-attr, operator]


def test_no_samples_have_no_quantile() -> None:
    assert quantile([], 0.5) is None
    assert quantile([3.0], 0.99) == (3.0, None, None)


# --- equivalence ------------------------------------------------------------------------------------------------------


def test_equivalence_by_hand() -> None:
    """Differences 0 and 0.2: mean 0.1, standard error 0.1; (0.1 - 0.5) / 0.1 = -4 with 1 degree: p = atan(1/4) / pi."""
    result = equivalence([1.0, 1.2], [1.0, 1.0], 0.5)
    assert result.difference.value == pytest.approx(0.1)
    assert result.p == pytest.approx(np.arctan(0.25) / np.pi)
    assert (result.difference.low, result.difference.high) == pytest.approx((0.1 - 0.63138, 0.1 + 0.63138), rel=1e-4)
    assert not result.equivalent


@pytest.mark.parametrize(("gap", "equal"), [(0.0, True), (0.4, True), (0.5, False), (0.6, False)])
def test_equal_differences_have_no_spread(gap: float, equal: bool) -> None:
    result = equivalence([0.7 + gap, 0.8 + gap, 0.9 + gap], [0.7, 0.8, 0.9], 0.5)
    assert result.equivalent == equal and result.p in (0.0, 1.0)


def test_one_pair_is_not_enough() -> None:
    result = equivalence([0.8], [0.8], 0.5)
    assert (result.p, result.pairs, result.equivalent, result.difference.low) == (None, None, False, None)


@pytest.mark.parametrize(("mine", "margin"), [([], 0.5), ([1.0], 0.0), ([1.0], -1.0)])
def test_equivalence_needs_pairs_and_a_margin(mine: list[float], margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        equivalence(mine, mine, margin)


@pytest.mark.parametrize("spread", [0.2, 0.5, 1.0])
def test_the_computed_number_of_pairs_gives_power_and_level(spread: float) -> None:
    """Power 80 % at no difference, 5 % at the margin; 400 draws, three standard errors of each (6 and 3.3 points)."""
    stream, count = np.random.default_rng(6), pairs_needed(spread, 0.5)
    zeros = [0.0] * count
    power, level = (
        np.mean([equivalence(list(gaps), zeros, 0.5).equivalent for gaps in stream.normal(mean, spread, (400, count))])
        for mean in (0.0, 0.5)
    )
    assert power > 0.8 - 0.06
    assert level < 0.05 + 0.033


def test_two_pairs_suffice_without_spread() -> None:
    assert equivalence([0.1, 0.1], [0.1, 0.1], 0.5).pairs == 2
    result = equivalence([0.0, 1.0, 2.0], [1.0, 1.0, 1.0], 0.5)  # a spread of 1
    assert result.pairs == pairs_needed(1.0, 0.5) > 3


@pytest.mark.parametrize("count", [2, 3, 10, 40])
def test_the_interval_of_a_geometric_mean_is_that_of_scipy(count: int) -> None:
    samples = np.random.default_rng(count).lognormal(3, 0.2, count).tolist()
    logs = np.log(samples)
    interval = stats.ttest_1samp(logs, 0.0).confidence_interval(0.95)
    expected = (np.exp(logs.mean()), np.exp(interval.low), np.exp(interval.high))
    estimate = geometric_mean(samples)
    assert estimate is not None and tuple(estimate) == pytest.approx(expected, rel=1e-14)
