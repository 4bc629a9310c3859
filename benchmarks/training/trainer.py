"""One cell: a network in one framework with one seed, trained from its job description alone, epoch by epoch."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import augmentation
from benchmarks.datasets.augmentation import Change
from benchmarks.datasets.registry import Dataset
from benchmarks.records.store import Folder, History
from benchmarks.runtime import affinity
from benchmarks.runtime.worker_client import Session
from benchmarks.training import checkpoints, epoch_slices
from benchmarks.training.lr_schedules import CONSTANT, Schedule
from benchmarks.verification import certificates
from frameworks import arrays
from frameworks.arrays import Array
from frameworks.registry import FrameworkInfo
from frameworks.spec import Network, to_json
from frameworks.training import Training

Moved = Callable[[str, float], None]  # the cell, and the epochs that it has done, a part of one included

TESTING = 1 << 20  # where the number of a slice goes into a seed: no epoch has so many


@dataclass(frozen=True)
class Job:
    """All that decides a cell's numbers, except the framework's own version and the machine."""

    name: str  # of the network, as asked for
    network: Network  # as built: what is done to the pixels is in front
    framework: str  # its label: torch, torch==2.12.1
    seed: int
    epochs: int
    batch_size: int
    rate: float
    training: Training
    initial: str
    shuffle: bool
    train_size: int
    test_size: int
    device: str
    precision: str
    threads: int
    dataset: str
    trial_sha256: str = ""  # of the network that a certificate is about
    mode: str = ""
    schedule: Schedule = CONSTANT
    changes: tuple[Change, ...] = ()
    permutation: int | None = None
    tested_in_training_mode: bool = False
    batches_stay: bool = False

    @property
    def cell(self) -> str:
        return f"{self.name}.{self.framework}.{self.seed}"

    def certificate(self, module: str, versions: dict[str, str]) -> dict[str, str] | None:
        """The certificate that covers this network in this framework as it is here, if there is one."""
        code, version = certificates.code_sha256(module), certificates.version(versions)
        return certificates.find(
            certificates.key(self.trial_sha256, code, version, self.mode, self.precision, self.device)
        )


def counted(arrays: dict[str, tuple[list[int], bool]]) -> dict[str, int]:
    """Values in the arrays that a framework says it has, by name (shape, trained): those trained, and the others."""
    sizes = [(math.prod(shape), trained) for shape, trained in arrays.values()]
    return {
        "params": sum(size for size, trained in sizes if trained),
        "buffers": sum(size for size, trained in sizes if not trained),
    }


class Cell:
    """A job on its worker. Every method may raise `WorkerFailed` or `Unavailable`: then this cell is over."""

    def __init__(
        self, job: Job, data: Dataset, folder: Folder, scratch: Path, history: History, save: bool = False
    ) -> None:
        self.job, self.data, self.folder, self.scratch, self.history = job, data, folder, scratch, history
        self.save = save  # the weights after the last epoch
        steps = -(-job.train_size // job.batch_size)
        self.rates = job.rate * job.schedule.factors(job.epochs, steps).reshape(job.epochs, steps)
        self.epoch = len(history.epochs)  # finished so far
        self.over = history.finished
        self.session: Session | None = None

    def open(self, python: Path, info: FrameworkInfo, timeout: float) -> None:
        """Start the worker, build the network, put the data on the device; go on from the last finished epoch."""
        job = self.job
        log = self.folder.path / "logs" / f"{job.cell}.log"
        self.session = Session(python, info.module, info.adapter, threads=job.threads, log=log, timeout=timeout)
        started = self.session.receive()
        where = {"device": job.device, "precision": job.precision, "threads": job.threads, "mode": job.mode}
        built = self.session.request(
            "build", network=to_json(job.network), training=job.training.to_json(), setting=where
        )
        filled = self.session.request("set_weights", path=str(self._weights()))
        loaded = [self._load("train", self._images("train")), self._load("test", self._images("test"))]
        kept = affinity.chosen(job.seed + 1, job.threads) if job.device == "cpu" else []
        affinity.keep(self.session.process.pid, kept)
        self.folder.append(
            job.cell,
            "start",
            pid=started["pid"],
            versions=started["versions"],
            settings=built["settings"],
            departures=built["departures"],
            certificate=job.certificate(started["file"], started["versions"]),
            **counted(built["arrays"]),
            cores=kept,
            import_seconds=started["seconds"],
            import_memory=started["resident"],
            build_seconds=built["seconds"] + filled["seconds"],
            load_seconds=sum(loaded),
        )

    def train_epoch(self, launch: int, moved: Moved) -> dict[str, Any]:
        """One epoch and its evaluation; the record of it, already on disk."""
        began = time.perf_counter()
        job, number = self.job, self.epoch + 1
        drawn = self._draw(number) if job.changes else {}
        order = self._order(number)
        cuts = epoch_slices.cut(job.train_size, job.batch_size, job.network.macs, job.device, first_alone=number == 1)
        timed: list[list[float]] = []
        losses: list[float] = []
        correct = 0
        for place, (start, stop) in enumerate(cuts):
            steps = slice(start // job.batch_size, -(-stop // job.batch_size))
            answer = self._ask(
                "train",
                order=str(order),
                start=start,
                stop=stop,
                batch_size=job.batch_size,
                lrs=self.rates[self.epoch, steps].tolist(),
                seed=_seed(job.seed, number, place),
            )
            timed.append([stop - start, answer["seconds"]])
            losses += answer["losses"]
            correct += answer["correct"]
            moved(job.cell, self.epoch + stop / job.train_size)
        tested = self._test()
        sizes = np.diff([*range(0, job.train_size, job.batch_size), job.train_size])
        record: dict[str, Any] = {
            "epoch": number,
            "launch": launch,
            "first_step_seconds": timed.pop(0)[1] if number == 1 else None,
            "slices": timed,
            "train_loss": float(np.average(losses, weights=sizes)),
            "train_accuracy": correct / job.train_size,
            "test_loss": tested["loss"],
            "test_accuracy": tested["accuracy"],
            "evaluation_seconds": tested["seconds"],
            **drawn,
        }
        self._ask("get_weights", path=str(self._checkpoint(number)))
        at_work = sum(seconds for _, seconds in timed) + (record["first_step_seconds"] or 0) + tested["seconds"]
        at_work += sum(seconds or 0 for seconds in drawn.values())
        record["harness_seconds"] = time.perf_counter() - began - at_work
        self.folder.append(job.cell, "epoch", **record)
        self._checkpoint(number - 1).unlink(missing_ok=True)
        self.epoch = number
        self.history.add({"event": "epoch", **record})
        return record

    def finish(self) -> None:
        """Read the peak memory, keep the weights if asked to, write the end, let the worker go."""
        if self.save:
            self._keep()
        last = self.history.epochs[-1]["train_loss"]
        diverged = None if math.isfinite(last) else f"diverged: the training loss is {last}"
        self._end("ok", diverged, **self._ask("memory"))
        self._checkpoint(self.epoch).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # other cells' are in it
            self._checkpoint(self.epoch).parent.rmdir()

    def fail(self, status: str, reason: str) -> None:
        """Record why this cell ends here."""
        self._end(status, reason)

    def close(self) -> None:
        if self.session:
            self.session.close()
            self.session = None

    def _end(self, status: str, reason: str | None, **facts: Any) -> None:
        self.over = True
        self.close()
        self.folder.append(self.job.cell, "end", status=status, reason=reason, **facts)
        self.history.add({"event": "end", "status": status, "reason": reason, **facts})

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        assert self.session is not None, "open() comes first"
        return self.session.request(command, **arguments)

    def _load(self, split: str, images: Path, labels: str = "") -> float:
        """Put pictures on the device as one of the two splits, with the labels of that or another one."""
        count = self.job.train_size if (labels or split) == "train" else self.job.test_size
        files = getattr(self.data, labels or split)
        answer = self._ask("load", split=split, images=str(images), labels=str(files.labels), count=count)
        return float(answer["seconds"])

    def _images(self, split: str) -> Path:
        """The pictures of a split, their pixels in the other order where the job has one."""
        job, images = self.job, Path(getattr(self.data, split).images)
        if job.permutation is None:
            return images
        path = self.scratch / f"{split}.permuted.{job.permutation}.npy"
        if not path.exists():
            np.save(path, augmentation.permuted(np.load(images, mmap_mode="r"), job.permutation))
        return path

    def _draw(self, epoch: int) -> dict[str, float | None]:
        """Change the training pictures for an epoch and load them; None for the drawing that another cell has done."""
        job, seconds = self.job, None
        path = self.scratch / f"changed.{job.seed}.{epoch}.npy"
        if not path.exists():
            began = time.perf_counter()
            images = np.load(self._images("train"), mmap_mode="r")[: job.train_size]
            np.save(path, augmentation.drawn(images, job.changes, job.seed, epoch))
            seconds = time.perf_counter() - began
            # All cells of a group are in this epoch now; what a worker still maps stays until it lets go.
            path.with_name(f"changed.{job.seed}.{epoch - 1}.npy").unlink(missing_ok=True)
        return {"augment_seconds": seconds, "reload_seconds": self._load("train", path)}

    def _test(self) -> dict[str, Any]:
        """Loss, accuracy and seconds over the test pictures."""
        job = self.job
        if not job.tested_in_training_mode:
            return self._ask("evaluate", split="test", batch_size=max(job.batch_size, 256))
        # Steps with a rate of 0 on the test pictures: dropout is at work, batch norm takes each batch's own mean and
        # variance (so its size counts), and only what is set back afterwards moves.
        batch_size = job.batch_size
        sizes = np.diff([*range(0, job.test_size, batch_size), job.test_size])
        path, order = self.scratch / f"{job.cell}.npz", self.scratch / f"straight.{job.test_size}.npy"
        np.save(order, np.arange(job.test_size))
        self._ask("get_weights", path=str(path))
        self._load("train", self._images("test"), labels="test")
        steps = {"lrs": [0.0] * len(sizes), "seed": _seed(job.seed, self.epoch + 1, TESTING)}
        answer = self._ask("train", order=str(order), start=0, stop=job.test_size, batch_size=batch_size, **steps)
        self._load("train", self._images("train"))
        self._ask("set_weights", path=str(path))
        loss = float(np.average(answer["losses"], weights=sizes))
        return {"loss": loss, "accuracy": answer["correct"] / job.test_size, "seconds": answer["seconds"]}

    def _keep(self) -> None:
        """The trained weights as a file that any framework can predict with."""
        path = self.folder.path / "weights" / f"{self.job.cell}.npz"
        path.parent.mkdir(exist_ok=True)
        with np.load(self._weights(), allow_pickle=False) as arrays:
            trained = {parameter.name: arrays[parameter.name] for parameter in self.job.network.parameters}
        about = {name: getattr(self.job, name) for name in ("framework", "seed", "epochs", "dataset", "permutation")}
        checkpoints.save(path, self.job.network, trained, about)

    def _weights(self) -> Path:
        """The last finished epoch's, or those that every framework starts from."""
        if self.epoch:
            return self._checkpoint(self.epoch)
        job = self.job
        path = self.scratch / f"{job.name}.{job.seed}.npz"
        if not path.exists():
            np.savez(path, **arrays.initial(job.network, job.seed, job.initial))  # type: ignore[arg-type]
        return path

    def _checkpoint(self, epoch: int) -> Path:
        folder = self.folder.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        return folder / f"{self.job.cell}.{epoch}.npz"

    def _order(self, epoch: int) -> Path:
        """The order of the pictures in an epoch: drawn here, the same for every framework."""
        job = self.job
        how = f"{job.shuffle}.{job.batches_stay and job.batch_size}.{job.seed}.{epoch}.{job.train_size}"
        path = self.scratch / f"order.{how}.npy"
        if not path.exists():
            np.save(path, order(job, epoch))
        return path


