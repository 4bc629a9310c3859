"""How much a network amplifies rounding, and cases in which it does so little that a fault is seen.

The reference runs a case twice. The second time, every weight before each pass and every gradient between two layers is
changed relatively by `CHANGE`, up or down at random. The change of a tensor, divided by `CHANGE`, is the amplification:
a correct framework is off by about the amplification times the unit of rounding. Most networks amplify by 10. Batch
normalization over few values after a dense layer amplifies by up to 1e13, which no precision withstands. So does the
gradient of an array that has no effect, such as a shift before batch normalization: it is a sum that should be zero.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.verification.cases import SEVERAL_STEPS, Case, is_large
from benchmarks.verification.comparison import ReferenceEvidence, relative_errors
from benchmarks.verification.evidence import reference_evidence, write_case_files
from frameworks.adapter import Setting
from frameworks.arrays import Array, Weights
from frameworks.numpy_reference import Pass, Reference
from frameworks.reference_layers.base import Result
from frameworks.spec import BatchNorm, Network, Node

# Far above the rounding of float64, so that the reference's own disturbs little; far below what switches a ReLU.
CHANGE = 2.0**-44
# An amplification of this in a stage of several steps leaves a limit of 1e-9 a thousand times the rounding.
CALM = 4e3
BATCHES = (16, 32, 64)  # more images per step make the statistics of batch normalization calmer
LR_FACTORS = (0.1, 0.01)  # and smaller steps grow rounding less, with the largest batch
# Most that the first step changes an array of a large network, as a fraction of its norm. Gradients grow from layer to
# layer through batch normalization: at a rate of 1e-4, four float64 steps of SGD on ResNet-152 are off by 9e-2.
SMALL_STEP = 1e-4


class ChangedPass(Pass):
    """A pass whose gradients between layers are changed. Outputs are not: equal values under a maximum stay equal."""

    def __init__(
        self,
        network: Network,
        weights: Weights,
        images: Array,
        masks: np.random.Generator | None,
        unbiased: bool,
        stream: np.random.Generator,
    ) -> None:
        self.stream = stream
        super().__init__(network, weights, images, masks, unbiased)

    def _layer(self, node: Node, x: Array) -> Result:
        y, back = super()._layer(node, x)
        return y, lambda dy: back(_changed(dy, self.stream))


class ChangedReference(Reference):
    """The reference, with changed weights and gradients; the weights stay changed."""

    def set_weights(self, weights: Weights) -> None:
        self.stream = np.random.default_rng(0)
        super().set_weights(weights)

    def _run(self, images: Array, masks: np.random.Generator | None = None) -> Pass:
        for name in self.arrays:
            self.weights[name] = _changed(self.weights[name], self.stream)
        return ChangedPass(self.network, self.weights, images, masks, self.unbiased, self.stream)


def _changed(array: Array, stream: np.random.Generator) -> Array:
    changed: Array = array * (1 + CHANGE * stream.choice((-1.0, 1.0), array.shape))
    return changed


def measured(network: Network) -> bool:
    """Whether amplification is measured: there is batch normalization, and the reference is fast."""
    return not is_large(network) and any(isinstance(node.layer, BatchNorm) for _, node in network.walk())


def with_amplification(reference: ReferenceEvidence, files: Path, scratch: Path) -> ReferenceEvidence:
    """The evidence with the amplification at each place; unchanged if that is not measured.

    files: written by `write_case_files`. scratch: a folder for files, which may be removed afterwards.
    """
    if not measured(reference.case.network):
        return reference
    changed = reference_evidence(reference.case, files, scratch, kind=ChangedReference)
    errors = relative_errors(iter(changed.items()), reference, (), "float64").plain
    return replace(reference, amplification={place: error / CHANGE for place, error in errors.items()})


def largest(reference: ReferenceEvidence) -> float:
    """The largest amplification in the stages of several steps; 0 if it is not measured."""
    amplification = reference.amplification.items()
    return max((value for place, value in amplification if place.stage in SEVERAL_STEPS), default=0.0)


def calm_evidence(case: Case, files: Path, scratch: Path) -> ReferenceEvidence:
    """The evidence of the case, or of a case with more images per step or smaller steps if that one is calmer.

    A large network gets smaller steps if `SMALL_STEP` asks for them. Another case is changed only if the network
    amplifies rounding by more than `CALM`. files: a folder that gets the files
    of the case in the result. scratch: a folder for files.
    """
    if is_large(case.network):
        case = with_small_steps(case)
    best = _evidence(case, files, scratch)
    last = best
    for candidate in _calmer(case) if largest(best) > CALM else ():
        last = _evidence(candidate, files, scratch)
        if largest(last) < largest(best):
            best = last
        if largest(best) <= CALM:
            break
    if best is not last:
        write_case_files(best.case, files)
    return best


def with_small_steps(case: Case) -> Case:
    """The case with learning rates that change no array by more than `SMALL_STEP` in the first step of SGD."""
    training = next(iter(case.trainings))
    reference = Reference(case.network, case.trainings[training], Setting())
    reference.set_weights(case.weights)
    first_batch = slice(case.batch_size)
    _, gradients = reference.gradients(case.images[first_batch], case.labels[first_batch])
    changes = [np.linalg.norm(gradients[name]) / np.linalg.norm(case.weights[name]) for name in _trained(case.network)]
    change = case.lrs(training, 1)[0] * float(max(changes))
    return replace(case, lr_factor=case.lr_factor * min(1.0, SMALL_STEP / change))


def _trained(network: Network) -> list[str]:
    return [parameter.name for parameter in network.parameters if parameter.trainable]


def _evidence(case: Case, files: Path, scratch: Path) -> ReferenceEvidence:
    """The evidence of a case, with its amplification. Arrays that are mapped from deleted files stay readable."""
    write_case_files(case, files)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        reference = ReferenceEvidence.from_evidence(case, reference_evidence(case, files, Path(folder)))
        return with_amplification(reference, files, Path(folder))


def _calmer(case: Case) -> Iterator[Case]:
    """Cases with more images per step, then with smaller steps too."""
    batches = [batch for batch in BATCHES if batch > case.batch_size]
    for batch in batches:
        yield case.with_batch_size(batch)
    for factor in LR_FACTORS:
        yield replace(case.with_batch_size(max([case.batch_size, *batches])), lr_factor=factor)
