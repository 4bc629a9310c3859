"""Trains one cell: a network in one framework with one seed, from its job alone, epoch by epoch."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np

from benchmarks.certification import lookup
from benchmarks.datasets import augmentation
from benchmarks.datasets.registry import Dataset
from benchmarks.records.events import End, Epoch, Start
from benchmarks.records.store import CellRecord, RunFolder, file_name
from benchmarks.runtime import affinity, devices, gpu_state
from benchmarks.runtime.worker_client import Evaluation, Slice, WorkerClient
from benchmarks.training import checkpoints, epoch_slices
from benchmarks.training.jobs import Job, dropout_seed, order
from benchmarks.training.kept_states import EveryEpoch, Keeping
from frameworks import arrays
from frameworks.adapter import Split
from frameworks.registry import FrameworkInfo
from frameworks.spec import Dropout, Network
from frameworks.training import AVERAGE

EpochProgress = Callable[[str, float], None]  # the cell, and the epochs that it has finished, a part of one included

FIRST_LOSSES = 10  # losses of single steps that are recorded, to compare the frameworks before rounding grows
EVALUATION = 1 << 20  # the slice number in the seed of an evaluation in training mode: no epoch has as many slices


def checkpoint(folder: RunFolder, cell: str, epoch: int) -> Path:
    """The file of the state of a cell after an epoch."""
    return folder.path / "checkpoints" / f"{file_name(cell)}.{epoch}.npz"


class CellTrainer:
    """A job and its worker. Every method may raise `WorkerFailed` or `Unavailable`; the cell has then ended.

    record: what the folder holds of the cell; training goes on from its last epoch with a kept state.
    save: keep the weights after the last epoch. keeping: which states are kept; by default all.
    """

    def __init__(
        self,
        job: Job,
        data: Dataset,
        folder: RunFolder,
        scratch: Path,
        record: CellRecord,
        save: bool = False,
        keeping: Keeping | None = None,
    ) -> None:
        self.job, self.data, self.folder, self.scratch, self.record = job, data, folder, scratch, record
        self.save, self.keeping = save, keeping or EveryEpoch()
        steps = -(-job.train_size // job.batch_size)
        self.lrs = job.lr * job.lr_schedule.factors(job.epochs, steps).reshape(job.epochs, steps)
        self.epoch = self.kept = record.kept  # finished epochs, and the one whose state is on disk
        self.ended = record.finished
        self._worker: WorkerClient | None = None

    def open(self, python: Path, info: FrameworkInfo, timeout: float) -> None:
        """Start the worker and begin."""
        log = self.folder.log(self.job.cell)
        self._worker = WorkerClient(
            python,
            info.module,
            info.adapter,
            threads=self.job.threads,
            log=log,
            timeout=timeout,
            environment=devices.environment(self.job.device),
        )
        self.begin(self._worker)

    def begin(self, worker: WorkerClient) -> None:
        """Build the network in a worker, load the data, and restore the last kept state."""
        self._worker = worker
        job, started = self.job, worker.started
        built = worker.build(job.network, job.training, job.setting)
        weights_seconds = worker.set_weights(self._weights())
        load_seconds = self._load("train", self._images("train"))
        compile_seconds = self._compile()
        load_seconds += self._load("test", self._images("test"))
        worker.set_weights(self._weights())
        coverage = lookup.covering(job.row(started.file, started.versions))
        cores = affinity.cores_of_launch(job.seed + 1, job.threads) if job.device == "cpu" else []
        affinity.pin(worker.process.pid, cores)
        self.folder.record(
            Start(
                cell=job.cell,
                pid=started.pid,
                versions=started.versions,
                settings=built.settings,
                departures=built.departures,
                certificate=coverage.certificate,
                verification=coverage.text,
                params=built.params,
                buffers=built.buffers,
                cores=cores,
                import_seconds=started.seconds,
                import_memory=started.resident,
                build_seconds=built.seconds + weights_seconds,
                load_seconds=load_seconds,
                compile_seconds=compile_seconds,
            )
        )

    def train_epoch(self, launch: int, progress: EpochProgress) -> Epoch:
        """Train one epoch and evaluate; the event is on disk when this returns."""
        began = time.perf_counter()
        job, number = self.job, self.epoch + 1
        augment_seconds, reload_seconds = self._augment(number) if job.augmentations else (None, 0.0)
        order_file = self._order(number)
        slices: list[Slice] = []
        images: list[int] = []
        macs, device = job.network.macs, job.setting.device
        cuts = epoch_slices.cut(job.train_size, job.batch_size, macs, device, first_alone=number == 1)
        gpu = gpu_state.Meter(job.device)
        for place, (start, stop) in enumerate(cuts):
            steps = slice(start // job.batch_size, -(-stop // job.batch_size))
            lrs = self.lrs[self.epoch, steps].tolist()
            seed = dropout_seed(job.seed, number, place)
            slices.append(self.worker.train(order_file, job.batch_size, lrs, start=start, stop=stop, seed=seed))
            gpu.read()
            images.append(stop - start)
            progress(job.cell, self.epoch + stop / job.train_size)
        test = self._evaluate()
        keeps = self._keep(number, time.perf_counter() - began)
        busy = sum(each.seconds for each in slices) + test.seconds + (augment_seconds or 0.0) + reload_seconds
        timed = list(zip(images, [each.seconds for each in slices]))
        contention = [each.contention for each in slices[number == 1 :]]
        losses = [loss for each in slices for loss in each.losses]
        event = Epoch(
            cell=job.cell,
            epoch=number,
            launch=launch,
            first_step_seconds=timed.pop(0)[1] if number == 1 else None,
            slices=timed,
            contention=contention,
            gpu=gpu.use,
            train_loss=self._mean(losses, job.train_size),
            train_accuracy=sum(each.correct for each in slices) / job.train_size,
            test_loss=test.loss,
            test_accuracy=test.accuracy,
            evaluation_seconds=test.seconds,
            first_losses=losses[:FIRST_LOSSES] if number == 1 and not _has_dropout(job.network) else [],
            augment_seconds=augment_seconds,
            reload_seconds=reload_seconds,
            harness_seconds=time.perf_counter() - began - busy,
            state_kept=keeps,
        )
        self.folder.record(event)
        self.epoch = number
        if keeps:
            self._forget(self.kept)
            self.kept = number
        self.record.add(event)
        return event

    def finish(self) -> None:
        """Record the peak memory and the end, keep the weights if requested, end the worker."""
        if self.save:
            self._save_weights()
        last = self.record.epochs[-1].train_loss
        diverged = None if math.isfinite(last) else f"diverged: the training loss is {last}"
        self._end(End(cell=self.job.cell, status="ok", reason=diverged, peak=self.worker.peak_memory()))
        self._forget(self.kept)
        with contextlib.suppress(OSError):  # it holds the checkpoints of other cells
            self._checkpoint(self.epoch).parent.rmdir()

    def fail(self, status: str, reason: str) -> None:
        """Record why the cell ends here."""
        self._end(End(cell=self.job.cell, status=status, reason=reason))

    def close(self) -> None:
        """End the worker."""
        if self._worker:
            self._worker.close()
            self._worker = None

    def __enter__(self) -> CellTrainer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def worker(self) -> WorkerClient:
        """The living worker."""
        assert self._worker is not None, "open() comes first"
        return self._worker

    # --- inside -------------------------------------------------------------------------------------------------------

    def _end(self, event: End) -> None:
        self.ended = True
        self.close()
        self.folder.record(event)
        self.record.add(event)

    def _compile(self) -> float:
        """Take a step and evaluate with every batch size of the job, so that no timed slice compiles; seconds.

        The weights and the test images are those of a trial afterwards.
        """
        job, seconds = self.job, 0.0
        trained, tested = batch_sizes(job.train_size, job.batch_size), batch_sizes(job.test_size, self._test_batch)
        if job.test_in_training_mode:
            trained |= {size for size in batch_sizes(job.test_size, job.batch_size) if size <= job.train_size}
        for size in sorted(trained):
            seconds += self.worker.train(np.arange(size), size, [0.0], stop=size, seed=0).seconds
        if not job.test_in_training_mode:
            self.worker.load("test", self._images("test"), self.data.test.labels, sum(tested))
            seconds += self.worker.evaluate("test", self._test_batch).seconds
        return seconds

    @property
    def _test_batch(self) -> int:
        return max(self.job.batch_size, 256)

    def _load(self, split: Split, images: Path, labels: Split | None = None) -> float:
        """Load images as one of the two splits, with the labels of `labels` (default: the same split); seconds."""
        source = labels or split
        count = self.job.train_size if source == "train" else self.job.test_size
        return self.worker.load(split, images, getattr(self.data, source).labels, count)

    def _images(self, split: Split) -> Path:
        """The images of a split, with permuted pixels if the job asks for it."""
        job, images = self.job, Path(getattr(self.data, split).images)
        if job.permutation is None:
            return images
        path = self.scratch / f"{split}.permuted.{job.permutation}.npy"
        if not path.exists():
            np.save(path, augmentation.permuted(np.load(images, mmap_mode="r"), job.permutation))
        return path

    def _augment(self, epoch: int) -> tuple[float | None, float]:
        """Draw the augmented images of an epoch and load them: the seconds of both.

        The images are the same for all frameworks; the first is None if another cell has drawn them.
        """
        job, seconds = self.job, None
        path = self.scratch / f"augmented.{job.seed}.{epoch}.npy"
        if not path.exists():
            began = time.perf_counter()
            images = np.load(self._images("train"), mmap_mode="r")[: job.train_size]
            np.save(path, augmentation.augmented(images, job.augmentations, job.seed, epoch))
            seconds = time.perf_counter() - began
            # All cells of a group are in this epoch now; a worker that still maps the previous file keeps its contents.
            path.with_name(f"augmented.{job.seed}.{epoch - 1}.npy").unlink(missing_ok=True)
        return seconds, self._load("train", path)

    def _evaluate(self) -> Evaluation:
        """Loss, accuracy and seconds over the test images."""
        job = self.job
        if not job.test_in_training_mode:
            return self.worker.evaluate("test", self._test_batch)
        # Steps with a learning rate of 0 on the test images: dropout is active, batch norm uses the statistics of each
        # batch (so the batch size matters), and the running statistics that move are restored afterwards.
        state, stored = self.scratch / f"{file_name(job.cell)}.npz", np.arange(job.test_size)
        steps = -(-job.test_size // job.batch_size)
        self.worker.save_weights(state)
        self._load("train", self._images("test"), labels="test")
        seed = dropout_seed(job.seed, self.epoch + 1, EVALUATION)
        slice_ = self.worker.train(stored, job.batch_size, [0.0] * steps, stop=job.test_size, seed=seed)
        self._load("train", self._images("train"))
        self.worker.set_weights(state)
        loss = self._mean(slice_.losses, job.test_size)
        return Evaluation(seconds=slice_.seconds, loss=loss, accuracy=slice_.correct / job.test_size)

    def _mean(self, losses: list[float], images: int) -> float:
        """The mean over images of the mean losses of batches, the last of which may be shorter."""
        sizes = np.diff([*range(0, images, self.job.batch_size), images])
        return float(np.average(losses, weights=sizes))

    def _save_weights(self) -> None:
        """Write the trained weights to a file from which any framework can predict."""
        path = self.folder.path / "weights" / f"{file_name(self.job.cell)}.npz"
        path.parent.mkdir(exist_ok=True)
        with np.load(self._weights(), allow_pickle=False) as state:
            names = [parameter.name for parameter in self.job.network.parameters]
            averages = {name: f"{name}/{AVERAGE}" for name in names}  # if there are averages, the test used them
            trained = {name: state[averages[name] if averages[name] in state else name] for name in names}
        about = {name: getattr(self.job, name) for name in ("framework", "seed", "epochs", "dataset", "permutation")}
        about["class_names"] = list(self.data.class_names)
        if self.data.images:
            about["images"] = self.data.images.options.record
        checkpoints.save(path, self.job.network, trained, about)

    def _keep(self, epoch: int, seconds: float) -> bool:
        """Write the state after an epoch that took so long, if it is due; whether it was."""
        is_last = epoch == self.job.epochs
        due = self.keeping.is_due(seconds, is_last)
        if not (due or (self.save and is_last)):
            return False
        began = time.perf_counter()
        self.worker.save_weights(self._checkpoint(epoch))
        self.keeping.kept(time.perf_counter() - began)
        return True

    def _forget(self, epoch: int) -> None:
        """Remove the state after an epoch, if there is one."""
        self._checkpoint(epoch).unlink(missing_ok=True)

    def _weights(self) -> Path:
        """The state after the last finished epoch, or the initial weights, which all frameworks share."""
        if self.epoch:
            return self._checkpoint(self.epoch)
        job = self.job
        path = self.scratch / f"{file_name(job.name)}.{job.seed}.npz"
        if not path.exists():
            np.savez(path, **arrays.initial(job.network, job.seed, job.initial))  # type: ignore[arg-type]
        return path

    def _checkpoint(self, epoch: int) -> Path:
        path = checkpoint(self.folder, self.job.cell, epoch)
        path.parent.mkdir(exist_ok=True)
        return path

    def _order(self, epoch: int) -> Path:
        """The order of the images in an epoch, the same for all frameworks."""
        job = self.job
        name = f"{job.shuffle}.{job.fixed_batches and job.batch_size}.{job.seed}.{epoch}.{job.train_size}"
        path = self.scratch / f"order.{name}.npy"
        if not path.exists():
            np.save(path, order(job, epoch))
        return path


def batch_sizes(images: int, batch_size: int) -> set[int]:
    """The sizes of the batches that so many images are cut into, of which the last may be shorter."""
    return {min(batch_size, images), images % batch_size or min(batch_size, images)}


def _has_dropout(network: Network) -> bool:
    """Whether the losses depend on masks, which every framework draws for itself."""
    return any(isinstance(node.layer, Dropout) and node.layer.rate for _, node in network.walk())
