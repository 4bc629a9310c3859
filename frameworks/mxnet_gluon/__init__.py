"""MXNet Gluon 1.9. How it differs from the spec, and how the adapter handles it:

attributes     the numbers given to an operator (epsilon, momentum, the rate of a dropout or an update) become float32,
               but the scalars of plain arithmetic stay doubles: in float64 such layers and updates are written out.
batch norm     its momentum is the fraction of the old value. The running variance takes the batch's biased variance on
               the CPU, where it moves in the backward pass, and the unbiased one on a GPU: there declared as a
               departure.
LRN            the operator has no float64 and no even sizes, and its gradient is slow on the CPU: in training the mean
               over neighboring channels is a 1 x 1 convolution by a band matrix.
broadcasting   has a slow gradient on the CPU: a factor for each channel is a 1 x 1 convolution, each channel a group.
concatenation  before a convolution, oneDNN gets the gradient of all chains in blocks of 8 or 16 channels. Where a chain
               ends within a block, the gradient of concat divides by 0 (SIGFPE; 8 and 8 channels) or fails (24 and 8).
               The gradient of a slice, here of all channels, is in no blocks.
optimizers     Trainer divides by the batch and decays biases too; its `sgd` has the learning rate in the velocity, its
               `adam` has epsilon before the bias correction, and its `nag` decays the velocity by the new weight. The
               fused operators beneath are called so that they compute the spec's rules. They take 1 - beta2 in float32:
               the second moment is off by 1.3e-5 at 0.999, which the bias correction, of the same rounded betas,
               cancels in the step. `rmsprop` has epsilon inside the root and no momentum: other forms, and Adadelta,
               whose optimizer ignores the learning rate, are written out.
clipping       gluon.utils.clip_global_norm adds 1e-8 to the norm: written out.
last batch     another shape undoes a static graph: full batches have one, other sizes another.
threads        OMP_NUM_THREADS, read when MXNet is imported; another number is refused.
memory         arrays are allocated when `set_weights` brings their values. A split has fewer than 2^31 values.
TF32           MXNet has no switch: NVIDIA's, NVIDIA_TF32_OVERRIDE, is set to 0 before the device is used.

Layouts are canonical already. Mode "" is hybridized with static memory and shapes, as Gluon's tutorials teach; in mode
"imperative" each operation is called by itself.
"""

from __future__ import annotations

from frameworks.mxnet_gluon.adapter import MXNetGluon

__all__ = ["MXNetGluon"]
