"""The verdict of each stage of the framework checks."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.verification.comparison import RelativeErrors, StageVerdict, dropout, stage_verdict
from benchmarks.verification.framework_checks.checks import STAGES
from benchmarks.verification.framework_checks.dropout_masks import LAYERS, MASKS

# Measured with correct frameworks: 3e-14 in float64; 1e-5 in float32, and 2e-4 after 120 steps.
LIMIT = {"float64": 1e-10, "float32": 1e-4}
LIMITS: dict[str, dict[str, float]] = {"late steps": {"float64": 1e-9, "float32": 2e-3}}


def judged(errors: RelativeErrors, precision: str, stages: Sequence[str] = STAGES) -> list[StageVerdict]:
    """The verdicts of these stages, in their order."""
    return [
        dropout(errors.masks, LAYERS, precision)
        if stage == MASKS
        else stage_verdict(stage, errors, LIMITS.get(stage, LIMIT)[precision])
        for stage in stages
    ]
