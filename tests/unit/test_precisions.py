"""Precisions by name: what is refused, and how far they round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.runtime import precisions
from benchmarks.runtime.errors import BadInput
from benchmarks.timing.sanity_checks import ReferenceCheck, limit
from benchmarks.timing.speed_request import SpeedRequest
from benchmarks.training.plan import TrainingRequest, plan
from frameworks.networks import NETWORKS


@pytest.mark.parametrize("name", ["float64", "float32", "float16"])
def test_units_of_rounding_are_those_of_numpy(name: str) -> None:
    assert precisions.rounding(name) == np.finfo(name).eps / 2
    assert precisions.ITEMSIZE[name] == np.dtype(name).itemsize


def test_units_of_rounding_of_fewer_bits() -> None:
    """bfloat16 has 7 bits of fraction, TF32 has 10."""
    assert 2 * precisions.rounding("bfloat16") == 2.0**-7
    assert 2 * precisions.rounding("float32", tf32=True) == 2.0**-10
    rounding = [name for name in precisions.PRECISIONS if precisions.rounds_more(name)]
    assert rounding == ["bfloat16", "float16"] and precisions.rounds_more("float32", tf32=True)


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"precision": "float8"}, "--precision float8: allowed are float64, float32, bfloat16, float16"),
    ({"precision": "bfloat16", "tf32": True, "device": "cuda"}, "--tf32: it is a form of float32, not of bfloat16"),
    ({"tf32": True, "device": "cpu"}, "--tf32: only a GPU of NVIDIA has it, and the device is cpu"),
    ({"tf32": True, "device": "mps"}, "--tf32: only a GPU of NVIDIA has it, and the device is mps"),
    ({"device": "cuda:x"}, "--device cuda:x: write auto, cpu"),
)


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_a_setting_that_does_not_exist_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput) as caught:
        plan(TrainingRequest(("lenet",), "torch", quick=True, **options), print)
    assert str(caught.value).startswith(message)
    several = {**options, "precision": ("float32", options["precision"])} if "precision" in options else options
    if several.get("device") not in ("cpu", "mps"):
        with pytest.raises(BadInput, match=r"^--"):
            SpeedRequest(("lenet",), "torch", **several)


def test_a_job_has_the_kind_of_its_device() -> None:
    request = TrainingRequest(("lenet",), "torch", quick=True, device="cuda:1", tf32=True)
    ((job,),), _ = plan(request, print, elsewhere=True)
    assert (job.device, job.setting.device, job.setting.tf32) == ("cuda:1", "cuda", True)
    assert request.info.device == "cuda:1" and TrainingRequest.from_info(request.info).info == request.info


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        (("float64", False), 1e-9), (("float32", False), 4e-4), (("float32", True), 2.0**-7),
        (("bfloat16", False), 2.0**-4), (("float16", False), 2.0**-7),
    ],
)  # fmt: skip
def test_results_may_differ_by_the_rounding_of_the_precision(setting: tuple[str, bool], allowed: float) -> None:
    network, expected = NETWORKS["lenet"](), np.array([2.0, 1.0])
    check = ReferenceCheck(network, 2, 2, 0.1, np.arange(4), expected, np.zeros(2), precisions.rounding(*setting))
    assert limit(*setting) == allowed
    check.compare(expected + 2 * 0.9 * allowed, *setting)
    with pytest.raises(Exception, match="results differ from the reference"):
        check.compare(expected + 2 * 1.1 * allowed, *setting)
