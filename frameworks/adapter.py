"""The contract between the harness and a framework: ten methods, in the order in which every adapter has them.

An adapter builds the network from the spec, computes what `frameworks/training.py` defines, and is free in how: layout,
graph, fusion, threads. The harness names none of these. Everything that decides the numbers comes from outside:

    weights   canonical names and layouts: `C1.weight` out,in/groups,kh,kw; dense out,in; see `spec.Parameter`
    images    uint8, N x C x H x W, 0 to 255; `Scale` and `Normalize` are layers
    labels    int64, N
    order     int64, indices into the training images, batch after batch; the last batch may be shorter
    lrs       float64, one learning rate per step
    seed      of the dropout masks of this slice, where the framework can be seeded

`train` and `predict` work on data that `load` has put on the device, and return after the device has finished: their
results are on the host, so a clock around the call measures the whole work.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, TypeVar

import numpy as np

from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.native import Native
from frameworks.spec import Layer, Network, Node, Pool, Shape, pair, sides
from frameworks.spec.lowering import lower, symmetric
from frameworks.spec.windowed import gaps
from frameworks.training import AVERAGE, SGD, Training

T = TypeVar("T")
Split: TypeAlias = Literal["train", "test"]
Builder: TypeAlias = Callable[..., Any]  # of (node, layer, *branches): a framework's form of a primitive


@dataclass(frozen=True)
class Departure:
    """Where a framework cannot compute what the spec says: a name that the reference knows, and what it computes."""

    name: str
    formula: str
    source: str


UNBIASED_RUNNING_VARIANCE = Departure(
    "unbiased_running_variance",
    "running_var takes the batch's variance times n / (n - 1), n values a channel; the batch is still normalized by "
    "the biased variance",
    "torch.nn.BatchNorm2d, cudnnBatchNormalizationForwardTraining",
)


@dataclass(frozen=True)
class Setting:
    """Where and how an adapter runs: chosen by the harness, obeyed or refused (`Unavailable`), never ignored."""

    device: Literal["cpu", "cuda", "mps"] = "cpu"  # cuda: the first that the process sees; mps: Apple's GPU
    precision: Literal["float64", "float32", "bfloat16", "float16"] = "float32"  # the last two: see `reduced`
    threads: int = 1
    mode: str = ""  # "" is what the framework's documentation teaches for training
    tf32: bool = False  # products of float32 on a GPU of NVIDIA take factors rounded to 10 bits of fraction

    @property
    def reduced(self) -> bool:
        """Whether layers compute in 16 bits.

        Arrays, their updates, running statistics, batch statistics, the loss and logits stay in float32 then, which is
        what frameworks call mixed precision. In float16 the loss is scaled (`frameworks.training.LossScale`).
        """
        return self.precision in ("bfloat16", "float16")

    @property
    def arrays(self) -> Literal["float64", "float32"]:
        """The precision of arrays, losses and logits."""
        return "float64" if self.precision == "float64" else "float32"


class Trained(NamedTuple):
    """The result of a slice of training: the loss of each step, before its update, and the number of correct images."""

    losses: Array  # float64, (steps,)
    correct: int


class Adapter(ABC):
    """One network in one framework, ready to be trained. `Unavailable` where the setting cannot be met."""

    title: ClassVar[str] = ""
    """The framework's name in messages; without it, the class's."""
    modes: ClassVar[tuple[str, ...]] = ()
    """Ways of running it beside "", the one that its documentation teaches."""
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    """Where the adapter can run, if this build and this machine have it."""
    precisions: ClassVar[tuple[str, ...]] = ("float64", "float32")
    """In which it can compute."""
    departures: ClassVar[tuple[Departure, ...]] = ()
    native: ClassVar[Native | None] = None
    """The framework's defaults; without them, only the aligned semantics can be verified."""

    arrays: dict[str, tuple[Shape, bool]]
    """Shape and whether it is trained of every array, as the framework has built it; known before memory is taken."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        for kind, asked, offered in (
            ("mode", setting.mode, ("", *self.modes)),
            ("device", setting.device, self.devices),
            ("precision", setting.precision, self.precisions),
        ):
            if asked not in offered:
                title = self.title or type(self).__name__
                raise Unavailable(f"{title} has no {kind} {asked!r}; there are {', '.join(map(repr, offered))}")
        if setting.tf32 and (setting.device, setting.precision) != ("cuda", "float32"):
            raise Unavailable(f"TF32 is for float32 on cuda, not for {setting.precision} on {setting.device}")
        self.network = network
        self.training = training
        self.setting = setting

    @staticmethod
    @abstractmethod
    def versions() -> dict[str, str]:
        """Package versions that decide the result, the framework's own first."""

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Every setting that decides speed, with its actual value, not the requested one: threads, layout, ..."""

    @abstractmethod
    def get_weights(self) -> Weights:
        """All arrays by canonical name, parameters, buffers and the optimizer's.

        The optimizer's are `<parameter>/<slot>`, slots as in `frameworks/training.py`, and `step`: the steps taken. In
        float16 also `loss_scale` and `finite_steps`, as `LossScale` has them.
        """

    @abstractmethod
    def set_weights(self, weights: Weights) -> None:
        """Take arrays by canonical name. Where the optimizer's are not among them, it starts afresh."""

    @abstractmethod
    def load(self, split: Split, images: Array, labels: Array) -> None:
        """Put a split on the device: images uint8 N x C x H x W, labels N."""

    @abstractmethod
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        """One step per batch of `order`, with the learning rate of each; returns when the device has finished."""

    @abstractmethod
    def predict(self, split: Split, batch_size: int) -> Array:
        """Logits of all images of a split in evaluation mode: N x classes, in the precision of the arrays.

        Where the training has an average of the weights, it is used from the first step on.
        """

    @abstractmethod
    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        """The training loss of one batch and its gradient by every trained array and by `input`; nothing is updated.

        Batch norm uses the batch's statistics; the gradient by `input` is N x C x H x W. A scale of the loss is divided
        out again.
        """

    @abstractmethod
    def activations(self, images: Array, training: bool) -> Weights:
        """Every layer's output by its path, N x C x H x W or N x features, in training or evaluation mode."""

    def peak_memory(self) -> dict[str, int]:
        """Peak bytes: `resident` of this process; on a device also `device`, by the framework's allocator."""
        return {"resident": resident_peak()}

    # --- what adapters share ------------------------------------------------------------------------------------------

    @classmethod
    def pads(cls, node: Node) -> bool:
        """Whether the framework's convolution or pooling takes this node's padding; if not, it is lowered to a Pad.

        By default symmetric padding; in a pool at most half a window, without dilation, and only if padded zeros count.
        """
        layer: Any = node.layer
        padding = sides(layer.padding)
        if isinstance(layer, Pool):
            half = all(2 * before <= window for (before, _), window in zip(padding, pair(layer.kernel)))
            plain = pair(gaps(layer)) == (1, 1) and getattr(layer, "count_padding", True)
            return symmetric(padding) and half and plain
        return symmetric(padding)

    @cached_property
    def primitives(self) -> tuple[Node, ...]:
        """The network lowered for this framework: see `spec.lowering`."""
        return lower(self.network.nodes, self.pads)


