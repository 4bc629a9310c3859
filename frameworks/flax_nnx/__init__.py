"""JAX with Flax NNX. How it differs from the spec, and how the adapter handles it:

layout         channels last, Flax's only one: arrays are transposed at the adapter's edges.
flatten        gives H,W,C order: the channels are moved to the front before it.
leaky ReLU     jax.nn.leaky_relu has the derivative 1 at 0: written out.
pooling        JAX does not differentiate a dilated maximum: it is the largest of the places of the windows.
batch norm     momentum is the fraction of the old value; the variance is E[(x - mean)^2], not Flax's default
               E[x^2] - mean^2, which loses digits.
LRN            neither JAX nor Flax has one: written out.
dropout        the masks come from a key of the slice's seed and the step; its counter differs from layer to layer.
optimizers     written out: Optax lacks epsilon inside the bias correction and the learning rate in the velocity of SGD,
               and computes 1 - beta^t with a loss of digits.
memory         built by `nnx.eval_shape`: arrays are allocated when `set_weights` brings their values.
16 bits        convolutions and dense layers compute in the module's `dtype`, with arrays in `param_dtype` float32. A
               bias is added in float32, for JAX sums its gradient in the precision of that sum. Normalizations compute
               in float32, where Flax would round running statistics in evaluation. The rest follows its input, which
               is float32 before the first module. On a CPU, XLA may leave out no rounding between layers.
TF32           is off unless the setting asks for it: float32 means float32.
threads        XLA reads their number once in a process, from NPROC.

Mode "" is one jitted step whose state is donated; on a GPU it is mode "scan". In that mode the steps of a slice are a
`lax.scan`, in blocks of `BLOCK` steps, which is slower on a CPU. XLA compiles the block of a batch size before its
first slice, with the step.
"""

from __future__ import annotations

from frameworks.flax_nnx.adapter import FlaxNNX

__all__ = ["FlaxNNX"]
