"""MXNet Gluon under `mx.profiler`, with bulk execution off: a bulk would be a single entry of the profile."""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ["MXNET_EXEC_BULK_EXEC_TRAIN"] = "0"  # read when MXNet is imported
import mxnet as mx

from frameworks.adapter import Trained
from frameworks.arrays import Array
from frameworks.mxnet_gluon import MXNetGluon


class Profiled(MXNetGluon):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        file = Path(os.environ["ONESPEC_PROFILE"])
        what = {"profile_symbolic": True, "profile_imperative": True, "aggregate_stats": True}
        mx.profiler.set_config(filename=str(file.with_suffix(".trace")), **what)
        mx.profiler.set_state("run")
        trained = super().train(order, batch_size, lrs, seed)
        mx.profiler.set_state("stop")
        stats = json.loads(mx.profiler.dumps(reset=True, format="json"))
        seconds = {name: each["Total"] / 1e3 for name, each in stats["Time"]["operator"].items()}
        file.write_text(json.dumps(seconds), encoding="utf-8")
        return trained
