"""PyTorch under `torch.profiler`: the time of an operation without that of the operations it calls."""

from __future__ import annotations

import json
import os
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from frameworks.adapter import Trained
from frameworks.arrays import Array
from frameworks.pytorch import PyTorch


class Profiled(PyTorch):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            trained = super().train(order, batch_size, lrs, seed)
        seconds = {each.key: each.self_cpu_time_total / 1e6 for each in profiled.key_averages()}
        Path(os.environ["ONESPEC_PROFILE"]).write_text(json.dumps(seconds), encoding="utf-8")
        return trained
