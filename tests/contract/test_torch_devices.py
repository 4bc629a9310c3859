"""Why PyTorch cannot compute on a device: the build, the driver, the kernels or the precision."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Bench

ROOT = Path(__file__).parents[2]
# Replaces what PyTorch knows of the machine; for each case the reason why the setting is unavailable, or an empty one.
PROGRAM = """
import json, sys
import torch
from frameworks.adapter import Setting
from frameworks.errors import Unavailable
from frameworks.pytorch.devices import check_device
def init():
    if asked["driver"]:
        raise RuntimeError(asked["driver"])
torch.__version__, torch.cuda.init = "2.13.0", init
torch.cuda.get_device_capability = lambda: tuple(asked["capability"])
torch.cuda.get_arch_list = lambda: asked["kernels"]
torch.cuda.get_device_name = lambda: "NVIDIA GPU"
torch.backends.mps.is_built = lambda: asked["mps"] != "not built"
torch.backends.mps.is_available = lambda: asked["mps"] == "there"
reasons = {}
for case, asked in json.loads(sys.argv[1]).items():
    torch.version.cuda = asked["cuda"]
    try:
        check_device(Setting(device=asked["device"], precision=asked["precision"]))
        reasons[case] = ""
    except Unavailable as error:
        reasons[case] = str(error)
print(json.dumps(reasons))
"""
USUAL: dict[str, Any] = {
    "device": "cuda", "precision": "float32", "driver": "", "cuda": "13.0", "mps": "there",
    "capability": [9, 0], "kernels": ["sm_80", "sm_90"],
}  # fmt: skip
OLD = "The NVIDIA driver on your system is too old (found version 11040).\nPlease update"
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "available": ({}, ""),
    "cpu": ({"device": "cpu", "cuda": None}, ""),
    "build for CPUs": ({"cuda": None}, "this build of PyTorch, 2.13.0, is without CUDA"),
    "old driver": (
        {"driver": OLD},
        f"PyTorch 2.13.0 of CUDA 13.0 sees no CUDA device: {OLD.splitlines()[0]}",
    ),
    "later minor version": ({"capability": [8, 9], "kernels": ["sm_80", "sm_90"]}, ""),
    "earlier minor version": (
        {"capability": [8, 0], "kernels": ["sm_75", "sm_86"]},
        "PyTorch 2.13.0 has no kernels for NVIDIA GPU, sm_80; it has sm_75, sm_86",
    ),
    "later major version": (
        {"capability": [10, 0], "kernels": ["sm_80", "sm_90"]},
        "PyTorch 2.13.0 has no kernels for NVIDIA GPU, sm_100; it has sm_80, sm_90",
    ),
    "intermediate code": ({"capability": [12, 0], "kernels": ["sm_80", "compute_90"]}, ""),
    "kernels for one architecture": (
        {"capability": [9, 1], "kernels": ["sm_90a"]},
        "PyTorch 2.13.0 has no kernels for NVIDIA GPU, sm_91; it has sm_90a",
    ),
    "mps": ({"device": "mps"}, ""),
    "no mps in the build": (
        {"device": "mps", "mps": "not built"},
        "this build of PyTorch, 2.13.0, is without MPS, which macOS alone has",
    ),
    "no mps in the machine": (
        {"device": "mps", "mps": "missing"},
        "PyTorch 2.13.0 sees no MPS device: it needs macOS 14 and Apple's GPU",
    ),
    "float64 on mps": ({"device": "mps", "precision": "float64"}, "MPS has no float64"),
}


@pytest.fixture(scope="module")
def reasons(bench: Bench) -> dict[str, str]:
    cases = json.dumps({name: USUAL | machine for name, (machine, _) in CASES.items()})
    command = [str(bench.python("torch")), "-c", PROGRAM, cases]
    found: dict[str, str] = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_reason_is_precise(reasons: dict[str, str], case: str) -> None:
    assert reasons[case] == CASES[case][1]
