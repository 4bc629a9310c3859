"""Whether this build of PyTorch can compute where it is asked to."""

from __future__ import annotations

import re

import torch

from frameworks.adapter import Setting
from frameworks.errors import Unavailable


def check_device(setting: Setting) -> None:
    """`Unavailable` with the reason where the setting's device or its precision is missing."""
    if setting.device == "cuda":
        _check_cuda()
    if setting.device == "mps":
        if not torch.backends.mps.is_built():
            raise Unavailable(f"this build of PyTorch, {torch.__version__}, is without MPS, which macOS alone has")
        if not torch.backends.mps.is_available():
            raise Unavailable(f"PyTorch {torch.__version__} sees no MPS device: it needs macOS 14 and Apple's GPU")
        if setting.arrays == "float64":
            raise Unavailable("MPS has no float64")


def _check_cuda() -> None:
    version = torch.__version__
    if torch.version.cuda is None:
        raise Unavailable(f"this build of PyTorch, {version}, is without CUDA")
    try:
        torch.cuda.init()  # which knows more than `is_available`: no driver, one that is too old, no GPU
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise Unavailable(f"PyTorch {version} of CUDA {torch.version.cuda} sees no CUDA device: {reason}") from None
    capability, kernels = torch.cuda.get_device_capability(), torch.cuda.get_arch_list()
    if not runs(capability, kernels):
        name = f"{torch.cuda.get_device_name()}, sm_{capability[0]}{capability[1]}"
        raise Unavailable(f"PyTorch {version} has no kernels for {name}; it has {', '.join(kernels)}")


def runs(capability: tuple[int, int], kernels: list[str]) -> bool:
    """Whether a GPU of this compute capability runs kernels that were compiled for these architectures.

    A binary, sm_XY, runs on GPUs of the same X and at least this Y; one for sm_XYa on these alone; the intermediate
    code of compute_XY on every later GPU (CUDA C++ Programming Guide, sections on binary and PTX compatibility).
    """
    for kernel in kernels:
        matched = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", kernel)
        if matched is None:
            continue
        kind, major, minor, specific = matched.groups()
        compiled = int(major), int(minor)
        if capability == compiled:
            return True
        if not specific and capability > compiled and (kind == "compute" or capability[0] == compiled[0]):
            return True
    return False
