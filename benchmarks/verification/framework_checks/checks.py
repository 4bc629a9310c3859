"""The list of the framework checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.verification.framework_checks.dropout_masks import MASKS, SCALE, dropout_masks
from benchmarks.verification.framework_checks.optimizer_checks import (
    BATCH_SIZES,
    LATE_STEPS,
    OPTIMIZERS,
    batch_sizes,
    hyperparameters,
    late_steps,
)
from benchmarks.verification.framework_checks.session import PlacedTensor, Script, Session
from benchmarks.verification.framework_checks.state_checks import STATE, keeps_state
from benchmarks.verification.framework_checks.trainer_check import TRAINER, epochs_written_out, trainer
from benchmarks.verification.framework_checks.value_checks import (
    COUNTS,
    DIGITS,
    LARGE,
    NOT_FINITE,
    THREADS,
    counts,
    full_precision,
    large_values,
    not_finite,
    threads,
)
from benchmarks.verification.framework_checks.worker_checks import WORKER, worker


@dataclass(frozen=True)
class Check:
    """The stages that a check belongs to, and its scripts: of the framework, and of the reference if it is another.

    by_precision: the reference, which computes in float64, is asked other questions for each precision.
    """

    stages: tuple[str, ...]
    script: Script
    reference: Script | None = None
    by_precision: bool = False

    def expected(self, session: Session) -> Iterator[PlacedTensor]:
        """The tensors of the reference."""
        return (self.reference or self.script)(session)


CHECKS: tuple[Check, ...] = (
    Check((THREADS,), threads),
    Check((DIGITS,), full_precision, by_precision=True),
    Check((OPTIMIZERS,), hyperparameters),
    Check((STATE,), keeps_state),
    Check((BATCH_SIZES,), batch_sizes),
    Check((LATE_STEPS,), late_steps),
    Check((LARGE,), large_values),
    Check((NOT_FINITE,), not_finite),
    Check((COUNTS,), counts),
    Check((SCALE, MASKS), dropout_masks),
    Check((WORKER,), worker),
    Check((TRAINER,), trainer, epochs_written_out),
)
STAGES = tuple(stage for check in CHECKS for stage in check.stages)
