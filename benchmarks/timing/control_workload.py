"""The control workload: fixed work that every speed run times beside the frameworks.

It is what two runs have in common, on one machine or on two: the NumPy reference trains LeNet, which consists of
matrix products and passes over memory. A slice is one step, about 20 ms here.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.datasets.registry import Dataset, Split
from benchmarks.records.runs import ControlWorkload
from benchmarks.timing.launches import TimedJob, WorkloadFiles
from benchmarks.timing.samples import CONTROL_WORKLOAD
from benchmarks.training.jobs import Job
from frameworks.networks import NETWORKS
from frameworks.registry import FrameworkInfo
from frameworks.training import Training

REFERENCE = FrameworkInfo("numpy", "NumPy", "frameworks.numpy_reference", "Reference", "numpy", python=">=3.10")
IMAGES, BATCH_SIZE = 32, 32


def control_workload(like: Job, scratch: Path) -> tuple[TimedJob, WorkloadFiles]:
    """Its cell, with the threads of the other cells, and its data: noise."""
    stream = np.random.default_rng(0)
    split = Split(scratch / "noise_images.npy", scratch / "noise_labels.npy", IMAGES)
    job = replace(
        like,
        name=CONTROL_WORKLOAD,
        network=NETWORKS["lenet"](),
        framework="numpy",
        mode="",
        batch_size=BATCH_SIZE,
        training=Training(),
        initial="xavier_uniform",
        train_size=IMAGES,
        test_size=IMAGES,
        device="cpu",
        precision="float64",
        tf32=False,
        dataset="noise",
    )
    data = Dataset("noise", (1, 28, 28), 10, (), split, split, {}, True, "")
    np.save(split.images, stream.integers(0, 256, (IMAGES, 1, 28, 28), dtype=np.uint8))
    np.save(split.labels, stream.integers(0, 10, IMAGES))
    timed = TimedJob(job, "train", name=CONTROL_WORKLOAD)
    return timed, WorkloadFiles(timed, data, scratch / CONTROL_WORKLOAD, checked=False)


def description() -> ControlWorkload:
    """The control workload as `run.json` records it."""
    return ControlWorkload(
        cell=CONTROL_WORKLOAD,
        net="lenet",
        what="train",
        framework="numpy",
        version=np.__version__,
        batch_size=BATCH_SIZE,
        precision="float64",
        spec_sha256=NETWORKS["lenet"]().sha256,
    )
