"""The public Python interface of onespec.

    from benchmarks.api import run, speed, verify

`run` trains networks in several frameworks, `verify` checks that the frameworks compute the same function, `speed`
times them. All three install missing frameworks into separate environments in the user cache, start one process per
framework, and do not import a framework into the calling process. `load_network`, `NETWORKS` and the layers define
networks; `load_weights` and `predict` use trained weights; `read_report` reads the table of a saved run.

Conventions: images are uint8 arrays N x C x H x W with values 0 to 255; labels are int64 arrays of length N; the
shape of one image is (C, H, W); times are in seconds, memory is in MiB (2^20 bytes), speeds are in images per
second of wall time.

Errors derive from `OnespecError`: `SpecError` for a network that cannot be built, `BadInput` for an argument that
cannot be used, `DataError` for a missing or damaged data set, `Unavailable` for a framework or device that this
machine does not have, `WorkerFailed` for a framework process that stopped or did not answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from benchmarks.cli.network_importer import LazyImporter
from benchmarks.cli.progress import ProgressDisplay
from benchmarks.datasets.registry import DATASETS, Dataset, ImageOptions
from benchmarks.datasets.registry import dataset as load_dataset
from benchmarks.records.store import RunFolder
from benchmarks.reporting import run_report, speed_report
from benchmarks.reporting.certificate_pages import verification_text, write_pages
from benchmarks.runtime import devices, user_files
from benchmarks.runtime.environments import environment, parse_frameworks
from benchmarks.runtime.errors import BadInput, DataError, WorkerFailed
from benchmarks.runtime.importers import use_importer
from benchmarks.runtime.networks import network as load_network
from benchmarks.timing import speed_run
from benchmarks.timing.speed_request import WORKLOADS, SpeedRequest
from benchmarks.training import plan, prediction, runner
from benchmarks.training.checkpoints import Checkpoint
from benchmarks.training.checkpoints import load as load_weights
from benchmarks.verification import verify_run
from benchmarks.verification.verify_run import Verification
from frameworks.errors import OnespecError, Unavailable
from frameworks.networks import NETWORKS
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network, SpecError
from frameworks.training import SGD, Adadelta, Adam, RMSprop, Training

__all__ = [
    "DATASETS",
    "FRAMEWORKS",
    "NETWORKS",
    "SGD",
    "Adadelta",
    "Adam",
    "BadInput",
    "Checkpoint",
    "DataError",
    "Dataset",
    "ImageOptions",
    "Network",
    "OnespecError",
    "RMSprop",
    "SpecError",
    "Training",
    "Unavailable",
    "Verification",
    "WorkerFailed",
    "load_dataset",
    "load_network",
    "load_weights",
    "predict",
    "read_report",
    "run",
    "speed",
    "verification_text",
    "verify",
]

Names = str | Sequence[str]
Numbers = int | Sequence[int]

use_importer(LazyImporter(quiet=True))


def run(
    net: Names = "lenet",
    frameworks: Names = "all",
    *,
    seed: Numbers = 0,
    dataset: str | None = None,
    images: ImageOptions | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    optimizer: str | None = None,
    clip_norm: float | None = None,
    weight_average: float | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    quick: bool = False,
    device: str = "auto",
    precision: Literal["float32", "float64", "bfloat16", "float16"] = "float32",
    tf32: bool = False,
    threads: int | None = None,
    save: bool = False,
    pythons: Mapping[str, str] | None = None,
    adapters: Sequence[str] = (),
    timeout: float = 600.0,
    out: str | Path = "results",
    quiet: bool = True,
) -> pd.DataFrame:
    """Train networks side by side in several frameworks and return one row per network, framework and seed.

    All frameworks start from the same weights and use the same images in the same order. The frameworks are
    interleaved epoch by epoch. Arguments that are None take their value from the recipe of the network.

    net: names from `NETWORKS`, `all`, `file.py:function` for a network of your own, or one of another program:
    `model.py:Net`, `model.onnx`, `model.keras`, `model.json`, `net-symbol.json`.
    frameworks: names from `FRAMEWORKS`, optionally with a mode and a version (`torch:compile`, `torch==2.12.1`), or
    `all`.
    seed: one or several seeds (integers, 0 or more) of the initial weights, the order of the images and dropout.
    dataset: a name from `DATASETS`, or a path to images of your own. images: how the latter are read.
    optimizer: `sgd`, `momentum`, `adam`, ... (`onespec run --help` lists them).
    clip_norm: the norm to which the gradients are scaled down, that of all of them together.
    weight_average: decay of an exponential moving average of the weights, with which the network is tested.
    train_size, test_size: use only the first images of each split.
    quick: at most 2,000 images that are included in the package, for two epochs, or four if a large network gets 100
    images or fewer.
    device: `cpu`, `cuda`, `cuda:1` (the second GPU), `mps` (Apple's GPU), or `auto`: `cuda` if there is an NVIDIA GPU.
    precision: in which layers compute; with `bfloat16` and `float16`, arrays and the loss stay in float32.
    tf32: let NVIDIA GPUs round the factors of float32 products to TF32.
    threads: CPU threads of each framework; None: all cores.
    save: write the trained weights to `<folder>/weights`, for `load_weights`.
    pythons: interpreters to use instead of the cached environments, by framework name.
    adapters: classes of your own adapters, `file.py:Class`.
    timeout: seconds to wait for a framework process before it counts as failed.
    out: the parent folder of the run's folder; the path of the run's folder is in `frame.attrs["folder"]`.

    The columns are documented in docs/reference/records.md: among them `net`, `framework`, `version`, `seed`,
    `status` (`ok`, `unavailable` or `failed`), `reason`, `params`, `train_loss`, `test_accuracy` (fraction),
    `examples_per_second` with a 95 % interval, `relative_speed`, `train_seconds`, `peak_memory_mib`. Values that
    were not measured are None.

    A framework that is unavailable or fails is a row with its reason, not an exception.
    Raises BadInput for an argument that cannot be used, DataError if a data set is missing or damaged.
    """
    use_importer(LazyImporter(pythons, quiet))
    defaults = plan.TrainingRequest()
    request = plan.TrainingRequest(
        net=_names(net),
        frameworks=",".join(_names(frameworks)),
        dataset=dataset,
        images=images or ImageOptions(),
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        clip_norm=clip_norm,
        weight_average=weight_average,
        seeds=_numbers(seed),
        threads=defaults.threads if threads is None else threads,
        device=device,
        precision=precision,
        tf32=tf32,
        train_size=train_size,
        test_size=test_size,
        timeout=timeout,
        quick=quick,
        save=save,
        pythons=pythons or {},
        adapters=tuple(adapters),
    )
    return _table(
        runner.execute(request, ProgressDisplay(quiet), Path(out), command=("run(...)",), write_report=run_report.write)
    )


def verify(
    net: Names = "lenet",
    frameworks: Names = "all",
    *,
    precision: Literal["float64", "float32", "both"] = "float64",
    size: Literal["small", "full"] = "small",
    semantics: Literal["aligned", "native"] = "aligned",
    batch_size: int = 4,
    steps: int | None = None,
    seed: int = 0,
    threads: int = 1,
    pythons: Mapping[str, str] | None = None,
    adapters: Sequence[str] = (),
    out: str | Path | None = None,
    quiet: bool = True,
) -> Verification:
    """Compare each framework with the NumPy reference, from single layers to a sequence of training steps.

    precision: `float64` is the strict test, where errors are rounding (about 1e-15 to 1e-9). `float32` compares the
    frameworks with one another and needs at least two of them.
    size: `small` reduces the input to the smallest square that all layers accept.
    semantics: `native` builds each framework with its own defaults and lists the differences.
    batch_size: images per step, at least 2. steps: length of the sequence of training losses.
    out: a folder for certificate.json and certificate.md; None: the findings go only to the cache.

    The result has `same`, whether all frameworks compute the same function; `findings`, one per network, framework
    and precision, with `verdict` (`ok`, `explained`, `differs`, `failed`, `not verified` or `not distinguishable`) and
    `stages`; `skipped`, the reasons for frameworks and networks that were not verified, and `lacking`, the reasons for
    precisions in which frameworks were not verified, though in another. `verification_text(result)` is the text that
    the command prints.

    Raises BadInput for an argument that cannot be used.
    """
    use_importer(LazyImporter(pythons, quiet))
    request = verify_run.VerifyRequest(
        net=_names(net),
        frameworks=",".join(_names(frameworks)),
        precision=precision,
        size=size,
        batch_size=batch_size,
        steps=steps,
        semantics=semantics,
        seed=seed,
        threads=threads,
        pythons=pythons or {},
        adapters=tuple(adapters),
        out=None if out is None else Path(out),
    )
    return verify_run.execute(request, ProgressDisplay(quiet).message, write_pages=write_pages)


def speed(
    net: Names = "lenet",
    frameworks: Names = "all",
    *,
    what: Names = WORKLOADS,
    batch_size: Numbers = (),
    threads: Numbers = (),
    precision: Names = "float32",
    tf32: bool = False,
    budget: float = 60.0,
    baseline: str | None = None,
    dataset: str | None = None,
    images: ImageOptions | None = None,
    device: str = "auto",
    pythons: Mapping[str, str] | None = None,
    adapters: Sequence[str] = (),
    timeout: float = 600.0,
    out: str | Path = "results",
    quiet: bool = True,
) -> pd.DataFrame:
    """Time training steps and predictions side by side and return one row per network, framework, work and setting.

    what: `train`, `infer`, or both. batch_size, threads, precision: one value or several; every combination is timed.
    An empty `batch_size` means the batch size of the recipe, an empty `threads` all cores. device, tf32: as in `run`.
    budget: seconds for each comparison; the roofline measurements come on top.
    baseline: the framework that the others are compared with; None: the first one. It also runs a second time, as
    an A/A control, which shows the smallest difference that this machine can detect now.

    Columns: `examples_per_second` and `relative_speed` with 95 % intervals (`_low`, `_high`), `verdict` (`faster`,
    `slower`, `same`, or `not measured` if other programs disturbed the run), `step_seconds`, `first_step_seconds`,
    `latency_median_ms`, `peak_memory_mib` and more; see docs/reference/records.md. docs/statistics.md explains the
    intervals. `frame.attrs["folder"]` is the run's folder.

    A framework whose losses differ from the reference, or whose timing is implausible, has the status `refused`.
    Raises BadInput for an argument that cannot be used or a budget that is too small, DataError as `run` does.
    """
    use_importer(LazyImporter(pythons, quiet))
    defaults = SpeedRequest()
    request = SpeedRequest(
        net=_names(net),
        frameworks=",".join(_names(frameworks)),
        what=_names(what),
        batch_sizes=_numbers(batch_size),
        threads=_numbers(threads) or defaults.threads,
        precision=_names(precision),
        tf32=tf32,
        budget=budget,
        baseline=baseline,
        dataset=dataset,
        images=images or ImageOptions(),
        device=device,
        timeout=timeout,
        pythons=pythons or {},
        adapters=tuple(adapters),
    )
    folder = speed_run.execute(request, ProgressDisplay(quiet), Path(out), write_report=speed_report.write)
    return _table(folder)


def read_report(folder: str | Path) -> pd.DataFrame:
    """The table of a saved run of `run` or `speed`, computed from its records.

    Raises BadInput if the folder holds no run, or one that this version cannot read.
    """
    return _table(RunFolder.open(Path(folder), option="folder"))


def predict(
    weights: Checkpoint | str | Path,
    images: np.ndarray,
    framework: str = "torch",
    *,
    device: str = "cpu",
    threads: int = 1,
    pythons: Mapping[str, str] | None = None,
    timeout: float = 600.0,
) -> np.ndarray:
    """Logits of images, computed in one framework with weights from any framework: float32, N x classes.

    weights: a file written by `run(save=True)` or `onespec import-weights`, or the result of `load_weights`.
    images: uint8, N x C x H x W with the input shape of the network (`load_weights(file).network.input`).
    device: as in `run`.

    Raises BadInput if the file or the shape of the images cannot be used, Unavailable if the machine does not have
    the framework, WorkerFailed if the framework fails.
    """
    checkpoint = weights if isinstance(weights, Checkpoint) else load_weights(Path(weights))
    expected = checkpoint.network.input
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise BadInput(f"images: uint8 N x {expected} are needed, not {images.dtype} {images.shape}")
    (requested,) = parse_frameworks(framework)
    devices.check(device)
    device = devices.resolved(device)
    kind = devices.kind(device)
    place = environment(requested, pythons or {}, device=kind, progress=ProgressDisplay(quiet=True).message)
    return prediction.logits(checkpoint, images, place, requested, threads=threads, device=device, timeout=timeout)


def _table(folder: RunFolder) -> pd.DataFrame:
    """The table of any kind of run, with the path of its folder in `attrs`."""
    report = speed_report if folder.info.kind == "speed" else run_report
    frame = report.frame(folder)
    frame.attrs["folder"] = str(folder.path)
    return frame


def _names(names: Names) -> tuple[str, ...]:
    return tuple(user_files.listed(names)) if isinstance(names, str) else tuple(names)


def _numbers(numbers: Numbers) -> tuple[int, ...]:
    return (numbers,) if isinstance(numbers, int) else tuple(numbers)