class LayerAdapter(Adapter):
    """An adapter to a framework whose layers are objects that hold the arrays.

    Such an adapter is a table of builders, `layers`, and a map from every canonical name to the variable of the
    framework, which `_map_variables` makes. The frameworks differ in what `_read`, `_write` and the other methods do
    that are abstract here.
    """

    layers: ClassVar[Mapping[type[Layer], Builder]]
    """What builds each primitive."""
    roles: ClassVar[Mapping[str, str]] = {}
    """The framework's names of roles, where they differ."""
    velocity_is_update: ClassVar[bool] = False
    """With the learning rate in it, the framework's velocity is what is added to the weight: the spec's, negated."""

    steps: Any = 0

    def get_weights(self) -> Weights:
        weights = {name: self._read(variable) for name, variable in self._variables().items()}
        slots = {name: self._sign(name) * self._read(slot) for name, slot in self._slots().items()}
        return weights | slots | {"step": np.array(self.steps)}

    def set_weights(self, weights: Weights) -> None:
        self._allocate()
        for name, variable in self._variables().items():
            self._write(variable, weights[name])
        self._set_steps(int(weights.get("step", 0)))
        for name, slot in self._slots().items():
            self._write(slot, self._sign(name) * weights[name])

    def _builder(self, node: Node) -> Builder:
        """What builds a primitive; `NotImplementedError` where this adapter lacks it."""
        if type(node.layer) not in self.layers:
            title = self.title or type(self).__name__
            raise NotImplementedError(f"{node.path}: the adapter of {title} has no {node.layer.kind}")
        return self.layers[type(node.layer)]

    def _map_variables(self, layers: Mapping[str, Any]) -> None:
        """Find every array of the network in the framework's layers, which are given by path."""
        self._places = {
            parameter.name: (layers[node.path], self.roles.get(parameter.role, parameter.role))
            for _, node in self.network.walk()
            for parameter in node.parameters
        }
        self.arrays = {name: self._declared(variable) for name, variable in self._variables().items()}

    def _variables(self) -> dict[str, Any]:
        """The framework's variables by canonical name."""
        return {name: getattr(layer, attribute) for name, (layer, attribute) in self._places.items()}

    def _trained(self) -> dict[str, Any]:
        """Those that are trained."""
        return {name: variable for name, variable in self._variables().items() if self.arrays[name][1]}

    @contextmanager
    def _buffers_restored(self) -> Iterator[None]:
        """Undo what passes in training mode do to the running statistics."""
        buffers = {name: variable for name, variable in self._variables().items() if not self.arrays[name][1]}
        values = {name: self._read(variable) for name, variable in buffers.items()}
        yield
        for name, variable in buffers.items():
            self._write(variable, values[name])

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Exchange the weights for their averages, where the training has them, and restore the weights."""
        ending, slots = f"/{AVERAGE}", {} if self.training.average is None else self._slots()
        averages = {name.removesuffix(ending): slot for name, slot in slots.items() if name.endswith(ending)}
        variables = self._variables()
        values = {name: self._read(variables[name]) for name in averages}
        for name, average in averages.items():
            self._write(variables[name], self._read(average))
        yield
        for name, value in values.items():
            self._write(variables[name], value)

    def _sign(self, slot: str) -> float:
        """What the framework's array of this slot is multiplied by to give the spec's."""
        rule = self.training.optimizer
        negated = self.velocity_is_update and isinstance(rule, SGD) and rule.lr_in_velocity
        return -1.0 if negated and slot.endswith("/velocity") else 1.0

    @abstractmethod
    def _declared(self, variable: Any) -> tuple[Shape, bool]:
        """A variable's shape in canonical layout, and whether it is trained."""

    @abstractmethod
    def _read(self, variable: Any) -> Array:
        """A copy of a variable on the host, in canonical layout."""

    @abstractmethod
    def _write(self, variable: Any, array: Array) -> None:
        """Set a variable to an array in canonical layout."""

    @abstractmethod
    def _allocate(self) -> None:
        """Take memory for all arrays, once."""

    @abstractmethod
    def _slots(self) -> dict[str, Any]:
        """The optimizer's variables by canonical name, `<parameter>/<slot>`; empty before the first step."""

    @abstractmethod
    def _set_steps(self, steps: int) -> None:
        """Continue after so many steps: with slots that are about to be written, or afresh after 0."""


def combined(combine: Callable[[T, T], T], values: Sequence[T]) -> T:
    """The values combined two by two in their order, and the results again: a graph of low depth."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2])
        values = [*(combine(*pair) for pair in pairs), *values[len(values) & ~1 :]]
    return values[0]


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
