"""The events of a run: one line of `cells.jsonl` each, appended when the work that it describes has finished.

A training run records `Start`, `Epoch` and `End` of each cell; a speed run records `Launch`, `TimedSlice`,
`EvaluationTime`, `Roofline` and `End`. Seconds are wall time, memory is in bytes. An event that a later version extends
is still read: unknown fields are ignored, and a new field has a default.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeAlias

import msgspec

from benchmarks.runtime import devices
from benchmarks.runtime.contention import Contention, disturbed
from benchmarks.runtime.gpu_state import GpuUse

# Bounds that every measurement meets: a record outside of them is damaged, and its figures would be infinite.
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]
Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Fraction: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Amount: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e30)]  # of operations or bytes
Versions: TypeAlias = Annotated[dict[str, str], msgspec.Meta(min_length=1)]


NOT_CERTIFIED = "not certified"


class Certified(msgspec.Struct, frozen=True):
    """The certificate that covers a cell: the digest of the whole certificate, and its verdict on this network."""

    certificate: str
    verdict: str


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # no cycles: hundreds of thousands are read
    """What all events have: the cell that they belong to, `<net>.<framework>.<seed>` in a training run."""

    event: ClassVar[str]
    cell: str


class _Ready(Event, frozen=True, kw_only=True, gc=False):
    """A worker has built a network and loaded its data."""

    versions: Versions  # of packages, the framework's own first
    settings: dict[str, str]  # that decide speed, as the framework reports them
    departures: list[str] = []  # from the spec, as the adapter declares them
    certificate: Certified | None = None
    verification: str | None = None  # what covers the row, in words; None in records of earlier versions
    params: Size  # trained values, as the framework reports them
    buffers: Size  # values that training moves without a gradient
    cores: list[int] = []  # that the worker is bound to; empty: not bound
    import_seconds: Seconds
    import_memory: Size  # peak bytes after the import
    build_seconds: Seconds  # building the network and setting its weights
    load_seconds: Seconds  # moving the data to the device

    @property
    def verified(self) -> str:
        """What a row says of its verification: certified, certified in float64 only, or not certified with a reason."""
        if self.verification is not None:
            return self.verification
        return "certified" if self.certificate and self.certificate.verdict in ("ok", "explained") else NOT_CERTIFIED


class Start(_Ready, frozen=True, kw_only=True, gc=False):
    """A cell starts, or starts again after `--resume`."""

    event: ClassVar[str] = "start"
    pid: int
    # A step and an evaluation with every batch size, in which a framework compiles; None in older records.
    compile_seconds: Seconds | None = None


class Epoch(Event, frozen=True, kw_only=True, gc=False):
    """A cell has finished an epoch, evaluation included."""

    event: ClassVar[str] = "epoch"
    epoch: Count  # from 1
    launch: int  # identifies the process: nanoseconds since 1970 when the workers were started
    first_step_seconds: Seconds | None  # of the first epoch; not part of `slices`
    slices: list[tuple[Size, Seconds]]  # (images, seconds) of each timed slice
    contention: list[Contention | None] = []  # of each timed slice; empty in old records
    gpu: GpuUse | None = None  # during the training steps; None without an NVIDIA GPU or its NVML
    train_loss: float  # mean over the epoch's images, each before the update of its step
    train_accuracy: Fraction
    test_loss: float
    test_accuracy: Fraction
    evaluation_seconds: Seconds
    harness_seconds: float  # of the epoch's wall time, what neither training nor evaluation took
    first_losses: list[float] = []  # of the run's first steps, before their updates; in epoch 1, without dropout
    augment_seconds: Seconds | None = None  # drawing augmented images; None if another cell has drawn them
    reload_seconds: Seconds = 0.0  # moving them to the device
    state_kept: bool = True  # the state after this epoch was on disk when the event was written

    @property
    def images(self) -> int:
        """Images in the timed slices."""
        return sum(images for images, _ in self.slices)

    @property
    def slice_seconds(self) -> float:
        """Seconds of the timed slices."""
        return sum(seconds for _, seconds in self.slices)

    @property
    def training_seconds(self) -> float:
        """Seconds of all training steps, the first included."""
        return (self.first_step_seconds or 0.0) + self.slice_seconds

    @property
    def undisturbed_slices(self) -> list[tuple[int, float]]:
        """The timed slices that count: other programs took little of their time, or it is not known how much."""
        if len(self.contention) != len(self.slices):
            return self.slices
        return [each for each, is_disturbed in zip(self.slices, disturbed(self.contention)) if not is_disturbed]

    @property
    def examples_per_second(self) -> float | None:
        """Of the undisturbed slices; None if they have less than half of the images, or the epoch is a single step."""
        slices = self.undisturbed_slices
        images, seconds = sum(images for images, _ in slices), sum(seconds for _, seconds in slices)
        return images / seconds if seconds and 2 * images >= self.images else None


class End(Event, frozen=True, kw_only=True, gc=False):
    """A cell has ended."""

    event: ClassVar[str] = "end"
    status: str  # ok, unavailable, failed or refused
    reason: str | None = None
    peak: dict[str, Size] = {}  # bytes: `resident`, and on a device also `device`
    peaks: list[dict[str, Size]] = []  # of each launch of a speed run, whose medians are `peak`

    def peak_on(self, device: str) -> int | None:
        """Peak bytes of the memory in which a device computes."""
        return self.peak.get("resident" if devices.kind(device) == "cpu" else "device")


class Launch(_Ready, frozen=True, kw_only=True, gc=False):
    """A worker of a speed run is ready for its rounds."""

    event: ClassVar[str] = "launch"
    launch: int  # from 1
    alone: bool = True  # no other worker was starting at the same time, so the times until here are valid
    units: int  # steps, or calls of `predict`, in a slice
    first_step_seconds: Seconds
    trial_seconds: list[Seconds] = []  # of the trial slices before the first round


class TimedSlice(Event, frozen=True, kw_only=True, gc=False):
    """One slice of a speed run."""

    event: ClassVar[str] = "slice"
    launch: int
    round: int  # from 0
    images: Count
    seconds: Seconds
    cpu_seconds: Seconds  # of all threads of the worker
    idle_seconds: Seconds  # since the worker's previous answer
    idle_cpu_seconds: Seconds
    calls: list[Seconds] | None = None  # seconds of each call of `predict`, at batch size 1
    contention: Contention | None = None  # None: the system does not count waiting, or an old record
    gpu: GpuUse | None = None  # as in `Epoch`

    @property
    def seconds_per_image(self) -> float:
        return self.seconds / self.images


class EvaluationTime(Event, frozen=True, kw_only=True, gc=False):
    """The time that an evaluation takes, measured once."""

    event: ClassVar[str] = "evaluation"
    launch: int
    images: Count
    seconds: Seconds


class Roofline(Event, frozen=True, kw_only=True, gc=False):
    """Raw figures of a framework's roofline, measured once for each number of threads and precision."""

    event: ClassVar[str] = "roofline"
    launch: int
    framework: str
    threads: int
    precision: str
    tf32: bool = False
    products: list[tuple[Amount, Amount, Seconds]]  # size n, operations, seconds
    convolutions: list[tuple[Amount, Amount, Seconds]] = []  # the same products as convolutions
    copies: list[tuple[Amount, Seconds]]  # bytes, seconds


