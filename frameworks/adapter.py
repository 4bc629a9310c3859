"""The contract between the harness and a framework: ten methods, in the order in which every realisation has them.

A realisation builds the network from the spec, computes what `frameworks/training.py` says, and is free in how: layout,
graph, fusion, threads. The harness names none of these. Everything that decides the numbers comes from outside:

    weights   canonical names and layouts: `C1.weight` out,in/groups,kh,kw; dense out,in; see `spec.Parameter`
    pictures  uint8, N x C x H x W, 0 to 255; `Scale` and `Normalize` are layers
    labels    int64, N
    order     int64, indices into the training pictures, batch after batch; the last batch may be shorter
    rates     float64, one learning rate per step
    seed      of the dropout masks of this slice, where the framework lets itself be seeded

`train` and `predict` work on data that `load` has put on the device, and return after the device has finished: what
they return is on the host, so a clock around the call cannot lie.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np

from frameworks.arrays import Array, Weights
from frameworks.native import Native
from frameworks.spec import Network, Shape
from frameworks.training import Training

Split: TypeAlias = Literal["train", "test"]


@dataclass(frozen=True)
class Departure:
    """Where a framework cannot compute what the spec says: a name that the reference knows, and what it computes."""

    name: str
    formula: str
    source: str


UNBIASED_RUNNING_VARIANCE = Departure(
    "unbiased_running_variance",
    "running_var takes the batch's variance times n / (n - 1), n values a channel; the batch is still normalised by "
    "the biased one",
    "torch.nn.BatchNorm2d, cudnnBatchNormalizationForwardTraining",
)


@dataclass(frozen=True)
class Setting:
    """Where and how an adapter runs: chosen by the harness, obeyed or refused (`Unavailable`), never ignored."""

    device: Literal["cpu", "cuda"] = "cpu"
    precision: Literal["float32", "float64"] = "float32"
    threads: int = 1
    mode: str = ""  # "" is what the framework's own documentation teaches for training


class Trained(NamedTuple):
    """What a slice of training gives: the loss of each step, before its update, and how many pictures were right."""

    losses: Array  # float64, (steps,)
    correct: int


class Adapter(ABC):
    """One network in one framework, ready to be trained. `Unavailable` where the setting cannot be met."""

    departures: ClassVar[tuple[Departure, ...]] = ()
    native: ClassVar[Native | None] = None
    """What the framework does where nobody says otherwise; without it, it is compared in the aligned way alone."""

    arrays: dict[str, tuple[Shape, bool]]
    """Shape and whether it is trained of every array, as the framework has built it; known before memory is taken."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        self.network = network
        self.training = training
        self.setting = setting

    @staticmethod
    @abstractmethod
    def versions() -> dict[str, str]:
        """Package versions that decide the result, the framework's own first."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Every setting that decides speed, as found now, not as asked for: threads, layout, compiler, ..."""

    @abstractmethod
    def get_weights(self) -> Weights:
        """All arrays by canonical name, trained and running, and the optimiser's own.

        The optimiser's are `<parameter>/<slot>`, slots as in `frameworks/training.py`, and `step`: the steps taken.
        """

    @abstractmethod
    def set_weights(self, weights: Weights) -> None:
        """Take arrays by canonical name. Where the optimiser's own are not among them it starts afresh."""

    @abstractmethod
    def load(self, split: Split, images: Array, labels: Array) -> None:
        """Put a split on the device: pictures uint8 N x C x H x W, labels N."""

    @abstractmethod
    def train(self, order: Array, batch_size: int, rates: Array, seed: int) -> Trained:
        """One step per batch of `order`, with the rate of each; returns when the device has finished."""

    @abstractmethod
    def predict(self, split: Split, batch_size: int) -> Array:
        """Logits of all pictures of a split in evaluation mode: N x classes, in the network's precision."""

    @abstractmethod
    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """The training loss of one batch and its gradient by every trained array and by `input`; nothing is updated.

        Batch norm uses the batch's statistics; the gradient by `input` is N x C x H x W.
        """

    @abstractmethod
    def activations(self, images: Array, training: bool) -> Weights:
        """Every layer's output by its path, N x C x H x W or N x features, in training or evaluation mode."""

    def peak_memory(self) -> dict[str, int]:
        """Peak bytes: `resident` of this process; on a device also `device`, by the framework's own allocator."""
        return {"resident": resident_peak()}


def resident_peak() -> int:
    """This process's peak resident memory in bytes.

    Linux: VmHWM of /proc/self/status, proc(5); `ru_maxrss` would start at the parent's size, for it survives exec.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def batches(order: Array, batch_size: int) -> list[Array]:
    """The order cut into batches; the last may be shorter."""
    return np.split(order, range(batch_size, len(order), batch_size))
