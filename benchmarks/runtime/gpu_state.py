"""The state of an NVIDIA GPU while it works: clocks, power, temperature, throttle reasons and energy, read by NVML.

The package nvidia-ml-py is imported when a GPU is used; without it nothing is recorded. A figure that a GPU does not
report is None. NVML is the library that nvidia-smi uses: docs.nvidia.com/deploy/nvml-api.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec

from benchmarks.runtime import devices

NOT_RECORDED = "clocks, power and energy of the GPU are not recorded"
PACKAGE, INSTALL = "pynvml", "pip install -e '.[gpu]'"

# Bits of nvmlDeviceGetCurrentClocksThrottleReasons (NvmlClocksEventReasons), without 0x1, idleness.
REASONS = {
    0x2: "application clocks",
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "temperature (software)",
    0x40: "temperature (hardware)",
    0x80: "external power brake",
    0x100: "display clocks",
    0x200: "board limit",
    0x400: "reliability",
}

Figure: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class GpuInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What NVML says of a GPU beside its name, memory and driver, which nvidia-smi gives."""

    cuda: str | None = None  # the newest that the driver supports
    power_limit_watts: Figure | None = None


class GpuUse(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A GPU during some work: its readings after each part of it. None: the GPU does not report it."""

    joules: Figure | None = None  # from the start of the work to its last reading
    sm_mhz: Figure | None = None  # the lowest
    memory_mhz: Figure | None = None  # the lowest
    watts: Figure | None = None  # the highest
    celsius: Figure | None = None  # the highest
    throttled: list[str] = []  # reasons for lower clocks, other than idleness, in at least one reading


class GpuReading(NamedTuple):
    """What a GPU reports at a moment."""

    millijoules: float | None = None  # since the driver was loaded
    sm_mhz: float | None = None
    memory_mhz: float | None = None
    milliwatts: float | None = None
    celsius: float | None = None
    reasons: int = 0


class Nvml:
    """NVML and one of its GPUs. Raises OSError if there is no such GPU."""

    def __init__(self, nvml: Any, entry: str) -> None:
        self.nvml = nvml
        try:
            nvml.nvmlInit()
            find = nvml.nvmlDeviceGetHandleByIndex if entry.isdecimal() else nvml.nvmlDeviceGetHandleByUUID
            self.handle = find(int(entry) if entry.isdecimal() else entry)
        except nvml.NVMLError as error:
            raise OSError(str(error)) from None

    @property
    def info(self) -> GpuInfo:
        """What does not change."""
        nvml = self.nvml
        cuda = self._asked(nvml.nvmlSystemGetCudaDriverVersion_v2)
        limit = self._asked(nvml.nvmlDeviceGetEnforcedPowerLimit, self.handle)
        return GpuInfo(
            cuda=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
            power_limit_watts=None if limit is None else limit / 1000,
        )

    def read(self) -> GpuReading:
        """The state now."""
        nvml, handle = self.nvml, self.handle
        return GpuReading(
            self._asked(nvml.nvmlDeviceGetTotalEnergyConsumption, handle),
            self._asked(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            self._asked(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
            self._asked(nvml.nvmlDeviceGetPowerUsage, handle),
            self._asked(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            self._asked(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0,
        )

    def _asked(self, query: Callable[..., Any], *arguments: Any) -> Any:
        """The answer to a query; None where the GPU or the driver does not support it."""
        with contextlib.suppress(self.nvml.NVMLError):
            return query(*arguments)
        return None


class Meter:
    """Reads the GPU of a device around some work, which begins now. For another device it reads nothing."""

    def __init__(self, device: str) -> None:
        self._gpu = opened(devices.entry(device))
        self._begin = self._gpu.read() if self._gpu else GpuReading()
        self._readings: list[GpuReading] = []

    def read(self) -> None:
        """Read the GPU after a part of the work."""
        if self._gpu:
            self._readings.append(self._gpu.read())

    @property
    def use(self) -> GpuUse | None:
        """The GPU until the last reading; None if it was not read."""
        return used(self._begin, self._readings) if self._readings else None


def info(device: str) -> GpuInfo | None:
    """The GPU of a device; None without a GPU, NVML or its package."""
    gpu = opened(devices.entry(device))
    return gpu.info if gpu else None


def hint(device: str) -> str | None:
    """What is not recorded of the GPU of a device, and what to install; None if nothing is missing."""
    if devices.kind(device) != "cuda" or opened(devices.entry(device)):
        return None
    installed = importlib.util.find_spec(PACKAGE)
    return f"{NOT_RECORDED}: {'NVML does not find it' if installed else INSTALL}"


@cache
def opened(entry: str) -> Nvml | None:
    """A GPU, as CUDA_VISIBLE_DEVICES names it; None without a GPU, NVML or its package."""
    if not entry:
        return None
    try:
        return Nvml(importlib.import_module(PACKAGE), entry)
    except (ImportError, OSError):
        return None


def used(begin: GpuReading, readings: Sequence[GpuReading]) -> GpuUse:
    """What readings after the parts of some work say of it."""
    before, after = begin.millijoules, readings[-1].millijoules
    milliwatts = max(_known(each.milliwatts for each in readings), default=None)
    active = 0
    for each in readings:
        active |= each.reasons
    return GpuUse(
        joules=None if before is None or after is None else (after - before) / 1000,
        sm_mhz=min(_known(each.sm_mhz for each in readings), default=None),
        memory_mhz=min(_known(each.memory_mhz for each in readings), default=None),
        watts=None if milliwatts is None else milliwatts / 1000,
        celsius=max(_known(each.celsius for each in readings), default=None),
        throttled=[text for bit, text in REASONS.items() if active & bit],
    )


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]
