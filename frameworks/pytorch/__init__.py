"""PyTorch. How it differs from the spec, and how the adapter handles it:

batch norm     the running variance takes the batch's unbiased variance: declared as a departure.
optimizers     are the fused ones of SGD and Adam, but for SGD on a CPU, where array by array is faster. They lack the
               learning rate inside the velocity and epsilon inside the bias correction, and SGD, RMSprop and Adadelta
               lack decoupled decay: a group's options and gradients are set so that its step equals the spec's.
               RMSprop with epsilon inside the root or the learning rate in the velocity is written out.
weight decay   acts on all parameters of a group: arrays with the same decay and learning rate are a group.
clipping       clip_grad_norm_ adds 1e-6 to the norm: written out.
memory         built on the meta device; arrays are allocated when `set_weights` brings their values.
TF32           is off unless the setting asks for it: float32 means float32.
autocast       computes layers in bfloat16 or float16; arrays, losses and logits are in float32. In float16,
               torch.amp.GradScaler scales the loss. Local response normalization stays in float32.
layout         shapes are canonical; in memory channels are last, as PyTorch's tutorial on memory formats advises.

Mode "" is eager, as PyTorch's tutorials teach. In mode "compile" the forward pass with its loss, what autograd makes of
it, and the forward pass of evaluation are each one graph of torch.compile for every size of batch; on an NVIDIA GPU
these are CUDA graphs. In mode "graph", for NVIDIA GPUs, a whole training step is one CUDA graph for each size of batch,
from the gathering of its images to the update; evaluation is eager. A training of which the host changes more than the
learning rate in each step is refused: see `graphs.host_part`.
"""

from __future__ import annotations

from frameworks.pytorch.adapter import PyTorch

__all__ = ["PyTorch"]
