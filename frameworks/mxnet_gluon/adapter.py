"""The adapter of MXNet Gluon: its graphs, its defaults and the contract."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, Parameter, nn
from mxnet.ndarray import NDArray

from frameworks.adapter import UNBIASED_RUNNING_VARIANCE, LayerAdapter, Setting, Split, Trained
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.mxnet_gluon.layers import FLOAT64, LAYERS, Auxiliary, BatchNorm
from frameworks.mxnet_gluon.optimizers import clip, mix, update_by_arithmetic, update_by_operators
from frameworks.native import Default, Native
from frameworks.registry import FRAMEWORKS
from frameworks.spec import MaxPool, Network, Node, Shape, lowering, pair, sides
from frameworks.training import AVERAGE, Training

# MXNet warns at every trace of parts of a net that only training or only evaluation has.
warnings.filterwarnings("ignore", "Parameter .* not used by any computation", UserWarning)

# --- graphs -----------------------------------------------------------------------------------------------------------


class Loss(HybridBlock):
    """Of a batch: the loss, auxiliary classifiers included; how many images are correct; batch norms' statistics."""

    def __init__(self, net: HybridBlock, smoothing: float, precision: str) -> None:
        super().__init__()
        self.net, self.smoothing, self.precision = net, smoothing, precision

    def hybrid_forward(self, F: Any, images: Any, labels: Any) -> Any:
        logits = self.net(F.cast(images, self.precision))
        loss = self.cross_entropy(F, logits, labels)
        for head in inside(self.net, Auxiliary):
            loss = loss + head.weight * self.cross_entropy(F, head.logits, labels)
        correct = F.sum(F.argmax(logits, axis=1) == labels)
        return [loss, correct, *(statistic for norm in inside(self.net, BatchNorm) for statistic in norm.batch)]

    def cross_entropy(self, F: Any, logits: Any, labels: Any) -> Any:
        log_p = F.log_softmax(logits)
        loss = -F.mean(F.pick(log_p, labels))
        return (1 - self.smoothing) * loss - self.smoothing * F.mean(log_p) if self.smoothing else loss


class Logits(HybridBlock):
    def __init__(self, net: HybridBlock, precision: str) -> None:
        super().__init__()
        self.net, self.precision = net, precision

    def hybrid_forward(self, F: Any, images: Any) -> Any:
        return self.net(F.cast(images, self.precision))


class Graph:
    """A block as two graphs: one for full batches, one for any other size, so that neither undoes the other's plan."""

    def __init__(self, block: type[HybridBlock], *arguments: Any, active: bool) -> None:
        self.full, self.other = block(*arguments), block(*arguments)
        for graph in (self.full, self.other):
            graph.hybridize(active, static_alloc=True, static_shape=True)

    def __call__(self, batch_size: int, images: NDArray, *labels: NDArray) -> Any:
        graph = self.full if len(images) == batch_size else self.other
        return graph(images, *labels)


# --- adapter ----------------------------------------------------------------------------------------------------------

# Values of an array after which the next array's update waits for its own: arithmetic has temporary arrays, and the
# engine, which runs ahead, would take memory for those of all arrays at once.
LARGE = 1_000_000

# MXNet's defaults.
NATIVE = Native(
    lr_in_velocity=Default(True, "mxnet.optimizer.SGD", "sgd_update of the velocity, then of the weight"),
    epsilon=Default(1e-8, "mxnet.optimizer.Adam, epsilon"),
    epsilon_hat=Default(True, "mxnet.optimizer.Adam", "adam_update's epsilon times sqrt(1 - beta2^t)"),
    rmsprop_epsilon=Default(1e-8, "mxnet.optimizer.RMSProp, epsilon"),
    rmsprop_epsilon_inside=Default(True, "mxnet.ndarray.rmsprop_update", "written out"),
    rmsprop_lr_in_velocity=Default(True, "mxnet.ndarray.rmspropalex_update, gamma2", "written out"),
    rmsprop_rho=Default("0.9", "mxnet.optimizer.RMSProp, gamma1", "given"),
    adadelta_epsilon=Default(1e-5, "mxnet.optimizer.AdaDelta, epsilon", "given"),
    adadelta_rho=Default("0.9", "mxnet.optimizer.AdaDelta, rho", "given"),
    adadelta_lr=Default("none, as if it were 1", "mxnet.optimizer.AdaDelta ignores learning_rate", "written out"),
    adamw_decay=Default("no AdamW", "mxnet.optimizer", "w *= 1 - lr decay before the step"),
    decoupled=Default(False, "mxnet.optimizer.Optimizer, wd"),
    decay_all=Default(True, "mxnet.gluon.Parameter, wd_mult", "wd is 0 for biases, gamma and beta"),
    norm_epsilon=Default(1e-5, "mxnet.gluon.nn.BatchNorm, epsilon"),
    norm_momentum=Default(0.1, "mxnet.gluon.nn.BatchNorm, 1 - momentum"),
    norm_unbiased=Default(False, "mxnet.gluon.nn.BatchNorm", "the same; on a GPU, in float32, a declared departure"),
    sum_squares=Default(False, "mxnet.ndarray.LRN"),
    weights=Default("0.07", "mxnet.initializer.Uniform, scale", "values from outside"),
    biases=Default("0", "mxnet.gluon.nn.Dense, bias_initializer", "values from outside"),
    same_padding=Default("symmetric", "mxnet.gluon.nn.Conv2D, padding; there is no other", "given, or a padding layer"),
    pool_rounding=Default("down", "mxnet.gluon.nn.MaxPool2D, ceil_mode", "given as padding at the bottom and right"),
    padding_counts=Default("counted", "mxnet.gluon.nn.AvgPool2D, count_include_pad", "given"),
    resize_positions=Default(
        "corners", "mxnet.ndarray.contrib.BilinearResize2D, align_corners", "a product of matrices"
    ),
)


