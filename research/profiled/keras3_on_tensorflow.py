"""Keras under TensorFlow's profiler, whose events of a graph are called `place:operation`."""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from frameworks.adapter import Trained
from frameworks.arrays import Array
from frameworks.keras3.on_tensorflow import Keras3


class Profiled(Keras3):
    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        with tempfile.TemporaryDirectory() as folder:
            with tf.profiler.experimental.Profile(folder):
                trained = super().train(order, batch_size, lrs, seed)
            space = xplane_pb2.XSpace()
            space.ParseFromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
        seconds: defaultdict[str, float] = defaultdict(float)
        for plane in space.planes:
            for event in (event for line in plane.lines for event in line.events):
                place, colon, operation = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if colon and operation.isidentifier() and not place.endswith(":"):
                    seconds[operation] += event.duration_ps / 1e12
        Path(os.environ["ONESPEC_PROFILE"]).write_text(json.dumps(seconds), encoding="utf-8")
        return trained
