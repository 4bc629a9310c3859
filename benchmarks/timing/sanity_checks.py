"""Sanity checks before a speed counts: the framework computes what the reference computes, and its time is plausible.

The NumPy reference takes the same steps from the same weights; a framework that skips a step, or trains on part of a
batch, has different losses. A framework that returns before its work has finished is detected by what follows: reading
the weights takes as long as the work that is still going on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.records.events import TimedSlice
from benchmarks.runtime import precisions
from benchmarks.runtime.errors import Refused
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Reference, without_dropout
from frameworks.spec import BatchNorm, Dropout, Network
from frameworks.training import Training

# A step that is skipped once in ten is among the first ten, wherever the count begins; two more losses show it.
STEPS = 12

# Multiply-adds of the reference in a check: 2 to 5 s here. Larger networks get a smaller batch, with a learning rate
# that is smaller by the same factor (Goyal et al. 2017), then fewer steps, so a rarely skipped step may go unnoticed.
WORK = 2e10

# Fractions of the largest loss or logit. Measured over twelve steps in float32: rounding up to 1.3e-4 (Adam at 0.01
# from raw pixels; elsewhere 1e-8 to 3e-6); the update of the tenth step left out 1.3e-3 and more; half the batch 1e-2.
LIMITS = {"float32": 4e-4, "float64": 1e-9}

# In reduced precision and with TF32, in units of rounding (`precisions.rounding`). Measured for bfloat16 and float16 in
# PyTorch on a CPU: losses of LeNet over ten steps up to 0.1, with batch norm up to 2; logits of AlexNet up to 4.1. A
# skipped step may move the losses by less, and then this check does not find it.
REDUCED_LIMIT = 16

# Where batch norm computes its statistics over a few values, rounding errors increase suddenly, and not in the same
# step in every framework. On three images of 32 x 32, the losses of ResNet-18 in three frameworks were off by 4e-6 to
# 6e-6 in the first step and by 4e-2 to 6e-2 in the fourth. Therefore the reference repeats the steps three times from
# weights that are perturbed by 16 roundings of float32, because a framework rounds in every operation. Over 16 settings
# of batch size, learning rate, optimizer and seed (`python -m research.rounding`) correct frameworks were off by at
# most 4.6 times the largest of these draws, where the increase came a step earlier; with weights perturbed by one
# rounding, by 300,000 times. Where rounding errors increase most (momentum at 0.01), a skipped first step moves the
# second loss by 18 draws (tests/unit/test_sanity_checks.py checks that it is refused). Draws of 64 roundings do not
# separate the two: correct frameworks were off by up to 1.7 draws, and so was the framework that skips a step.
DRAWS, ROUNDINGS, MARGIN = 3, 16, 10


FLOAT32 = precisions.rounding("float32")


@dataclass(frozen=True)
class ReferenceCheck:
    """A short piece of work from given weights, and the reference's results: losses, or logits N x classes."""

    network: Network  # without dropout, because masks differ between frameworks
    batch_size: int
    steps: int
    lr: float
    order: Array  # indices of training images
    expected: Array
    rounding: Array  # the largest change of `expected`, up to each step, from perturbing the weights by some roundings
    unit: float = FLOAT32  # of these roundings

    @staticmethod
    def compute(
        network: Network,
        training: Training,
        what: str,
        weights: Weights,
        images: Array,
        labels: Array,
        batch_size: int,
        lr: float,
        *,
        unit: float = FLOAT32,
        draws: int = DRAWS,
        roundings: int = ROUNDINGS,
    ) -> ReferenceCheck:
        """Run the reference on these images in their order, from the start again if there are too few.

        what: train or infer. images: uint8, N x C x H x W; labels: N. batch_size, lr: upper limits, see `WORK`.
        unit: of rounding in the work that is checked, if it is more than that of float32.
        """
        plain = without_dropout(network)
        macs = max(1, plain.macs) * (3 if what == "train" else 1)
        steps = STEPS if what == "train" else 1
        whole = batch_size
        batch_size = int(np.clip(WORK / (macs * steps), 2, whole)) if whole > 1 else 1
        lr *= batch_size / whole
        steps = int(np.clip(WORK / (macs * batch_size), 1, steps))
        order = np.resize(np.arange(len(images)), steps * batch_size)
        reference = Reference(plain, training, Setting(precision="float64"))

        def results(weights: Weights) -> Array:
            reference.set_weights(weights)
            if what == "train":
                return reference.train(order, batch_size, np.full(steps, lr), 0).losses
            return reference.predict("test", batch_size)

        reference.load("train", images, labels)
        reference.load("test", images[:batch_size], labels[:batch_size])
        expected = results(weights)
        rounding = np.zeros_like(expected)
        if what == "train" and has_batch_norm(plain):
            most = roundings * unit
            changes = [np.abs(results(_perturbed(weights, draw, most)) - expected) for draw in range(draws)]
            rounding = np.maximum.accumulate(np.max(changes, axis=0))
        return ReferenceCheck(plain, batch_size, steps, lr, order, expected, rounding, unit)

    def compare(self, results: npt.ArrayLike, precision: str, tf32: bool = False) -> None:
        """`Refused` if these results differ from the reference's by more than rounding explains."""
        given = np.asarray(results, np.float64)
        if given.shape != self.expected.shape:
            raise Refused(
                f"results differ from the reference: shape {given.shape}, the reference has {self.expected.shape}"
            )
        largest = np.abs(self.expected).max()
        gaps = np.abs(given - self.expected).reshape(len(given), -1).max(1) / largest
        finer = precisions.rounding(precision, tf32) / self.unit
        rounding = self.rounding.reshape(len(given), -1).max(1) / largest
        limits = np.maximum(limit(precision, tf32), MARGIN * finer * rounding)
        wrong = np.flatnonzero(~(gaps <= limits))  # NaN is wrong, too
        if len(wrong):
            first = int(wrong[0])
            what = "loss of step" if self.expected.ndim == 1 else "logits of image"
            raise Refused(
                f"results differ from the reference: the {what} {first + 1} is off by {gaps[first]:.1e} of the "
                f"largest, the limit is {limits[first]:.2g}"
            )


