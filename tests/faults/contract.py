"""Faults against the contract of an adapter: each class is a mixin that plants one fault in any adapter.

The module of a framework's faulty adapters makes them by name, with `planted`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from frameworks.adapter import Adapter, Setting, Split, Trained, batches
from frameworks.arrays import Array, Weights
from frameworks.spec import Network
from frameworks.training import SGD, Adadelta, Adam, Optimizer, RMSprop, Training


def planted(adapter: type[Adapter], name: str) -> type[Adapter]:
    """The adapter with the fault of this module that has this name."""
    fault = globals().get(name)
    if not (isinstance(fault, type) and issubclass(fault, Adapter)):
        raise AttributeError(f"{name} is neither a faulty adapter nor a fault of the contract")
    return type(name, (fault, adapter), {"__doc__": fault.__doc__, "__module__": fault.__module__})


class StepByStep(Adapter):
    """Without a fault: trains one step at a time, each with a seed of its own, so that a subclass can change a step."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        steps = [
            self.one_step(batch, batch_size, lrs[number : number + 1], self.seed(seed, number))
            for number, batch in enumerate(batches(order, batch_size))
        ]
        losses = np.concatenate([step.losses for step in steps])
        return Trained(losses, self.correct([step.correct for step in steps]))

    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        return super().train(batch, batch_size, lr, seed)

    def seed(self, seed: int, number: int) -> int:
        return (seed + 7919 * number) % 2**31

    def correct(self, counts: list[int]) -> int:
        return sum(counts)

    def undone(self, before: Weights, steps: int) -> None:
        """Go back to a state, which counts as `steps` steps."""
        self.set_weights(before | {"step": np.array(steps)} if int(before["step"]) else before)


# --- dropout in training ----------------------------------------------------------------------------------------------


class SameMaskAtEveryStep(StepByStep):
    def seed(self, seed: int, number: int) -> int:
        return seed


class SeedIgnored(Adapter):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return super().train(order, batch_size, lrs, 0)


class NotSeeded(Adapter):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return super().train(order, batch_size, lrs, int.from_bytes(os.urandom(4), "big") >> 1)


# --- sizes of batches -------------------------------------------------------------------------------------------------


class ShortBatchSkipped(StepByStep):
    """The loss of the step before is reported for it."""

    last = np.zeros(1)

    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        if len(batch) < batch_size:
            return Trained(self.last, 0)
        trained = super().one_step(batch, batch_size, lr, seed)
        self.last = trained.losses
        return trained


class ShortBatchScaled(StepByStep):
    """The loss, and with it the step of SGD, is multiplied by len / batch_size."""

    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        fraction = len(batch) / batch_size
        trained = super().one_step(batch, batch_size, fraction * lr, seed)
        return Trained(fraction * trained.losses, trained.correct)


class ShortBatchPadded(StepByStep):
    """By the first image."""

    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        padding = np.zeros(batch_size - len(batch), batch.dtype)
        return super().one_step(np.concatenate([batch, padding]), batch_size, lr, seed)


class LargeBatchWeighted(StepByStep):
    """The loss of a batch of more than 16 images is multiplied by 1.1."""

    above = 16

    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        factor = 1.1 if len(batch) > self.above else 1.0
        trained = super().one_step(batch, batch_size, factor * lr, seed)
        return Trained(factor * trained.losses, trained.correct)


class VeryLargeBatchWeighted(LargeBatchWeighted):
    """The same above 100 images."""

    above = 100


# --- state ------------------------------------------------------------------------------------------------------------


class FirstPredictionsKept(Adapter):
    def predict(self, split: Split, batch_size: int) -> Array:
        if not hasattr(self, "predictions"):
            self.predictions: dict[Split, Array] = {}
        if split not in self.predictions:
            self.predictions[split] = super().predict(split, batch_size)
        return self.predictions[split]


class PredictionsWithLoadedWeights(Adapter):
    """Training changes no prediction: they are made with the weights of the last `set_weights`."""

    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights)
        self.loaded = weights

    def predict(self, split: Split, batch_size: int) -> Array:
        present = self.get_weights()
        super().set_weights(self.loaded)
        predictions = super().predict(split, batch_size)
        super().set_weights(present)
        return predictions


class TrainImagesPredicted(Adapter):
    """The predictions of the test images are those of as many training images."""

    def predict(self, split: Split, batch_size: int) -> Array:
        count = len(self.data[split][0])  # type: ignore[attr-defined]
        return super().predict("train", batch_size)[:count]


class SecondLoadIgnored(Adapter):
    def load(self, split: Split, images: Array, labels: Array) -> None:
        if split not in self.data:  # type: ignore[attr-defined]
            super().load(split, images, labels)


class SecondSetWeightsIgnored(Adapter):
    loaded = False

    def set_weights(self, weights: Weights) -> None:
        if not self.loaded:
            super().set_weights(weights)
        self.loaded = True


class OptimizerStateLost(Adapter):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights({name: array for name, array in weights.items() if name in self.arrays})


class StepsForgotten(Adapter):
    """The moments are read back; the number of steps is not."""

    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights | ({"step": np.array(1)} if "step" in weights else {}))


class SlotsNotWritten(Adapter):
    """The state that is written has the moments of a new optimizer."""

    def get_weights(self) -> Weights:
        return {name: 0 * array if "/" in name else array for name, array in super().get_weights().items()}


class WeightsTakenInFloat32(Adapter):
    def set_weights(self, weights: Weights) -> None:
        super().set_weights(in_float32(weights))


class WeightsGivenInFloat32(Adapter):
    def get_weights(self) -> Weights:
        return in_float32(super().get_weights())