def order(job: Job, epoch: int) -> Array:
    """The order of the training pictures in an epoch, int64: drawn, as they come, or in batches that are shuffled.

    A batch that is shorter stays the last one: an order is cut into batches from its start.
    """
    stream, straight = np.random.default_rng([job.seed, epoch]), np.arange(job.train_size)
    if not job.shuffle:
        return straight
    if not job.batches_stay:
        return stream.permutation(job.train_size)
    whole = job.train_size // job.batch_size * job.batch_size
    batches = stream.permutation(straight[:whole].reshape(-1, job.batch_size))
    return np.concatenate([batches.ravel(), straight[whole:]])


def weights_sha256(job: Job) -> str:
    """The digest of the initial weights, array by array in the spec's order: names, and float64 values."""
    digest = hashlib.sha256()
    for parameter in job.network.parameters:
        digest.update(parameter.name.encode())
        digest.update(np.ascontiguousarray(arrays.drawn(parameter, job.seed, job.initial)).data)
    return digest.hexdigest()


def _seed(*numbers: int) -> int:
    """A seed of dropout masks that differs for every run, epoch and slice: 31 bits, for MXNet takes no more.

    A zero in the end changes nothing (`SeedSequence` pads with them): slices count from 0, testing has a number apart.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) >> 1