AnyEvent: TypeAlias = "Start | Epoch | End | Launch | TimedSlice | EvaluationTime | Roofline"

KINDS: dict[str, type[AnyEvent]] = {
    kind.event: kind for kind in (Start, Epoch, End, Launch, TimedSlice, EvaluationTime, Roofline)
}


class _Name(msgspec.Struct):
    """The name of an event, without the rest of its line."""

    event: str


_NAMES = msgspec.json.Decoder(_Name)
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in KINDS.items()}


def from_line(line: str) -> AnyEvent | None:
    """An event from its line of JSON, several times as fast as `from_json`.

    None for a line that only `from_json` can read or explain: NaN, for example, is not JSON but what Python writes.
    """
    # `to_json` writes the cell first, whose text has no quotation mark, and then the event.
    _, found, rest = line.partition('", "event": "')
    try:
        name = rest[: rest.index('"')] if found else _NAMES.decode(line).event
        return _DECODERS[name].decode(line)
    except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
        return None


def to_json(event: AnyEvent) -> dict[str, Any]:
    """An event as a JSON object."""
    fields: dict[str, Any] = msgspec.to_builtins(event)
    return {"cell": fields.pop("cell"), "event": event.event, **fields}


def from_json(line: dict[str, Any]) -> AnyEvent:
    """The inverse of `to_json`. Raises ValueError for an unknown event, msgspec.ValidationError for a wrong type."""
    name = line.get("event")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"unknown event {name!r:.40}")
    return msgspec.convert(line, kind)
