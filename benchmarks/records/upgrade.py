"""Reads records of schema 1, which versions before 0.2.0 wrote: the same values under other keys."""

from __future__ import annotations

from typing import Any

_JOB_KEYS = {
    "rate": "lr",
    "schedule": "lr_schedule",
    "changes": "augmentations",
    "tested_in_training_mode": "test_in_training_mode",
    "batches_stay": "fixed_batches",
    "twin": "control",
}
_RUN_KEYS = {"others": "cpu_load", "calibration": "control_workload"}
_REQUEST_KEYS = {"batches": "batch_sizes"}
_EVENT_KEYS = {"pictures": "images"}
_SETTING_KEYS = {"optimiser": "optimizer"}


def run(record: dict[str, Any]) -> dict[str, Any]:
    """`run.json` with the keys of schema 2."""
    record = _renamed(record, _RUN_KEYS)
    if isinstance(record.get("request"), dict):
        record["request"] = _renamed(record["request"], _REQUEST_KEYS)
    if isinstance(record.get("jobs"), list):
        record["jobs"] = [_renamed(job, _JOB_KEYS) if isinstance(job, dict) else job for job in record["jobs"]]
    return record


def event(record: dict[str, Any]) -> dict[str, Any]:
    """A line of `cells.jsonl` with the keys of schema 2."""
    record = _renamed(record, _EVENT_KEYS)
    if isinstance(record.get("settings"), dict):
        record["settings"] = _renamed(record["settings"], _SETTING_KEYS)
    return record


def _renamed(record: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    return {keys.get(key, key): value for key, value in record.items()}
