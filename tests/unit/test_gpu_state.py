"""The readings of a GPU, from a module in place of NVML."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.reporting import gpu_text
from benchmarks.runtime import devices, gpu_state
from benchmarks.runtime.gpu_state import GpuInfo, GpuUse, Meter
from tests.fake_nvml import FakeNvml


@pytest.fixture(autouse=True)
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvml]:
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    gpu_state.opened.cache_clear()
    yield fake
    gpu_state.opened.cache_clear()


def used(device: str) -> GpuUse | None:
    meter = Meter(device)
    meter.read()
    meter.read()
    return meter.use


def test_the_readings_after_the_begin_count() -> None:
    figures: dict[str, Any] = {"sm_mhz": 1500, "memory_mhz": 2619, "watts": 700, "celsius": 42}
    throttled = ["power limit", "temperature (software)"]
    assert used("cuda") == GpuUse(joules=500, throttled=throttled, **figures)


def test_a_figure_that_a_gpu_lacks_is_none() -> None:
    use = used("cuda:1")
    assert use and use.joules is None and use.watts == 700


def test_a_gpu_by_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(devices.VISIBLE, "GPU-b,GPU-a")
    use = used("cuda:1")
    assert use and use.joules == 500


@pytest.mark.parametrize("device", ["cpu", "mps", "cuda:2"])
def test_nothing_is_read_without_such_a_gpu(device: str) -> None:
    assert used(device) is None
    assert gpu_state.info(device) is None


def test_what_does_not_change() -> None:
    assert gpu_state.info("cuda") == GpuInfo(cuda="12.8", power_limit_watts=700)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu_state.hint("cuda") is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpu_state.opened.cache_clear()
    monkeypatch.setattr(gpu_state.importlib.util, "find_spec", lambda name: None)  # type: ignore[attr-defined]
    assert str(gpu_state.hint("cuda")).endswith("are not recorded: pip install -e '.[gpu]'")
    assert gpu_state.hint("cpu") is None
    assert used("cuda") is None


def test_a_report_names_the_reasons_for_lower_clocks() -> None:
    uses = [("torch", used("cuda")), ("jax", GpuUse(throttled=["power limit"])), ("keras", GpuUse()), ("mxnet", None)]
    assert gpu_text.warnings(uses) == [
        "Warning: the GPU lowered its clocks during timing: power limit (torch, jax); temperature (software) (torch)."
    ]
    assert gpu_text.warnings(uses[2:]) == []
