"""The wheels for a machine without a network: what is asked of pip, and what is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from benchmarks.runtime.environments import requirements
from benchmarks.runtime.errors import BadInput
from frameworks.registry import FRAMEWORKS
from research.wheels import downloads, wanted


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_all_requirements_of_a_framework_are_wanted(name: str, device: str) -> None:
    expected = [str(each) for each in requirements(FRAMEWORKS[name], None, device)]  # type: ignore[arg-type]
    assert wanted(name, device, []) == expected != []  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_what_the_other_machine_has_is_left_out(name: str) -> None:
    there = [each.name for each in requirements(FRAMEWORKS[name], None, "cpu")]
    assert wanted(name, "cpu", there) == []
    (_, *others) = there
    assert [Requirement(each).name for each in wanted(name, "cpu", [there[0].upper()])] == others


def test_a_requirement_of_several_frameworks_is_wanted_once() -> None:
    packages = wanted("jax,keras@jax,keras@torch", "cpu", ["torch"])
    assert sorted(re.split("[=>]", each)[0] for each in packages) == ["flax", "jax", "keras", "numpy"]


def test_two_versions_of_a_package_are_refused() -> None:
    with pytest.raises(BadInput, match=r"--fw torch,mxnet: numpy>=1\.23 and numpy==1\.23\.5; make a folder for each"):
        wanted("torch,mxnet", "cpu", [])
    assert wanted("torch,mxnet", "cpu", ["numpy"]) == ["torch==2.13.0", "mxnet==1.9.1"]


@pytest.mark.parametrize("python", [None, "3.12"])
def test_pip_makes_wheels_only_and_takes_onespec_from_the_checkout(python: str | None) -> None:
    build, download = downloads(Path("/w"), ["jax==0.10.2"], python)
    assert build[-1] == str(Path(__file__).parents[2]) and build[build.index("--wheel-dir") + 1] == "/w"
    assert download[-2:] == ["onespec", "jax==0.10.2"] and download[download.index("--find-links") + 1] == "/w"
    assert download[download.index("--only-binary") + 1] == ":all:"
    assert ("--python-version" in download) == (python is not None)
