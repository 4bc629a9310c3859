"""The device of a run, as `--device` names it: cpu, cuda, cuda:N, or mps, which is Apple's GPU.

`cuda` is the first GPU and `cuda:N` the one that nvidia-smi numbers N. Where the user has set CUDA_VISIBLE_DEVICES,
both count in its list. A worker sees only the GPU of `cuda:N`, so an adapter knows the kind of its device and no
number.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Literal, TypeAlias

from benchmarks.runtime.errors import BadInput

Kind: TypeAlias = Literal["cpu", "cuda", "mps"]

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"  # CUDA C++ Programming Guide, environment variables
FORMS = "write auto, cpu, cuda, cuda:N with the number of a GPU, or mps"
QUERY = ("name", "memory.total", "driver_version")


def is_device(name: str) -> bool:
    """Whether this is a value of `--device`."""
    return bool(re.fullmatch(r"auto|cpu|cuda(:(0|[1-9][0-9]{0,2}))?|mps", name))


def check(name: str) -> None:
    """Raise BadInput unless this is a value of `--device`."""
    if not is_device(name):
        raise BadInput(f"--device {name}: {FORMS}")


def resolved(name: str) -> str:
    """The device of this machine that `--device` names; auto: cuda if nvidia-smi lists a GPU, else cpu.

    Raises BadInput for a number beyond the GPUs, where it is known how many there are.
    """
    if name == "auto":
        return "cuda" if nvidia_gpus() else "cpu"
    wanted, listed, found = number(name), _listed(), nvidia_gpus()
    if wanted is None:
        return name
    if listed is not None and wanted >= len(listed):
        raise BadInput(f"--device {name}: {VISIBLE} lists {_numbered(len(listed))}")
    if listed is None and found is not None and wanted >= len(found):
        raise BadInput(f"--device {name}: nvidia-smi lists {_numbered(len(found))}")
    return name


def kind(device: str) -> Kind:
    """Where a device computes, which is all that an adapter gets."""
    return device.partition(":")[0]  # type: ignore[return-value]


def number(device: str) -> int | None:
    """The number of a GPU that is named by number."""
    digits = device.partition(":")[2]
    return int(digits) if digits else None


def entry(device: str) -> str:
    """The GPU of a device as CUDA_VISIBLE_DEVICES names it, by number or UUID; empty if there is none."""
    if kind(device) != "cuda":
        return ""
    wanted, listed = number(device) or 0, _listed()
    if listed is None:
        return str(wanted)
    return listed[wanted] if wanted < len(listed) else ""


def environment(device: str) -> dict[str, str]:
    """The variables of a worker that computes on a device: it numbers GPUs as nvidia-smi does, and sees its own."""
    if kind(device) != "cuda":
        return {}
    order = {ORDER: "PCI_BUS_ID"}
    return order if number(device) is None else {**order, VISIBLE: entry(device)}


def nvidia_gpus() -> list[dict[str, str]] | None:
    """The NVIDIA GPUs in the order of nvidia-smi, each by `QUERY` and its UUID; None without nvidia-smi."""
    if not shutil.which("nvidia-smi"):
        return None
    names = (*QUERY, "uuid")
    query = ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    lines = answer.stdout.splitlines() if answer.returncode == 0 else []
    return [dict(zip(names, map(str.strip, line.rsplit(",", len(names) - 1)))) for line in lines if line.strip()]


def _listed() -> list[str] | None:
    """The GPUs of the user's CUDA_VISIBLE_DEVICES; None if it is not set."""
    text = os.environ.get(VISIBLE)
    return None if text is None else [item.strip() for item in text.split(",") if item.strip()]


def _numbered(count: int) -> str:
    if count == 0:
        return "no GPU; choose another device"
    return "one GPU; write cuda" if count == 1 else f"{count} GPUs; write cuda:0 to cuda:{count - 1}"