def in_float32(weights: Weights) -> Weights:
    """The arrays rounded to float32, as float64; the number of steps as it is."""
    return {
        name: array if name == "step" else np.asarray(array, np.float32).astype(np.float64)
        for name, array in weights.items()
    }


# --- hyperparameters --------------------------------------------------------------------------------------------------


class OtherTraining(Adapter):
    """Without a fault: a subclass changes the training that it is given."""

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, self.other(training), setting)

    @staticmethod
    def other(training: Training) -> Training:
        return training


def changed(training: Training, kind: type[Optimizer], **values: Any) -> Training:
    """A training with other values for an optimizer of this kind."""
    rule = training.optimizer
    return replace(training, optimizer=replace(rule, **values)) if isinstance(rule, kind) else training


class BetasNotHandedOver(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        return changed(training, Adam, beta1=0.9, beta2=0.999)


class SecondBetaNotHandedOver(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        return changed(training, Adam, beta2=0.999)


class MomentumAlways09(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        rule = training.optimizer
        return changed(training, SGD, momentum=0.9) if isinstance(rule, SGD) and rule.momentum else training


class DecayAlways001(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        rule = training.optimizer
        return changed(training, type(rule), weight_decay=0.01) if rule.weight_decay else training


class EpsilonAtLeast1e7(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        rule = training.optimizer
        return changed(training, Adam, epsilon=max(rule.epsilon, 1e-7)) if isinstance(rule, Adam) else training


class SmoothingAlways01(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        return replace(training, label_smoothing=0.1 if training.label_smoothing else 0.0)


class DecayOnWeightsAlone(OtherTraining):
    """`decay_all` is ignored."""

    @staticmethod
    def other(training: Training) -> Training:
        return replace(training, decay_all=False)


class EpsilonOfRMSpropMoved(OtherTraining):
    """Inside the root for outside, and outside for inside."""

    @staticmethod
    def other(training: Training) -> Training:
        rule = training.optimizer
        inside = isinstance(rule, RMSprop) and rule.epsilon_inside
        return changed(training, RMSprop, epsilon_inside=not inside)


class RhoAlways09(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        return changed(training, RMSprop, rho=0.9)


class RhoOfAdadeltaAlways095(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        return changed(training, Adadelta, rho=0.95)


class LearningRateOutsideVelocity(OtherTraining):
    """Of RMSprop."""

    @staticmethod
    def other(training: Training) -> Training:
        return changed(training, RMSprop, lr_in_velocity=False)


class SquareChangeLeftOut(StepByStep):
    """The mean of the squared changes of Adadelta stays 0."""

    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        trained = super().one_step(batch, batch_size, lr, seed)
        state = self.get_weights()
        if zeros := {name: 0 * array for name, array in state.items() if name.endswith("/square_change")}:
            self.set_weights(state | zeros)
        return trained


class ClippingIgnored(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        return replace(training, clip_norm=None)


class AverageLeftOutOfPredictions(Adapter):
    @contextmanager
    def _averaged(self) -> Iterator[None]:
        yield


class AverageDecayAlways0999(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        return replace(training, average=None if training.average is None else 0.999)


class AverageBegunAtZero(StepByStep):
    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        before, decay = self.get_weights(), self.training.average
        trained = super().one_step(batch, batch_size, lr, seed)
        if decay is not None and not int(before["step"]):
            state = self.get_weights()
            names = [name for name in state if name.endswith("/average")]
            self.set_weights(state | {name: state[name] - decay * before[name.partition("/")[0]] for name in names})
        return trained


class AverageNotReadBack(Adapter):
    """After `set_weights`, the average begins with the weights, whatever the state says."""

    def set_weights(self, weights: Weights) -> None:
        names = [name for name in weights if name.endswith("/average")]
        super().set_weights(weights | {name: weights[name.partition("/")[0]] for name in names})


class FactorsOfLearningRateIgnored(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        return replace(training, lr_factors=())


class LastPatternCounts(OtherTraining):
    @staticmethod
    def other(training: Training) -> Training:
        return replace(training, lr_factors=training.lr_factors[::-1])


class LearningRateCapped(Adapter):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return super().train(order, batch_size, np.minimum(lrs, 0.5), seed)


class LearningRateFloored(Adapter):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        return super().train(order, batch_size, np.maximum(lrs, 1e-6), seed)


# --- late steps -------------------------------------------------------------------------------------------------------


class EveryHundredthStepSkipped(StepByStep):
    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        before = self.get_weights()
        trained = super().one_step(batch, batch_size, lr, seed)
        if (int(before["step"]) + 1) % 100 == 0:
            self.undone(before, int(before["step"]) + 1)
        return trained


class StoppedBelowALoss(StepByStep):
    """No step is taken from a loss below 0.1 on."""

    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        before = self.get_weights()
        trained = super().one_step(batch, batch_size, lr, seed)
        if trained.losses[0] < 0.1:
            self.undone(before, int(before["step"]))
        return trained


# --- losses that are not finite, counts -------------------------------------------------------------------------------


class NonFiniteStepSkipped(StepByStep):
    def one_step(self, batch: Array, batch_size: int, lr: Array, seed: int) -> Trained:
        before = self.get_weights()
        trained = super().one_step(batch, batch_size, lr, seed)
        if not np.isfinite(trained.losses).all():
            self.undone(before, int(before["step"]) + 1)
        return trained


class NonFiniteLossHidden(Adapter):
    """The largest number is reported for infinity, and 0 for what is no number."""

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        trained = super().train(order, batch_size, lrs, seed)
        return Trained(np.nan_to_num(trained.losses), trained.correct)


class CorrectOfLastBatch(StepByStep):
    def correct(self, counts: list[int]) -> int:
        return counts[-1]
