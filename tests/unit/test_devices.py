"""Devices by name and number: what a worker sees, and which numbers are refused."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from benchmarks.runtime import devices, machine
from benchmarks.runtime.errors import BadInput

TWO = ["One, 40960 MiB, 570.1, GPU-a", "Two, PCIe, 81920 MiB, 570.1, GPU-b"]


@pytest.fixture(autouse=True)
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose nvidia-smi lists two GPUs, and no list of the user's."""
    monkeypatch.delenv(devices.VISIBLE, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(TWO) + "\nEND\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return program


@pytest.mark.parametrize("name", ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "mps"])
def test_names(name: str) -> None:
    devices.check(name)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:-1", "cuda:01", "cuda:1,2", "cpu:0", "mps:0", "CUDA"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BadInput, match=f"^--device {name}: write auto, cpu, cuda, cuda:N"):
        devices.check(name)


@pytest.mark.parametrize(
    ("device", "listed", "kind", "environment"),
    [
        ("cpu", "3,5", "cpu", {}),
        ("mps", None, "mps", {}),
        ("cuda", None, "cuda", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        ("cuda", "3,5", "cuda", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        ("cuda:1", None, "cuda", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1"}),
        ("cuda:1", "3, 5", "cuda", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "5"}),
        ("cuda:0", "GPU-b", "cuda", {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-b"}),
    ],
)
def test_a_worker_sees_its_gpu(
    device: str, listed: str | None, kind: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if listed is not None:
        monkeypatch.setenv(devices.VISIBLE, listed)
    assert devices.kind(device) == kind
    assert devices.environment(device) == environment


@pytest.mark.parametrize(
    ("device", "listed", "reason"),
    [
        ("cuda:2", None, "nvidia-smi lists 2 GPUs; write cuda:0 to cuda:1"),
        ("cuda:1", "5", "CUDA_VISIBLE_DEVICES lists one GPU; write cuda"),
        ("cuda:0", "", "CUDA_VISIBLE_DEVICES lists no GPU; choose another device"),
    ],
)
def test_a_number_beyond_the_gpus_is_refused(
    device: str, listed: str | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if listed is not None:
        monkeypatch.setenv(devices.VISIBLE, listed)
    with pytest.raises(BadInput) as caught:
        devices.resolved(device)
    assert str(caught.value) == f"--device {device}: {reason}"


def test_without_nvidia_smi_any_number_is_tried(smi: Path) -> None:
    smi.unlink()
    assert devices.resolved("cuda:7") == "cuda:7"
    assert devices.resolved("auto") == "cpu"
    assert machine.gpu("cuda:7") is None


def test_auto_is_the_first_gpu(smi: Path) -> None:
    assert devices.resolved("auto") == "cuda"
    smi.write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    assert devices.resolved("auto") == "cpu"


def test_the_machine_names_the_gpu_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.gpu() == machine.gpu("cpu") == "One, 40960 MiB, 570.1"
    assert machine.gpu("cuda:1") == "Two, PCIe, 81920 MiB, 570.1"
    monkeypatch.setenv(devices.VISIBLE, "GPU-b,0")
    assert machine.gpu("cuda") == "Two, PCIe, 81920 MiB, 570.1"
    assert machine.gpu("cuda:1") == "One, 40960 MiB, 570.1"
