"""Is the state of a worker what the last command made it?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.verification.cases import Place
from benchmarks.verification.framework_checks.session import BRIEF, PlacedTensor, Session, losses, state
from frameworks.training import SGD, Adam, Training

STATE = "state"

MOMENTUM = Training(SGD(momentum=0.7))
ADAM = Training(Adam(beta1=0.8, beta2=0.95, epsilon=1e-5))
AVERAGE = Training(SGD(momentum=0.6), average=0.7)
SIZE, STEPS = 8, 3
IMAGES = SIZE * STEPS


def keeps_state(session: Session) -> Iterator[PlacedTensor]:
    """Predictions between trainings, second calls, state written and read back, and commands that change nothing."""
    for name, training, lr in (("momentum", MOMENTUM, 0.05), ("adam", ADAM, 3e-3), ("average", AVERAGE, 0.05)):
        session.build(BRIEF, training)
        session.load(BRIEF)
        yield from _predicted(session, f"{name}, before training")
        yield from _trained(session, lr, f"{name}, first training")
        yield from _predicted(session, f"{name}, after training")
        images, labels = session.images(BRIEF, SIZE, seed=3)
        session.client.activations(images, True)
        session.client.gradients(images, labels)
        yield from state(session, STATE, f"{name}, after gradients and activations", STEPS, slots=True)
        yield from _written_and_read(session, training, lr, name)
        session.client.set_weights(session.weights_of(BRIEF, seed=1))
        yield from _predicted(session, f"{name}, second weights")
        yield from _trained(session, lr, f"{name}, training from second weights")
        session.load(BRIEF, seed=1)
        yield from _predicted(session, f"{name}, second images")
        yield from _trained(session, lr, f"{name}, training on second images", start=STEPS)
        yield from _predicted(session, f"{name}, after all")


def _written_and_read(session: Session, training: Training, lr: float, name: str) -> Iterator[PlacedTensor]:
    """Steps from a state that another build has written equal those of the build that continues."""
    written = {key: np.array(array) for key, array in session.client.get_weights().items()}
    yield from _trained(session, lr, f"{name}, continued", start=STEPS)
    session.build(BRIEF, training, written)
    session.load(BRIEF)
    yield from state(session, STATE, f"{name}, read back", STEPS, slots=True)
    yield from _predicted(session, f"{name}, read back, predicted")
    yield from _trained(session, lr, f"{name}, continued from the file", start=STEPS)


def _trained(session: Session, lr: float, what: str, start: int = 0) -> Iterator[PlacedTensor]:
    order = session.order(IMAGES, seed=start)
    trained = session.client.train(order, SIZE, [lr] * STEPS, stop=IMAGES, seed=session.seed + start)
    yield from losses(trained.losses, STATE, what, start + 1)
    yield from state(session, STATE, what, start + STEPS, slots=True)


def _predicted(session: Session, what: str) -> Iterator[PlacedTensor]:
    yield Place(STATE, what, 0, "head"), session.client.predict("test", 20)
