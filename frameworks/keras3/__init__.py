"""Keras 3 on TensorFlow. How it differs from the spec, and how the adapter handles it:

layout         channels last, TensorFlow's only one for convolutions on a CPU: arrays are transposed at the adapter's
               edges.
flatten        gives H,W,C order: the channels are moved to the front before it.
padding        the words "same" and "valid" only: "same" where it equals the spec's padding, otherwise a pad before.
average pool   "same" does not count what is padded: it serves where the spec does not count it either.
grouped conv   is compiled by XLA on a CPU, at several times the cost of one convolution a group, which is used.
batch norm     momentum is the fraction of the old value.
LRN            Keras has none, TensorFlow's has neither float64 nor even windows: written out.
optimizers     the velocity has the learning rate in it, epsilon stands inside the bias correction, decay is always
               decoupled: written on TensorFlow's fused updates, where a float32 second moment is off by 1.3e-5, see
               `adam`. RMSprop, whose fused update has one form only, is written out.
memory         built in a stateless scope: arrays are allocated when `set_weights` brings their values.
TF32           is switched off: float32 means float32.
threads        are as many within an operation as for operations side by side: TensorFlow's way with as many cores.

Threads and device are the process's and fixed with TensorFlow's first operation.
Mode "" is a loop over the steps inside one `tf.function`, not compiled by XLA. In mode "xla" each step inside that loop
is, once for every size of batch; in mode "eager" each operation is called by itself.
"""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # read when Keras is imported
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only: notes on the processor's instructions fill the log

from frameworks.keras3.adapter import Keras3

__all__ = ["Keras3"]
