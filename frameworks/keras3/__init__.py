"""Keras 3, on TensorFlow, JAX or PyTorch. How it differs from the spec, and how the adapters handle it:

layout         channels last, TensorFlow's only one for convolutions on a CPU: arrays are transposed at the adapter's
               edges.
flatten        gives H,W,C order: the channels are moved to the front before it.
padding        the words "same" and "valid" only: "same" where it equals the spec's padding, otherwise a pad before.
average pool   "same" does not count what is padded, except on PyTorch, where it does: it serves where the spec agrees.
grouped conv   is compiled by XLA on a CPU with TensorFlow, at several times the cost of one convolution a group, which
               is used there.
batch norm     momentum is the fraction of the old value.
LRN            Keras has none: written out.
optimizers     TensorFlow: the velocity has the learning rate in it, epsilon stands inside the bias correction, decay is
               always decoupled: written on TensorFlow's fused updates, where a float32 second moment is off by 1.3e-5,
               see `adam`. RMSprop, whose fused update has one form only, is written out. JAX and PyTorch: those of
               their own adapters.
memory         built in a stateless scope: arrays are allocated when `set_weights` brings their values.
float64        layers that promote types compute in float32 on JAX and PyTorch: Keras's table of promotions has float64
               while the precision is float64, which is for verification.
16 bits        the policies `mixed_bfloat16` and `mixed_float16`. Layers compute in 16 bits, functions in the precision
               of their input, which is float32 before the first layer. On JAX, a bias is added in float32, for JAX
               sums its gradient in the precision of that sum.
TF32           is off unless the setting asks for it: float32 means float32.
threads        TensorFlow's are as many within an operation as for operations side by side: its way with as many cores.
oneDNN         TensorFlow uses it by default on some processors only: switched on everywhere, unless
               TF_ENABLE_ONEDNN_OPTS says otherwise.

Layers and model are the same on each engine, the loop is the engine's: in `on_tensorflow` a loop over the steps inside
one `tf.function`, not compiled by XLA; in mode "xla" each step inside that loop is, once for every size of batch; in
mode "eager" each operation is called by itself. In `on_jax` and `on_torch` it is that of the adapters of JAX and of
PyTorch. Keras has one engine in a process, which its import decides, so this package imports none of them.

Threads and device are the process's and fixed with the engine's first operation.
"""