def limit(precision: str, tf32: bool = False) -> float:
    """The fraction of the largest loss or logit that rounding explains in a network without batch norm."""
    if tf32 or precision not in LIMITS:
        return REDUCED_LIMIT * precisions.rounding(precision, tf32)
    return LIMITS[precision]


def _perturbed(weights: Weights, draw: int, most: float) -> Weights:
    """The weights, each changed by this fraction of its value, up or down at random."""
    stream = np.random.default_rng(draw)
    return {name: array * (1 + most * stream.choice([-1, 1], array.shape)) for name, array in weights.items()}


def has_batch_norm(network: Network) -> bool:
    return any(isinstance(node.layer, BatchNorm) for _, node in network.walk())


def has_dropout(network: Network) -> bool:
    return any(isinstance(node.layer, Dropout) and node.layer.rate for _, node in network.walk())


def completion(returned: float, settled: float, idle: float) -> float:
    """Seconds until the work had finished: until it returned, plus what reading the weights took beyond the usual.

    returned: seconds until the call returned; settled, idle: seconds of reading the weights right after it, and when
    nothing is going on. `Refused` if the call returned within a tenth of the time.
    """
    completed = returned + max(0.0, settled - idle)
    if returned < completed / 10:
        raise Refused(
            f"implausible timing: returned before the work had finished, after {returned:.4f} s of {completed:.4f} s"
        )
    return completed


# Busy threads beyond those allowed that count as measurement error: the interpreter's main thread works beside the
# framework's.
SPARE_THREADS = 0.25

# Fraction of a core that a worker may use between its slices. Sleeping workers used 0.000 to 0.002; one that is still
# working uses 1 or more.
IDLE = 0.1


def busy_threads(slices: Sequence[TimedSlice]) -> float:
    """The mean number of threads at work during the slices."""
    return sum(each.cpu_seconds for each in slices) / sum(each.seconds for each in slices)


def idle_use(slices: Sequence[TimedSlice]) -> float:
    """The fraction of a core that was used between the slices, while other workers ran theirs."""
    return sum(each.idle_cpu_seconds for each in slices) / sum(each.idle_seconds for each in slices)


def check_cpu_use(slices: Sequence[TimedSlice], allowed: int) -> None:
    """`Refused` if more threads than allowed were busy in the slices, or if the worker went on between them."""
    if (busy := busy_threads(slices)) > allowed + SPARE_THREADS:
        raise Refused(f"{busy:.1f} threads were busy, {allowed} are allowed (--threads)")
    if (idle := idle_use(slices)) > IDLE:
        raise Refused(f"implausible timing: the worker used {idle:.2f} of a core between its slices")
