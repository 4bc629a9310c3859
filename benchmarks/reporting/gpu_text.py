"""What the readings of a GPU mean for the figures of a run, in words."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.runtime.gpu_state import GpuUse


def warnings(uses: Iterable[tuple[str, GpuUse | None]]) -> list[str]:
    """A line if the GPU had a reason for lower clocks while it was timed. uses: each with its framework."""
    reasons: dict[str, dict[str, None]] = {}
    for framework, use in uses:
        for reason in use.throttled if use else ():
            reasons.setdefault(reason, {})[framework] = None
    listed = "; ".join(f"{reason} ({', '.join(frameworks)})" for reason, frameworks in reasons.items())
    return [f"Warning: the GPU lowered its clocks during timing: {listed}."] if listed else []
