"""The machine: processor, memory and GPU."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from benchmarks.runtime import devices, gpu_state


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine of a run."""

    processor: str
    governor: str | None = None  # of the first core's frequency, where Linux reports it
    cores: int | None  # that this process may use
    memory_gib: float
    system: str
    python: str
    gpu: str | None = None  # the NVIDIA GPU of the run, or the first one: name, memory, driver
    # What NVML says of this GPU; UNSET is left out of a record, so that the digests of older certificates hold.
    cuda: str | UnsetType | None = UNSET  # the newest that the driver supports
    power_limit_watts: float | UnsetType | None = UNSET

    @staticmethod
    def here(device: str = "cuda") -> Machine:
        """This machine. device: of the run, as `--device` names it."""
        of_gpu = gpu_state.info(device)
        return Machine(
            processor=_processor(),
            governor=_governor(),
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            system=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            gpu=gpu(device),
            cuda=of_gpu.cuda if of_gpu else UNSET,
            power_limit_watts=of_gpu.power_limit_watts if of_gpu else UNSET,
        )


def total_memory() -> int:
    """Bytes of memory that this process can ever have: those of the machine, or of its control group (Linux)."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    group = Path("/sys/fs/cgroup/memory.max")
    limit = group.read_text().strip() if group.exists() else "max"
    return min(total, int(limit)) if limit.isdecimal() else total


def available_memory() -> int:
    """Bytes available without swapping: MemAvailable of proc(5); on other systems half of the memory."""
    info = Path("/proc/meminfo")
    if not info.exists():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    line = next(line for line in info.read_text().splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def _governor() -> str | None:
    """The frequency governor of the first core, where Linux reports it: cpufreq/scaling_governor in sysfs."""
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.exists() else None


def gpu(device: str = "cuda") -> str | None:
    """The NVIDIA GPU of a device by name, memory and driver, or the first one; None if there is none."""
    found = devices.nvidia_gpus() or []
    wanted = devices.entry(device)
    for number, each in enumerate(found):
        if wanted in (str(number), each.get("uuid")):
            return _text(each)
    return _text(found[0]) if found else None


def _text(gpu: Mapping[str, str]) -> str:
    return ", ".join(gpu[name] for name in devices.QUERY if name in gpu)
