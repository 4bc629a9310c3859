"""The framework check of the trainer: three epochs of a run against a loop that is written out here.

The loop shares no code with the trainer, with the schedules or with the order of images; it states what they do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.datasets.registry import Dataset, Split
from benchmarks.records.store import CellRecord, RunFolder
from benchmarks.runtime.temporary_folders import TemporaryFolder
from benchmarks.runtime.worker_client import WorkerClient
from benchmarks.training.jobs import Job
from benchmarks.training.lr_schedules import Step
from benchmarks.training.trainer import CellTrainer, checkpoint
from benchmarks.verification.cases import Place
from benchmarks.verification.framework_checks.session import BRIEF, PlacedTensor, Session
from frameworks.arrays import initial
from frameworks.training import SGD, Training

TRAINER = "trainer"

EPOCHS, TRAIN, TEST, SIZE, LR, FACTOR, SCHEME = 3, 22, 13, 4, 0.2, 0.5, "xavier_uniform"
TRAINING = Training(SGD(momentum=0.8))


def trainer(session: Session) -> Iterator[PlacedTensor]:
    """Epochs of the trainer with the framework's worker; the last one continues from the state on disk."""
    assert isinstance(session.client, WorkerClient), "the trainer needs a worker"
    with TemporaryFolder("trainer") as path:
        job, data, folder, record = _job(session), _data(session, path), RunFolder(path / "run"), CellRecord()
        folder.path.mkdir()
        for finished in (0, EPOCHS - 1):
            cell = CellTrainer(job, data, folder, path, record)
            cell.begin(session.client)
            for epoch in range(finished + 1, EPOCHS if not finished else EPOCHS + 1):
                event = cell.train_epoch(0, lambda name, epochs: None)
                for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
                    yield Place(TRAINER, "an epoch", epoch, name), np.array(getattr(event, name))
                with np.load(checkpoint(folder, job.cell, epoch), allow_pickle=False) as state:
                    for name in sorted(state):
                        yield Place(TRAINER, "an epoch", epoch, name), state[name]


def epochs_written_out(session: Session) -> Iterator[PlacedTensor]:
    """The same epochs, step by step: a permutation for each epoch, the learning rate halved after each."""
    session.build(BRIEF, TRAINING, initial(BRIEF, session.seed, SCHEME))
    images, labels = _images(session)
    session.client.load("train", images[:TRAIN], labels[:TRAIN])
    session.client.load("test", images[TRAIN:], labels[TRAIN:])
    for epoch in range(1, EPOCHS + 1):
        order = np.random.default_rng([session.seed, epoch]).permutation(TRAIN)
        losses, correct = 0.0, 0
        for start in range(0, TRAIN, SIZE):
            batch = order[start : start + SIZE]
            trained = session.client.train(batch, SIZE, [LR * FACTOR ** (epoch - 1)], stop=len(batch), seed=0)
            losses += trained.losses[0] * len(batch)
            correct += trained.correct
        evaluation = session.client.evaluate("test", 5)
        figures = {"train_loss": losses / TRAIN, "train_accuracy": correct / TRAIN}
        figures |= {"test_loss": evaluation.loss, "test_accuracy": evaluation.accuracy}
        for name, value in figures.items():
            yield Place(TRAINER, "an epoch", epoch, name), np.array(value)
        state = session.client.get_weights()
        for name in sorted(state):
            yield Place(TRAINER, "an epoch", epoch, name), np.asarray(state[name])


def _images(session: Session) -> tuple[np.ndarray, np.ndarray]:
    return session.images(BRIEF, TRAIN + TEST, seed=5)


def _data(session: Session, path: Path) -> Dataset:
    """A data set of random images in files."""
    images, labels = _images(session)
    splits = {}
    for name, part in (("train", slice(TRAIN)), ("test", slice(TRAIN, None))):
        files = path / f"{name}.images.npy", path / f"{name}.labels.npy"
        for file, array in zip(files, (images, labels)):
            np.save(file, array[part])
        splits[name] = Split(*files, len(images[part]))
    classes = tuple(map(str, range(BRIEF.classes)))
    channels, height, width = BRIEF.input
    return Dataset(
        name="random",
        input=(channels, height, width),
        classes=len(classes),
        class_names=classes,
        train=splits["train"],
        test=splits["test"],
        sha256={},
        published=False,
        source="",
    )


def _job(session: Session) -> Job:
    return Job(
        name=BRIEF.name,
        network=BRIEF,
        framework="checked",
        seed=session.seed,
        epochs=EPOCHS,
        batch_size=SIZE,
        lr=LR,
        training=TRAINING,
        initial=SCHEME,
        shuffle=True,
        train_size=TRAIN,
        test_size=TEST,
        device=session.setting.device,
        precision=session.setting.precision,
        threads=session.setting.threads,
        dataset="random",
        mode=session.setting.mode,
        lr_schedule=Step(1, FACTOR),
    )
