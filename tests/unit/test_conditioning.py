"""How much a network amplifies rounding, and the calmer case that is verified instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.verification.cases import BATCH, TRAININGS, Case, Place
from benchmarks.verification.conditioning import CALM, calm_evidence, largest, measured
from frameworks.networks import NETWORKS
from frameworks.spec import BatchNorm, Conv, Dense, Flatten, MaxPool, Network, ReLU

CALM_NETWORK = Network("calm", (1, 8, 8), [Conv("conv", 3, 3), BatchNorm("norm"), Flatten("flat"), Dense("out", 4)])
CHAOTIC = Network(
    "chaotic",
    (1, 12, 12),
    [
        Conv("c1", 6, 5),
        ReLU(),
        BatchNorm("b0"),
        MaxPool("p", 2, 2),
        Flatten(),
        Dense("fc1", 120),
        ReLU(),
        BatchNorm("b1"),
        Dense("fc2", 84),
        ReLU(),
        BatchNorm("b2"),
        Dense("out", 10),
    ],
)


def case(network: Network, seed: int) -> Case:
    complete = Case.for_network(network, seed, BATCH, curve=10)
    return replace(complete, trainings={"sgd": TRAININGS["sgd"]})


def folders(path: Path) -> tuple[Path, Path]:
    files, scratch = path / "files", path / "scratch"
    files.mkdir()
    scratch.mkdir()
    return files, scratch


def test_a_calm_network_keeps_its_case(tmp_path: Path) -> None:
    requested = case(CALM_NETWORK, seed=0)
    reference = calm_evidence(requested, *folders(tmp_path))
    assert reference.case is requested
    assert 1 < largest(reference) < 1000


@pytest.mark.parametrize("seed", range(3))
def test_batch_normalization_of_dense_layers_gets_more_images_per_step(seed: int, tmp_path: Path) -> None:
    files, scratch = folders(tmp_path)
    requested = case(CHAOTIC, seed)
    reference = calm_evidence(requested, files, scratch)
    assert largest(reference) <= CALM
    assert reference.case.batch_size > BATCH
    assert reference.case.trainings == requested.trainings and reference.case.curve == requested.curve
    assert np.array_equal(np.load(files / "images.npy"), reference.case.images), "files of another case"
    assert not any(scratch.iterdir())


def test_the_gradient_of_an_array_without_effect_is_amplified(tmp_path: Path) -> None:
    """A shift before batch normalization has the gradient 0 except for rounding; limits are absolute there."""
    layers = [Conv("conv", 3, 3), BatchNorm("shift", gamma=False), BatchNorm("norm"), Flatten("flat"), Dense("out", 4)]
    reference = calm_evidence(case(Network("net", (1, 8, 8), layers), seed=0), *folders(tmp_path))
    place = Place("gradients", "", 0, "shift.beta")
    assert np.abs(reference.evidence[place]).max() < 1e-14, "zero except for rounding"
    rounding = reference.amplification[place] * 2.0**-52 * reference.scales["gradients", "", 0, "shift"]
    assert 1e-18 < rounding < 1e-14


@pytest.mark.parametrize("name, expected", [("lenet", False), ("lenet_bn", True), ("resnet18", False)])
def test_amplification_is_measured_where_it_is_cheap_and_may_be_large(name: str, expected: bool) -> None:
    assert measured(NETWORKS[name]()) == expected