class MXNetGluon(LayerAdapter):
    title, modes = FRAMEWORKS["mxnet"].title, FRAMEWORKS["mxnet"].modes
    native = NATIVE
    layers = LAYERS
    layers_float64 = FLOAT64
    velocity_is_update = True
    graph, loss = Graph, Loss

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        if os.environ.get("OMP_NUM_THREADS") != str(setting.threads):
            actual = os.environ.get("OMP_NUM_THREADS", "not set")
            wanted = f"OMP_NUM_THREADS={setting.threads} before Python starts"
            raise Unavailable(f"MXNet has as many threads as OMP_NUM_THREADS says, which is {actual}: set {wanted}")
        if setting.device == "cuda":
            os.environ["NVIDIA_TF32_OVERRIDE"] = str(int(setting.tf32))
            if not mx.context.num_gpus():
                raise Unavailable(f"this build of MXNet, {mx.__version__}, sees no CUDA device")
            if setting.precision == "float32":
                self.departures = (UNBIASED_RUNNING_VARIANCE,)  # type: ignore[misc]  # elsewhere it is biased
        self.context = mx.gpu() if setting.device == "cuda" else mx.cpu()
        if setting.precision == "float64":
            self.layers = {**self.layers, **self.layers_float64}  # type: ignore[misc]
        self.update = update_by_operators if setting.precision == "float32" else update_by_arithmetic
        self.net = self._chain(self.primitives)
        self.net.cast(setting.precision)
        self.blocks = {block.path: block for block in inside(self.net, HybridBlock) if hasattr(block, "path")}
        self._map_variables(self.blocks)
        self.trained: dict[str, Parameter] = self._trained()
        active = setting.mode == ""
        self.train_graph = self.graph(self.loss, self.net, training.label_smoothing, setting.precision, active=active)
        self.predict_graph = self.graph(Logits, self.net, setting.precision, active=active)
        self.net.hybridize(False)  # alone it shows every layer's output; within the two it is part of their graphs
        self.slots: dict[str, list[NDArray]] = {}  # by parameter; created with the first weights
        self.averages: dict[str, NDArray] = {}  # of the trained arrays; created with the first step
        self.data: dict[str, tuple[NDArray, NDArray]] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"mxnet": mx.__version__, "numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        features = mx.runtime.Features()
        return {
            "mode": "hybridized, static_alloc, static_shape" if self.train_graph.full._active else "imperative",
            "threads": os.environ["OMP_NUM_THREADS"],
            "layout": "NCHW",
            "engine": os.environ.get("MXNET_ENGINE_TYPE", "ThreadedEnginePerDevice"),
            "mkldnn": str(features.is_enabled("MKLDNN")),
            "openblas": str(features.is_enabled("BLAS_OPEN")),
            "cudnn": str(features.is_enabled("CUDNN")),
            "cudnn autotune": os.environ.get("MXNET_CUDNN_AUTOTUNE_DEFAULT", "1"),
        }

    def load(self, split: Split, images: Array, labels: Array) -> None:
        # Labels are floats: what `argmax` gives and `pick` takes.
        labels_here = nd.array(labels, self.context, self.setting.precision)
        self.data[split] = nd.array(images, self.context, "uint8"), labels_here

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        mx.random.seed(seed)
        images, labels = self.data["train"]
        here = nd.array(order, self.context, "int32")
        losses, correct = [], []
        for start, lr in zip(range(0, len(order), batch_size), lrs.tolist()):
            batch = here[start : start + batch_size]
            with autograd.record():
                loss, right, *statistics = self.train_graph(batch_size, images.take(batch), labels.take(batch))
            loss.backward()
            self._update(lr, statistics)
            losses.append(loss)
            correct.append(right)
        nd.waitall()
        return Trained(together(losses).astype(np.float64), int(together(correct).sum(dtype=np.float64)))

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        starts = range(0, len(images), batch_size)
        with self._averaged():
            return together([self.predict_graph(batch_size, images[start : start + batch_size]) for start in starts])

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        x, y = (nd.array(array, self.context, self.setting.precision) for array in (images, labels))
        x.attach_grad()
        with self._buffers_restored():
            with autograd.record():
                loss, *_ = self.train_graph.other(x, y)
            loss.backward()
            gradients = {name: parameter.grad().asnumpy() for name, parameter in self.trained.items()}
        return loss.asscalar().item(), gradients | {"input": x.grad.asnumpy()}

    def activations(self, images: Array, training: bool) -> Weights:
        outputs: Weights = {}

        def keep(block: HybridBlock, _: tuple[NDArray, ...], output: NDArray) -> None:
            outputs[block.path] = output.asnumpy()

        hooks = [block.register_forward_hook(keep) for block in self.blocks.values()]
        with self._buffers_restored(), autograd.train_mode() if training else autograd.predict_mode():
            self.net(nd.array(images, self.context, self.setting.precision))
        for hook in hooks:
            hook.detach()
        return outputs

    def peak_memory(self) -> dict[str, int]:
        if self.setting.device == "cpu":
            return super().peak_memory()
        free, total = mx.context.gpu_memory_info()  # the pool gives nothing back: its size now is its peak
        return super().peak_memory() | {"device": total - free}

    # --- layers and variables -----------------------------------------------------------------------------------------

    @classmethod
    def pads(cls, node: Node) -> bool:
        layer: Any = node.layer
        dilated = isinstance(layer, MaxPool) and pair(layer.dilation) != (1, 1)  # of which MXNet has none
        return not dilated and lowering.symmetric(sides(layer.padding))

    def _chain(self, nodes: Sequence[Node]) -> nn.HybridSequential:
        """The blocks of primitives in a row; one that gives a layer's output bears its path."""
        sequence = nn.HybridSequential()
        for node in nodes:
            block = self._builder(node)(node, node.layer, *map(self._chain, node.branches))
            if node.reported:
                block.path = node.path
            sequence.add(block)
        return sequence

    def _declared(self, variable: Parameter) -> tuple[Shape, bool]:
        return tuple(variable.shape), variable.grad_req != "null"

    def _read(self, variable: Parameter | NDArray) -> Array:
        return (variable.data() if isinstance(variable, Parameter) else variable).asnumpy()

    def _write(self, variable: Parameter | NDArray, array: Array) -> None:
        here = variable.data() if isinstance(variable, Parameter) else variable
        # From an NDArray: an assignment from NumPy is refused once oneDNN has laid out a weight in its own way.
        here[:] = nd.array(array, self.context, here.dtype)

    def _allocate(self) -> None:
        if not self.slots:
            self.net.initialize(mx.init.Zero(), self.context)
            for name, parameter in self.trained.items():
                self.slots[name] = [nd.zeros_like(parameter.data()) for _ in self.training.optimizer.slots]

    # --- steps --------------------------------------------------------------------------------------------------------

    def _update(self, lr: float, statistics: Sequence[NDArray]) -> None:
        """Every array's step, and batch norm's running statistics where the layer does not move them itself."""
        training = self.training
        if training.average is not None and not self.averages:
            self.averages = {name: parameter.data().copy() for name, parameter in self.trained.items()}
        if training.clip_norm is not None:
            self._clip([parameter.grad() for parameter in self.trained.values()], training.clip_norm)
        self.steps += 1
        for (name, slots), parameter in zip(self.slots.items(), self.trained.values()):
            options = lr * training.lr_factor(name), training.decay(name)
            weight = parameter.data()
            self.update(training.optimizer, self.steps, *options, weight, parameter.grad(), *slots)
            if self.update is update_by_arithmetic and weight.size > LARGE:
                weight.wait_to_read()
        if training.average is not None:
            self._average(training.average)
        for norm, mean, variance in zip(inside(self.net, BatchNorm), statistics[::2], statistics[1::2]):
            norm.move_running(mean, variance)

    def _clip(self, gradients: Sequence[NDArray], limit: float) -> None:
        clip(gradients, limit)

    def _average(self, decay: float) -> None:
        """Move the averages towards the weights."""
        for name, parameter in self.trained.items():
            mix(self.averages[name], decay, parameter.data())

    def _slots(self) -> dict[str, NDArray]:
        names = self.training.optimizer.slots if self.steps else ()
        slots = {f"{name}/{slot}": array for name, arrays in self.slots.items() for slot, array in zip(names, arrays)}
        return slots | {f"{name}/{AVERAGE}": average for name, average in self.averages.items()}

    def _set_steps(self, steps: int) -> None:
        self.steps = steps
        averaged = steps and self.training.average is not None
        self.averages = {name: nd.zeros_like(each.data()) for name, each in self.trained.items()} if averaged else {}
        for arrays in self.slots.values():
            for array in arrays:
                array[:] = 0


def inside(block: HybridBlock, kind: type[HybridBlock]) -> Iterator[Any]:
    """The blocks of a kind inside another, in reading order."""
    for child in block._children.values():
        if isinstance(child, kind):
            yield child
        yield from inside(child, kind)


def together(arrays: Sequence[NDArray]) -> Array:
    """Parts of an array, joined on the host."""
    return nd.concat(*arrays, dim=0).asnumpy()
