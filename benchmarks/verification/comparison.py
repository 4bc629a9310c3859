"""Verdicts: the tensors of each framework compared with those of the NumPy reference.

In float64, a relative error above the limit of the stage is a difference, unless the network amplifies rounding to an
error of that size (`conditioning`). In float32 there is no fixed limit: the error of a framework, against the float64
reference, may be `TIMES` the typical error of correct frameworks at this place, or as large as rounding explains.
Where this limit is too wide to reveal a fault, the stage is not verified. With layers in 16 bits, the limit is `TIMES`
the error of the reference with such layers (`reduced`). A place with a declared departure is compared
with the value that the formula of the departure gives.

An error is relative to the largest value of all arrays of the layer: the gradient of a bias before batch normalization
is 0, so relative to itself only its rounding would be compared. Between two batch normalizations the gradients of a
whole layer are 0 except for rounding, so a gradient counts as at least `SMALL_GRADIENT` of the network's largest one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from benchmarks.verification.cases import SEVERAL_STEPS, STAGES, Case, Evidence, Place
from benchmarks.verification.evidence import PlacedTensor
from benchmarks.verification.reduced import MOST_IN_OTHER, REDUCED, WIDTH, Widths
from frameworks.adapter import UNBIASED_RUNNING_VARIANCE
from frameworks.arrays import Array
from frameworks.spec import BatchNorm, Dropout, StochasticDepth

# Measured with correct frameworks: 1e-15 for gradients, 1e-14 after 200 steps. The rest is headroom for deep networks.
LIMITS = {"parameters": 0.0, "optimizers": 1e-9, "running statistics": 1e-9, "curve": 1e-9}
LIMIT = 1e-10
SMALL_GRADIENT = 1e-4
TIMES = 4.0
ROUNDING = 64 * 2.0**-24  # float32 errors below this are not compared
HEADROOM = 100.0  # how much more than by one random rounding of the weights a correct framework may be off in float64
UNIT = {"float64": 2.0**-52, "float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
# A place whose limit is above this reveals too little. In float64 it concerns only stages of several steps: elsewhere,
# rounding is amplified most where a gradient is zero except for rounding. Its limit is small beside other gradients. In
# 16 bits a place is blind where even a tensor of zeros would agree; verdicts there rest on float64.
BLIND = {"float64": 1e-6, "float32": TIMES * 1e-1, **dict.fromkeys(REDUCED, 1.0)}
STEP_SIZE = "step size"  # name of the tensor: the factor between the steps of the framework and the reference
# The median step of a correct framework is off by up to this in float32, times the number of steps.
STEP_SIZE_ROUNDING = 1e-3
# Errors of so many units are not compared in 16 bits: a layer's input, arrays and output are rounded.
UNITS = 4


@dataclass(frozen=True)
class StageVerdict:
    """The verdict of one stage: the error closest to its limit and its place, or the first place that differs.

    none: the network has no such tensors. not verified, not distinguishable: neither agrees nor differs, see `note`.
    """

    stage: str
    verdict: Literal["ok", "explained", "differs", "not verified", "not distinguishable", "none"]
    error: float = 0.0
    place: Place | None = None
    note: str = ""
    later: int = 0  # further places that differ after the first
    limit: float = 0.0  # of `error`, above which the stage differs


# --- errors -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ReferenceEvidence:
    """The tensors of the reference in a case, and the largest value of each layer.

    amplification: by place, how much the reference amplifies a relative rounding of the weights; empty if not measured.
    """

    case: Case
    evidence: Evidence
    scales: Mapping[tuple[str, str, int, str], float]
    amplification: Mapping[Place, float] = field(default_factory=dict)

    @staticmethod
    def from_evidence(case: Case, evidence: Evidence) -> ReferenceEvidence:
        scales: dict[tuple[str, str, int, str], float] = defaultdict(float)
        for place, tensor in evidence.items():
            scales[_layer(place)] = max(scales[_layer(place)], float(np.abs(tensor).max(initial=0)))
        gradients = [layer for layer in scales if layer[0] == "gradients"]
        least = SMALL_GRADIENT * max((scales[layer] for layer in gradients), default=0.0)
        scales.update({layer: max(scales[layer], least) for layer in gradients})
        return ReferenceEvidence(case, evidence, scales)


def _layer(place: Place) -> tuple[str, str, int, str]:
    grouped = place.stage in ("gradients", "optimizers", "running statistics")
    return (*place[:3], place.tensor.rpartition(".")[0] if grouped and "." in place.tensor else place.tensor)


@dataclass
class RelativeErrors:
    """The relative error at every place; infinite if a tensor is missing, has another shape, or is not finite.

    plain: against the reference. departed: against the reference with the declared departures, where these differ.
    masks: input and output of dropout. differing: tensors for the diagnosis: the masks, and those that differ, up to
    `DIFFERING_BYTES`.
    """

    plain: dict[Place, float] = field(default_factory=dict)
    departed: dict[Place, float] = field(default_factory=dict)
    masks: dict[Place, Array] = field(default_factory=dict)
    differing: dict[Place, Array] = field(default_factory=dict)

    def error(self, place: Place) -> float:
        return self.departed.get(place, self.plain[place])

    def add(self, later: RelativeErrors) -> None:
        """Take the errors of other places."""
        for name in ("plain", "departed", "masks", "differing"):
            getattr(self, name).update(getattr(later, name))

    def worst(self, stage: str) -> float:
        return max((self.error(place) for place in self.plain if place.stage == stage), default=0.0)


DIFFERING_BYTES = 64 << 20


def relative_errors(
    tensors: Iterable[PlacedTensor],
    reference: ReferenceEvidence,
    departures: Sequence[str],
    precision: str,
    target_reference: ReferenceEvidence | None = None,
) -> RelativeErrors:
    """Compare tensors with the reference as they arrive; none is stored unless it differs.

    departures: may grow meanwhile, because a framework declares them when it builds a network.
    target_reference: the reference with the default settings of the framework, if it is verified with these.
    """
    errors, room = RelativeErrors(), DIFFERING_BYTES
    target_reference = target_reference or reference
    step_sizes = _StepSizes(target_reference.case)
    widths = Widths(target_reference.case, precision) if precision in REDUCED else None
    for place, tensor in tensors:
        if place.stage == "dropout":
            errors.masks[place] = errors.differing[place] = tensor
            continue
        scale = reference.scales.get(_layer(place), 0.0)
        errors.plain[place] = _relative_error(tensor, reference.evidence.get(place), scale)
        expected = target_reference.evidence.get(place)
        for name in departures:
            if expected is not None and name in DEPARTED:
                expected = DEPARTED[name](place, expected, target_reference.case)
        step_sizes.add(place, tensor, expected)
        if widths:
            widths.add(place, tensor)
        if expected is not reference.evidence.get(place):
            errors.departed[place] = _relative_error(tensor, expected, scale)
        if not errors.error(place) <= _rounding(place.stage, precision) and tensor.nbytes <= room:
            errors.differing[place] = tensor
            room -= tensor.nbytes
    missing = [place for place in reference.evidence if place not in errors.plain and place.stage != "dropout"]
    errors.plain.update(dict.fromkeys(missing, float("inf")))
    errors.plain.update(step_sizes.errors())
    errors.plain = {**dict(widths.errors() if widths else ()), **errors.plain}  # first, because they explain the others
    return errors


def _relative_error(tensor: Array, reference: Array | None, scale: float) -> float:
    if reference is None or tensor.shape != reference.shape:
        return float("inf")
    error = float(np.abs(tensor - reference).max(initial=0))  # the reference is float64, so the difference is
    if not np.isfinite(error):
        return float("inf")
    return error / scale if scale else error


class _StepSizes:
    """How far the steps of a framework are from those of the reference: a learning rate 1 % off gives 0.01.

    The factor is the median over trained values that the reference moves farthest in their array. Rounding that turns
    some steps around changes the largest error much more than the median.
    """

    VALUES = 4096  # of an array
    FAR = 0.5  # of the largest change in the array
    SMALL = 1e-3  # of the largest change in the network: arrays that change less are left out

    def __init__(self, case: Case) -> None:
        self.initial = case.weights
        self.factors: dict[Place, list[tuple[float, Array]]] = defaultdict(list)

    def add(self, place: Place, tensor: Array, expected: Array | None) -> None:
        weights = self.initial.get(place.tensor) if place.stage == "optimizers" else None
        if weights is None or expected is None or not weights.shape == tensor.shape == expected.shape:
            return
        thinned = slice(None, None, -(-tensor.size // self.VALUES))
        initial = weights.reshape(-1)[thinned]
        change = np.asarray(expected).reshape(-1)[thinned] - initial
        actual = tensor.reshape(-1)[thinned] - initial
        far = np.abs(change) >= self.FAR * np.abs(change).max()
        if np.isfinite(actual).all() and change[far].all():
            largest = float(np.abs(change).max())
            self.factors[place._replace(tensor=STEP_SIZE)].append((largest, actual[far] / change[far]))

    def errors(self) -> Iterator[tuple[Place, float]]:
        """The error of each training at each step, step by step."""
        for place, arrays in self.factors.items():
            least = self.SMALL * max(largest for largest, _ in arrays)
            factors = np.concatenate([factors for largest, factors in arrays if largest >= least])
            yield place, abs(float(np.median(factors)) - 1)


def _rounding(stage: str, precision: str) -> float:
    limit = LIMITS.get(stage, LIMIT)
    if precision == "float64" or not limit:
        return limit
    return UNITS * UNIT[precision] if precision in REDUCED else ROUNDING


def unbiased(place: Place, reference: Array, case: Case) -> Array:
    """The running variance if every batch contributes n / (n - 1) of its variance; n: values per channel.

    v_t = (1 - m)^t v_0 + s_t, where s_t is linear in the variances of the batches: only s_t is scaled. Other tensors
    are returned unchanged.
    """
    layer_path, _, role = place.tensor.rpartition(".")
    if (place.stage, role) != ("running statistics", "running_var"):
        return reference
    node = next(node for _, node in case.network.walk() if node.path == layer_path)
    assert isinstance(node.layer, BatchNorm), "only batch normalization has running statistics"
    count = case.batch_size * prod(node.input[1:])
    initial = (1 - node.layer.momentum) ** place.step * case.weights[place.tensor]
    return initial + count / (count - 1) * (reference - initial)


DEPARTED: dict[str, Callable[[Place, Array, Case], Array]] = {UNBIASED_RUNNING_VARIANCE.name: unbiased}


# --- verdicts ---------------------------------------------------------------------------------------------------------


Limits: TypeAlias = Callable[[Place], float]


def stage_verdicts(
    errors: Mapping[str, RelativeErrors],
    case: Case,
    precision: str,
    *,
    amplification: Mapping[Place, float] | None = None,
    narrow: Mapping[Place, float] | None = None,
    packages: Mapping[str, str] | None = None,
) -> dict[str, list[StageVerdict]]:
    """The verdicts of every framework, in the order of `STAGES`.

    errors: by the framework's label. amplification: see `ReferenceEvidence`. narrow: the errors of the reference with
    layers in 16 bits, if the precision is one of `REDUCED`. packages: the package that computes, by label; modes and
    versions of one package count as one framework. By default each label has its own.
    """
    amplification = amplification or {}
    packages = packages or {name: name for name in errors}
    if precision == "float32" and len({packages[name] for name in errors}) < 2:
        note = "float32 has no fixed limit: frameworks are compared with one another, and there is only one"
        return {name: [StageVerdict(stage, "not verified", note=note) for stage in STAGES] for name in errors}
    layers = {node.path: node.layer for _, node in case.network_with_dropout.walk() if isinstance(node.layer, Dropout)}
    if precision == "float64":
        limits = float64_limits(amplification)
    elif precision in REDUCED:
        limits = reduced_limits(narrow or {}, precision)
    else:
        limits = float32_limits(errors, amplification, packages)
    return {
        name: [
            dropout(each.masks, layers, precision)
            if stage == "dropout"
            else _unless_blind(stage_verdict(stage, each, limits), each, limits, precision)
            for stage in STAGES
        ]
        for name, each in errors.items()
    }


def float64_limits(amplification: Mapping[Place, float]) -> Limits:
    """The limit of the stage, or what rounding explains if that is more."""

    def limit(place: Place) -> float:
        explained = HEADROOM * amplification.get(place, 0.0) * UNIT["float64"]
        return max(_rounding(place.stage, "float64"), explained)

    return limit


def float32_limits(
    errors: Mapping[str, RelativeErrors], amplification: Mapping[Place, float], packages: Mapping[str, str]
) -> Limits:
    """`TIMES` the typical error at a place, or `ROUNDING` if that is more.

    The typical error is that of the median framework; of an even number, of the better one in the middle. A framework
    counts once, with the mode that has the smallest error, so that modes of one framework cannot outvote the others.
    Where the conditioning of the reference is measured, the typical error is at least what it predicts.
    """
    typical = {name: _typical(each) for name, each in errors.items()}
    by_package: dict[str, list[dict[Place, float]]] = defaultdict(list)
    for name, each in typical.items():
        by_package[packages[name]].append(each)
    infinite = float("inf")

    def limit(place: Place) -> float:
        if not (rounding := _rounding(place.stage, "float32")):
            return rounding
        frameworks = sorted(min(mode.get(place, infinite) for mode in modes) for modes in by_package.values())
        median = frameworks[(len(frameworks) - 1) // 2]
        predicted = amplification.get(place, 0.0) * UNIT["float32"]
        least = STEP_SIZE_ROUNDING * place.step if place.tensor == STEP_SIZE else rounding
        return max(least, TIMES * max(median, predicted))

    return limit


def reduced_limits(narrow: Mapping[Place, float], precision: str) -> Limits:
    """`TIMES` the error of the reference with layers in 16 bits, at a place or before it, or `UNITS` of rounding."""
    typical = _typical(RelativeErrors({place: error for place, error in narrow.items() if place.tensor != WIDTH}))

    def limit(place: Place) -> float:
        if place.tensor == WIDTH:
            return MOST_IN_OTHER
        if not (rounding := _rounding(place.stage, precision)):
            return rounding
        return max(rounding, TIMES * typical.get(place, 0.0))

    return limit


def _typical(errors: RelativeErrors) -> dict[Place, float]:
    """The largest error at a place and before it, in the order of computation.

    One error may be small by chance, above all that of a single value: a loss comes after the outputs in training. All
    arrays after one step belong together.
    """
    outputs = errors.worst("training")
    together: dict[tuple[str, ...], float] = defaultdict(float)
    for place in errors.plain:
        together[_together(place)] = max(together[_together(place)], errors.error(place))
    largest: dict[tuple[str, ...], float] = defaultdict(float)
    so_far: dict[tuple[str, ...], float] = {}
    for group, error in together.items():
        stage, *_ = series = group[:3]
        if stage in ("loss", "curve"):
            error = max(error, outputs)
        largest[series] = so_far[group] = max(largest[series], error)
    return {place: so_far[_together(place)] for place in errors.plain}


def _together(place: Place) -> tuple[str, ...]:
    """Series (stage, training, kind), step, and tensor unless all tensors of the step belong together."""
    kind = STEP_SIZE if place.tensor == STEP_SIZE else ""
    tensor = "" if place.stage in ("optimizers", "running statistics") else place.tensor
    return place.stage, place.training, kind, str(place.step), tensor


def stage_verdict(stage: str, errors: RelativeErrors, limit: float | Limits) -> StageVerdict:
    """The verdict of one stage with one limit of the relative error, or a limit for each place."""
    limits: Limits = limit if callable(limit) else lambda place: limit
    places = [place for place in errors.plain if place.stage == stage]
    if not places:
        return StageVerdict(stage, "none")
    beyond = [place for place in places if not errors.error(place) <= limits(place)]
    if beyond:
        first = beyond[0]
        error, later = errors.error(first), len(beyond) - 1
        return StageVerdict(stage, "differs", error, first, later=later, limit=limits(first))
    worst = max(places, key=lambda place: errors.error(place) / (limits(place) or 1.0))
    verdict = StageVerdict(stage, "ok", errors.error(worst), worst, limit=limits(worst))
    departing = [place for place in places if place in errors.departed and not errors.plain[place] <= limits(place)]
    if not departing:
        return verdict
    largest = max(errors.plain[place] for place in departing)
    note = f"as declared at {len(departing)} places, which differ from the reference by up to {largest:.1e}"
    return replace(verdict, verdict="explained", note=note)


def _unless_blind(verdict: StageVerdict, errors: RelativeErrors, limits: Limits, precision: str) -> StageVerdict:
    """The verdict, unless it is positive only because limits are so wide that they reveal too little."""
    if verdict.verdict not in ("ok", "explained"):
        return verdict
    places = [place for place in errors.plain if place.stage == verdict.stage]
    blind = [place for place in places if limits(place) > BLIND[precision]]
    if precision == "float64":
        rounding = _rounding(verdict.stage, precision)
        blind = [place for place in blind if place.stage in SEVERAL_STEPS and errors.error(place) > rounding]
        if not blind:
            return verdict
        widest = max(blind, key=limits)
        limit = limits(widest)
        amplified = limit / HEADROOM / UNIT[precision]
        note = f"the network amplifies rounding by {amplified:.0e}: an error below {limit:.0e} would not be seen"
        return replace(
            verdict, verdict="not verified", error=errors.error(widest), place=widest, limit=limit, note=note
        )
    blind = [place for place in blind if place.tensor != WIDTH]
    seen = {(place.training, place.tensor) for place in places if place not in blind}
    hidden = {(place.training, place.tensor): place for place in blind if (place.training, place.tensor) not in seen}
    if not hidden:
        return verdict
    widest = max(hidden.values(), key=limits)
    limit = limits(widest)
    if precision in REDUCED and seen:  # the formulas are those of the float64 verdict
        count, total = len(hidden), len(hidden) + len(seen)
        note = f"16 bits hide errors in {count} of {total} tensors, at most in {widest.tensor}: those below {limit:.0e}"
        return replace(verdict, note=note)
    note = f"correct frameworks are off by {limit / TIMES:.0e}: an error below {limit:.0e} would not be seen"
    return replace(
        verdict, verdict="not distinguishable", error=errors.error(widest), place=widest, limit=limit, note=note
    )


SIGMAS = 6.0  # a fair coin is rejected twice in 1e9 tests
SCALING = {"float64": 1e-12, "float32": 1e-5, "bfloat16": 2.0**-7, "float16": 2.0**-10}


class _Drawn(NamedTuple):
    """How often an event with a known probability occurs among independent draws, of which each has its own."""

    event: str
    occurs: Array
    probabilities: Array

    @property
    def expected(self) -> float:
        return float(self.probabilities.sum())

    @property
    def sigmas(self) -> float:
        """The distance from the expected number, in standard deviations."""
        deviation = float((self.probabilities * (1 - self.probabilities)).sum()) ** 0.5
        return abs(int(self.occurs.sum()) - self.expected) / deviation if deviation else 0.0

    def verdict(self, place: Place) -> StageVerdict:
        note = (
            f"{self.event}: {int(self.occurs.sum())} of {len(self.occurs)}, expected {self.expected:.0f}, "
            f"off by {self.sigmas:.0f} standard deviations"
        )
        return StageVerdict("dropout", "differs", self.sigmas, place, note, limit=SIGMAS)


def dropout(places: Evidence, layers: Mapping[str, Dropout], precision: str) -> StageVerdict:
    """Check what dropout drops, and that it divides what remains by 1 - rate.

    Dropout drops each value independently: two neighbors, and the same position in two images, both remain with
    probability (1 - rate)^2. Stochastic depth drops each image as a whole, independently of the other images and
    layers; a layer draws once for each image, so the draws of all layers are counted together.
    layers: by path.
    """
    if not places:
        return StageVerdict("dropout", "none")
    worst = 0.0
    by_image: dict[Place, _ByImage] = {}
    for place, (before, after) in places.items():
        layer = layers[place.tensor]
        keep = 1 - layer.rate
        remains, nonzero = after != 0, before != 0
        if isinstance(layer, StochasticDepth) and not _whole_images(remains, nonzero):
            return StageVerdict("dropout", "differs", 1.0, place, "an image is dropped in part, not as a whole")
        error = np.abs(after * keep - before)[remains].max(initial=0) / np.abs(before).max()
        if error > SCALING[precision]:
            note = "values are not divided by 1 - rate"
            return StageVerdict("dropout", "differs", float(error), place, note, limit=SCALING[precision])
        if isinstance(layer, StochasticDepth):
            axes = tuple(range(1, remains.ndim))
            by_image[place] = _ByImage(np.asarray(remains.any(axes)), np.asarray(nonzero.any(axes)), keep)
            continue
        for drawn in _of_values(remains, nonzero, keep):
            worst = max(worst, drawn.sigmas)
            if drawn.sigmas > SIGMAS:
                return drawn.verdict(place)
    for drawn in _of_images(list(by_image.values())):
        worst = max(worst, drawn.sigmas)
        if drawn.sigmas > SIGMAS:
            return drawn.verdict(next(iter(by_image)))
    return StageVerdict("dropout", "ok", note=f"within {worst:.1f} standard deviations", limit=SIGMAS)


def _whole_images(remains: Array, nonzero: Array) -> bool:
    """Whether all values of an image that are not 0 remain, or none does."""
    by_image = remains.any(tuple(range(1, remains.ndim)), keepdims=True)
    return bool(np.all(by_image & nonzero == remains))


def _of_values(remains: Array, nonzero: Array, keep: float) -> Iterator[_Drawn]:
    """What the mask of a dropout must show."""
    remains, nonzero = (values.reshape(len(values), -1) for values in (remains, nonzero))
    for event, occurs, possible, probability in (
        ("the fraction of remaining values", remains, nonzero, keep),
        ("neighbors", remains[:, 1:] & remains[:, :-1], nonzero[:, 1:] & nonzero[:, :-1], keep**2),
        ("images", remains[1:] & remains[:-1], nonzero[1:] & nonzero[:-1], keep**2),
    ):
        yield _Drawn(event, occurs[possible], np.full(int(possible.sum()), probability))


class _ByImage(NamedTuple):
    """Whether each image remains in a stochastic depth, whether it shows (it is not 0), and 1 - rate."""

    remains: Array
    shows: Array
    keep: float


def _of_images(masks: Sequence[_ByImage]) -> Iterator[_Drawn]:
    """What the masks of all stochastic depths of a network must show.

    Pairs have no image in common, so they are independent. That both of a pair remain or both are dropped shows a
    common mask more clearly than that both remain.
    """
    if not masks:
        return
    yield _pooled("the fraction of remaining images", [(each.remains, each.shows, each.keep) for each in masks])
    images = [
        (each.remains[:-1:2] == each.remains[1::2], each.shows[:-1:2] & each.shows[1::2], _alike(each.keep, each.keep))
        for each in masks
    ]
    yield _pooled("pairs of images alike", images)
    layers = [
        (one.remains == two.remains, one.shows & two.shows, _alike(one.keep, two.keep))
        for one, two in zip(masks[::2], masks[1::2])
    ]
    if layers:
        yield _pooled("images alike in two layers", layers)


def _alike(one: float, other: float) -> float:
    """The probability that both of two remain or both are dropped."""
    return one * other + (1 - one) * (1 - other)


def _pooled(event: str, draws: Sequence[tuple[Array, Array, float]]) -> _Drawn:
    """Draws as one: whether the event occurs, where it shows, and its probability."""
    occurs = np.concatenate([occurs[shows] for occurs, shows, _ in draws])
    probabilities = np.concatenate([np.full(int(shows.sum()), probability) for _, shows, probability in draws])
    return _Drawn(event, occurs, probabilities)
