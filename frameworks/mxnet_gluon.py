"""MXNet Gluon 1.9. How it differs from the spec, and what is done about it:

attributes     the numbers given to an operator (epsilon, momentum, the rate of a dropout or an update) become float32,
               but the scalars of plain arithmetic stay doubles: in float64 such layers and updates are written out.
batch norm     its momentum is the share of the old value. The running variance takes the batch's biased variance on the
               CPU, where it moves in the backward pass, and the unbiased one on a GPU: there declared as a departure.
pooling        takes symmetric padding only: other padding is a `pad` of its own.
LRN            the operator has no float64 and no even sizes, and its gradient is slow on the CPU: in training the mean
               over neighbouring channels is a 1 x 1 convolution by a band matrix.
broadcasting   has a slow gradient on the CPU: one factor a channel is a 1 x 1 convolution, each channel a group.
optimisers     Trainer divides by the batch and decays biases too; its `sgd` holds the rate in the velocity, its `adam`
               has epsilon before the bias correction, and its `nag` decays the velocity by the new weight. The fused
               operators beneath are called so that they compute what the spec says. They take 1 - beta2 in float32:
               the second moment is off by 1.3e-5 at 0.999, which the bias correction, of the same rounded betas,
               takes out of the step.
last batch     another shape undoes a static graph: full batches have one, other sizes another.
threads        OMP_NUM_THREADS, read when MXNet is imported; another number is refused.
memory         arrays are allocated when `set_weights` brings their values. A split has fewer than 2^31 values.
TF32           MXNet has no switch: NVIDIA's, NVIDIA_TF32_OVERRIDE, is set to 0 before the device is used.

Layouts are canonical already. Mode "" is hybridized with static memory and shapes, as Gluon's tutorials teach; in mode
"imperative" each operation is called by itself.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import autograd, nd
from mxnet.gluon import HybridBlock, Parameter, nn
from mxnet.ndarray import NDArray

from frameworks import spec
from frameworks.adapter import UNBIASED_RUNNING_VARIANCE, Adapter, Setting, Split, Trained
from frameworks.arrays import Array, Weights, resize_matrix, window_counts
from frameworks.errors import Unavailable
from frameworks.native import Native, Own
from frameworks.spec import Network, Node, Sides, pair, sides
from frameworks.training import SGD, Adam, Optimizer, Training

# Parts of a net that only training or only evaluation has are told of at every trace.
warnings.filterwarnings("ignore", "Parameter .* not used by any computation", UserWarning)

# --- layers -----------------------------------------------------------------------------------------------------------

# `F` is mxnet.nd or, while a graph is traced, mxnet.sym; what flows through is an array of the one or the other.


class Function(HybridBlock):
    """A layer without trained arrays: `function(F, x, *constants)`."""

    def __init__(self, function: Callable[..., Any], *constants: Array) -> None:
        super().__init__()
        self.function = function
        for number, constant in enumerate(constants):
            name = f"constant{number}"
            setattr(self, name, self.params.get_constant(name, nd.array(constant, dtype="float64")))

    def hybrid_forward(self, F: Any, x: Any, **constants: Any) -> Any:
        return self.function(F, x, *constants.values())


class BatchNorm(HybridBlock):
    """Batch normalisation in plain arithmetic; what the running statistics are to move towards is left in `batch`."""

    def __init__(self, node: Node, layer: spec.BatchNorm) -> None:
        super().__init__()
        self.eps, self.momentum = layer.eps, layer.momentum
        self.shape = by_channel(node)
        for parameter in node.parameters:
            trained = "write" if parameter.trainable else "null"
            array = self.params.get(parameter.role, shape=parameter.shape, grad_req=trained)
            setattr(self, parameter.role, array)

    def hybrid_forward(
        self, F: Any, x: Any, running_mean: Any, running_var: Any, gamma: Any = None, beta: Any = None
    ) -> Any:
        mean, variance = F.reshape(running_mean, self.shape), F.reshape(running_var, self.shape)
        if autograd.is_training():
            mean = F.mean(x, axis=1, exclude=True, keepdims=True)
            variance = F.mean(F.square(F.broadcast_sub(x, mean)), axis=1, exclude=True, keepdims=True)
            self.batch = F.reshape(mean, (-1,)), F.reshape(variance, (-1,))
        y = F.broadcast_div(F.broadcast_sub(x, mean), F.sqrt(variance + self.eps))
        y = y if gamma is None else F.broadcast_mul(y, F.reshape(gamma, self.shape))
        return y if beta is None else F.broadcast_add(y, F.reshape(beta, self.shape))

    def move_running(self, mean: NDArray, variance: NDArray) -> None:
        for running, batch in ((self.running_mean.data(), mean), (self.running_var.data(), variance)):
            running *= 1 - self.momentum
            running += self.momentum * batch


class Affine(HybridBlock):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self.gamma = self.params.get("gamma", shape=(node.input[0],))
        self.beta = self.params.get("beta", shape=(node.input[0],))
        self.function = affine(node)

    def hybrid_forward(self, F: Any, x: Any, gamma: Any, beta: Any) -> Any:
        return self.function(F, x, gamma, beta)


class Concat(HybridBlock):
    def __init__(self, chains: Sequence[HybridBlock]) -> None:
        super().__init__()
        self.chains = chains
        for chain in chains:
            self.register_child(chain)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.concat(*(chain(x) for chain in self.chains), dim=1)


class Residual(HybridBlock):
    def __init__(self, body: HybridBlock, shortcut: HybridBlock) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.body(x) + self.shortcut(x)


class Auxiliary(HybridBlock):
    """Keeps its head's logits for the loss; its input passes on."""

    def __init__(self, head: HybridBlock, weight: float) -> None:
        super().__init__()
        self.head, self.weight = head, weight
        self.logits: Any = None

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        self.logits = self.head(x) if autograd.is_training() else None
        return x


def build(node: Node, precision: str) -> list[HybridBlock]:
    """The blocks of one layer; the last gives its output and holds its arrays under their roles."""
    layer = node.layer
    match layer:
        case spec.Conv():
            own, before = symmetric(sides(layer.padding))
            options = {"padding": own, "groups": layer.groups, "use_bias": layer.bias, "in_channels": node.input[0]}
            conv = nn.Conv2D(layer.channels, pair(layer.kernel), pair(layer.stride), **options)
            return [*pad(before, 0.0), conv]
        case spec.MaxPool():
            own, before = symmetric(sides(layer.padding))
            return [*pad(before, -np.inf), nn.MaxPool2D(pair(layer.kernel), pair(layer.stride), own)]
        case spec.AvgPool():
            return average(node, layer)
        case spec.GlobalAvgPool():
            return [nn.GlobalAvgPool2D()]
        case spec.Dense():
            return [nn.Dense(layer.units, use_bias=layer.bias, in_units=node.input[0])]
        case spec.BatchNorm():
            if precision == "float64":
                return [BatchNorm(node, layer)]
            options = {"momentum": 1 - layer.momentum, "epsilon": layer.eps, "in_channels": node.input[0]}
            return [nn.BatchNorm(center=layer.beta, scale=layer.gamma, **options)]
        case spec.Affine():
            return [Affine(node)]
        case spec.LocalResponseNorm():
            return [local_response_norm(node, layer, precision)]
        case spec.Dropout():
            return [nn.Dropout(layer.rate) if precision == "float32" else Function(dropout(layer.rate))]
        case spec.ReLU():
            return [nn.Activation("relu")]
        case spec.Sigmoid():
            return [nn.Activation("sigmoid")]
        case spec.Tanh():
            plain = (layer.amplitude, layer.slope) == (1, 1)
            scaled = Function(lambda F, x: layer.amplitude * F.tanh(layer.slope * x))
            return [nn.Activation("tanh") if plain else scaled]
        case spec.Flatten():
            return [nn.Flatten()]
        case spec.Scale():
            return [Function(lambda F, x: layer.factor * x)]
        case spec.Normalize():
            mean, std = (np.resize(values, node.input[0]) for values in (layer.mean, layer.std))
            return [Function(affine(node), 1 / std, -mean / std)]
        case spec.Resize():
            return [resize(node)]
        case spec.Select():
            runs = consecutive(layer.maps)
            return [Function(lambda F, x: F.concat(*(F.slice_axis(x, 1, *run) for run in runs), dim=1))]
        case spec.Concat():
            return [Concat([chain(branch, precision) for branch in node.branches])]
        case spec.Residual():
            return [Residual(*(chain(branch, precision) for branch in node.branches))]
        case spec.Auxiliary():
            return [Auxiliary(chain(node.branches[0], precision), layer.weight)]
    raise NotImplementedError(f"{node.path}: the adapter of MXNet has no {layer.kind}")


def chain(nodes: Sequence[Node], precision: str) -> nn.HybridSequential:
    """The blocks of layers in a row; the one that gives a layer's output bears its path."""
    sequence = nn.HybridSequential()
    for node in nodes:
        *before, last = build(node, precision)
        last.path = node.path
        sequence.add(*before, last)
    return sequence


def pad(padding: Sides, value: float) -> list[HybridBlock]:
    """A padding layer, or none where there is nothing to pad."""
    (top, bottom), (left, right) = padding
    width = (0, 0, 0, 0, top, bottom, left, right)
    return [Function(lambda F, x: F.pad(x, "constant", width, value))] if any(width) else []


def symmetric(padding: Sides) -> tuple[tuple[int, int], Sides]:
    """What of a padding a layer can do by itself, and what is left to do before it."""
    (top, bottom), (left, right) = padding
    nothing = ((0, 0), (0, 0))
    return ((top, left), nothing) if (top, left) == (bottom, right) else ((0, 0), padding)


def average(node: Node, layer: spec.AvgPool) -> list[HybridBlock]:
    own, before = symmetric(sides(layer.padding))
    kernel, stride = pair(layer.kernel), pair(layer.stride)
    if layer.count_padding or not pad(before, 0.0):
        return [*pad(before, 0.0), nn.AvgPool2D(kernel, stride, own, count_include_pad=layer.count_padding)]
    counts = window_counts(node.input, kernel, stride, layer.padding) / np.prod(kernel)
    share = Function(lambda F, x, counts: F.broadcast_div(x, counts), counts[None, None])
    return [*pad(before, 0.0), nn.AvgPool2D(kernel, stride), share]


def affine(node: Node) -> Callable[..., Any]:
    """factor[c] x[c] + offset[c], as a function of F, x, factor and offset."""
    channels, *size = node.input
    options = {"kernel": (1, 1), "num_filter": channels, "num_group": channels}

    def function(F: Any, x: Any, factor: Any, offset: Any) -> Any:
        if size:
            return F.Convolution(x, F.reshape(factor, (-1, 1, 1, 1)), offset, **options)
        return F.broadcast_add(F.broadcast_mul(x, F.expand_dims(factor, 0)), F.expand_dims(offset, 0))

    return function


def local_response_norm(node: Node, layer: spec.LocalResponseNorm, precision: str) -> HybridBlock:
    channels, size = node.input[0], layer.size
    away = np.arange(channels) - np.arange(channels)[:, None]  # column's channel less row's
    band = ((-(size // 2) <= away) & (away <= (size - 1) // 2)) / size
    own = {"alpha": layer.alpha, "beta": layer.beta, "knorm": layer.k, "nsize": size}

    def function(F: Any, x: Any, band: Any) -> Any:
        if precision == "float32" and size % 2 and not autograd.is_training():
            return F.LRN(x, **own)
        mean = F.Convolution(F.square(x), band, kernel=(1, 1), num_filter=channels, no_bias=True)
        return x * (layer.k + layer.alpha * mean) ** -layer.beta

    return Function(function, band[:, :, None, None])


def dropout(rate: float) -> Callable[..., Any]:
    """The operator draws the mask alone: what it multiplies by is float32."""

    def function(F: Any, x: Any) -> Any:
        return x * (F.Dropout(F.ones_like(x), p=rate) > 0) / (1 - rate) if autograd.is_training() else x

    return function


def resize(node: Node) -> HybridBlock:
    """Columns by a matrix product; rows by a 1 x 1 convolution that takes them for channels."""
    rows, columns = (resize_matrix(*way) for way in zip(node.input[1:], node.output[1:]))
    channels, height, _ = node.output

    def function(F: Any, x: Any, rows: Any, columns: Any) -> Any:
        wide = F.expand_dims(F.reshape(F.dot(x, columns), (-3, 0, 0)), 3)  # N*C x H x W' x 1
        high = F.Convolution(wide, rows, kernel=(1, 1), num_filter=height, no_bias=True)
        return F.reshape(high, (-4, -1, channels, 0, -3))

    return Function(function, rows[:, :, None, None], columns.T)


def consecutive(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """(begin, end) of each run of numbers that follow each other."""
    cuts = [0, *(i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1), len(numbers)]
    return [(numbers[begin], numbers[end - 1] + 1) for begin, end in pairwise(cuts)]


def by_channel(node: Node) -> tuple[int, ...]:
    """The shape in which one value a channel meets a batch."""
    return (1, -1, *[1] * (len(node.input) - 1))


# --- graphs -----------------------------------------------------------------------------------------------------------


class Loss(HybridBlock):
    """Of a batch: the loss, auxiliary classifiers' shares included; how many were right; batch norms' statistics."""

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


# --- optimisers -------------------------------------------------------------------------------------------------------


def update_by_operators(
    rule: Optimizer, step: int, rate: float, decay: float, weight: NDArray, gradient: NDArray, *slots: NDArray
) -> None:
    """One array's step by the fused operators. The gradient is spent."""
    if rule.decoupled:
        weight *= 1 - rate * decay
        decay = 0.0
    if isinstance(rule, Adam):
        beta1, beta2 = float(np.float32(rule.beta1)), float(np.float32(rule.beta2))  # as the operator has them
        root = (1 - beta2**step) ** 0.5
        options = {"beta1": beta1, "beta2": beta2, "wd": decay, "out": weight}
        rate *= root / (1 - beta1**step)
        # The operator's stands inside the bias correction, beside the root of a moment that is off as `root` is.
        epsilon = rule.epsilon * root / ((1 - rule.beta2**step) ** 0.5 if rule.epsilon_hat else 1)
        nd.adam_update(weight, gradient, *slots, lr=rate, epsilon=epsilon, **options)
    elif not slots:
        nd.sgd_update(weight, gradient, lr=rate, wd=decay, out=weight)
    elif rule.rate_inside and rule.nesterov:
        if decay:  # the operator's own would enter the velocity with the new weight
            nd.sgd_update(gradient, weight, lr=-decay, out=gradient)
        nd.nag_mom_update(weight, gradient, *slots, momentum=rule.momentum, lr=rate, out=weight)
    elif rule.rate_inside:
        nd.sgd_mom_update(weight, gradient, *slots, momentum=rule.momentum, lr=rate, wd=decay, out=weight)
    else:  # sgd_update(y, x, lr=a, wd=b) is y = (1 - a b) y - a x
        if decay:
            nd.sgd_update(gradient, weight, lr=-decay, out=gradient)
        nd.sgd_update(*slots, gradient, lr=-1, wd=rule.momentum - 1, out=slots[0])
        if rule.nesterov:
            nd.sgd_update(gradient, *slots, lr=-rule.momentum, out=gradient)
        nd.sgd_update(weight, *([gradient] if rule.nesterov else slots), lr=rate, out=weight)


def update_by_arithmetic(
    rule: Optimizer, step: int, rate: float, decay: float, weight: NDArray, gradient: NDArray, *slots: NDArray
) -> None:
    """One array's step as `frameworks/training.py` has it, in doubles. The gradient is spent."""
    if rule.decoupled:
        weight *= 1 - rate * decay
    else:
        gradient += decay * weight
    if isinstance(rule, Adam):
        first, second = slots
        first *= rule.beta1
        first += (1 - rule.beta1) * gradient
        second *= rule.beta2
        second += (1 - rule.beta2) * gradient * gradient
        correction = 1 - rule.beta2**step
        epsilon = rule.epsilon / (correction**0.5 if rule.epsilon_hat else 1)
        root = nd.sqrt(second / correction) + epsilon
        weight -= rate / (1 - rule.beta1**step) * first / root
        return
    if rule.rate_inside:
        gradient *= -rate
        rate = -1.0
    for velocity in slots:
        velocity *= rule.momentum
        velocity += gradient
        gradient = gradient + rule.momentum * velocity if rule.nesterov else velocity
    weight -= rate * gradient


# --- adapter ----------------------------------------------------------------------------------------------------------


# What MXNet does where nobody says otherwise.
NATIVE = Native(
    rate_inside=Own(True, "mxnet.optimizer.SGD", "sgd_update of the velocity, then of the weight"),
    epsilon=Own(1e-8, "mxnet.optimizer.Adam, epsilon"),
    epsilon_hat=Own(True, "mxnet.optimizer.Adam", "adam_update's epsilon times sqrt(1 - beta2^t)"),
    decoupled=Own(False, "mxnet.optimizer.Optimizer, wd"),
    decay_all=Own(True, "mxnet.gluon.Parameter, wd_mult", "wd is 0 for biases, gamma and beta"),
    norm_epsilon=Own(1e-5, "mxnet.gluon.nn.BatchNorm, epsilon"),
    norm_momentum=Own(0.1, "mxnet.gluon.nn.BatchNorm, 1 - momentum"),
    norm_unbiased=Own(False, "mxnet.gluon.nn.BatchNorm", "the same; on a GPU, in float32, a declared departure"),
    sum_squares=Own(False, "mxnet.ndarray.LRN"),
    weights=Own("0.07", "mxnet.initializer.Uniform, scale", "values from outside"),
    biases=Own("0", "mxnet.gluon.nn.Dense, bias_initializer", "values from outside"),
)


MODES = ("", "imperative")


class MXNetGluon(Adapter):
    native = NATIVE

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        if setting.mode not in MODES:
            raise Unavailable(f"MXNet Gluon has no mode {setting.mode!r}; there are {', '.join(map(repr, MODES))}")
        if os.environ.get("OMP_NUM_THREADS") != str(setting.threads):
            found = os.environ.get("OMP_NUM_THREADS", "not set")
            wanted = f"OMP_NUM_THREADS={setting.threads} before Python starts"
            raise Unavailable(f"MXNet has as many threads as OMP_NUM_THREADS says, which is {found}: set {wanted}")
        if setting.device == "cuda":
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
            if not mx.context.num_gpus():
                raise Unavailable(f"this build of MXNet, {mx.__version__}, sees no CUDA device")
            if setting.precision == "float32":
                self.departures = (UNBIASED_RUNNING_VARIANCE,)  # type: ignore[misc]  # elsewhere it is biased
        self.context = mx.gpu() if setting.device == "cuda" else mx.cpu()
        self.net = chain(network.nodes, setting.precision)
        self.net.cast(setting.precision)
        self.layers = {block.path: block for block in inside(self.net, HybridBlock) if hasattr(block, "path")}
        self.places: dict[str, Parameter] = {
            parameter.name: getattr(self.layers[node.path], parameter.role)
            for _, node in network.walk()
            for parameter in node.parameters
        }
        self.arrays = {name: (tuple(p.shape), p.grad_req != "null") for name, p in self.places.items()}
        active = setting.mode == ""
        self.loss = Graph(Loss, self.net, training.label_smoothing, setting.precision, active=active)
        self.logits = Graph(Logits, self.net, setting.precision, active=active)
        self.net.hybridize(False)  # alone it shows every layer's output; within the two it is part of their graphs
        self.update = update_by_operators if setting.precision == "float32" else update_by_arithmetic
        self.slots: dict[str, list[NDArray]] = {}  # with the first weights
        # A velocity that holds the rate is, as Gluon has it, the weight's change: the spec's with its sign turned.
        self.sign = -1.0 if isinstance(training.optimizer, SGD) and training.optimizer.rate_inside else 1.0
        self.steps = 0
        self.data: dict[str, tuple[NDArray, NDArray]] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"mxnet": mx.__version__, "numpy": np.__version__}

    def settings(self) -> dict[str, str]:
        features = mx.runtime.Features()
        return {
            "mode": "hybridized, static_alloc, static_shape" if self.loss.full._active else "imperative",
            "threads": os.environ["OMP_NUM_THREADS"],
            "layout": "NCHW",
            "engine": os.environ.get("MXNET_ENGINE_TYPE", "ThreadedEnginePerDevice"),
            "mkldnn": str(features.is_enabled("MKLDNN")),
            "openblas": str(features.is_enabled("BLAS_OPEN")),
            "cudnn": str(features.is_enabled("CUDNN")),
            "cudnn autotune": os.environ.get("MXNET_CUDNN_AUTOTUNE_DEFAULT", "1"),
        }

    def get_weights(self) -> Weights:
        weights = {name: parameter.data().asnumpy() for name, parameter in self.places.items()}
        if self.steps:
            names = self.training.optimizer.slots
            for name, own in self.slots.items():
                weights |= {f"{name}/{key}": self.sign * slot.asnumpy() for key, slot in zip(names, own)}
        return weights | {"step": np.array(self.steps)}

    def set_weights(self, weights: Weights) -> None:
        if not self.slots:
            self._allocate()
        for name, parameter in self.places.items():
            parameter.set_data(nd.array(weights[name], self.context, self.setting.precision))
        self.steps = int(weights.get("step", 0))
        for name, own in self.slots.items():
            for slot, array in zip(self.training.optimizer.slots, own):
                array[:] = self.sign * weights[f"{name}/{slot}"] if self.steps else 0

    def load(self, split: Split, images: Array, labels: Array) -> None:
        # Labels are floats: what `argmax` gives and `pick` takes.
        labels_here = nd.array(labels, self.context, self.setting.precision)
        self.data[split] = nd.array(images, self.context, "uint8"), labels_here

    def train(self, order: Array, batch_size: int, rates: Array, seed: int) -> Trained:
        mx.random.seed(seed)
        images, labels = self.data["train"]
        here = nd.array(order, self.context, "int32")
        losses, correct = [], []
        for start, rate in zip(range(0, len(order), batch_size), rates.tolist()):
            batch = here[start : start + batch_size]
            with autograd.record():
                loss, right, *statistics = self.loss(batch_size, images.take(batch), labels.take(batch))
            loss.backward()
            self._step(rate, statistics)
            losses.append(loss)
            correct.append(right)
        nd.waitall()
        return Trained(together(losses).astype(np.float64), int(together(correct).sum(dtype=np.float64)))

    def predict(self, split: Split, batch_size: int) -> Array:
        images, _ = self.data[split]
        starts = range(0, len(images), batch_size)
        return together([self.logits(batch_size, images[start : start + batch_size]) for start in starts])

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        x, y = (nd.array(array, self.context, self.setting.precision) for array in (images, labels))
        x.attach_grad()
        with self._running_kept():
            with autograd.record():
                loss, *_ = self.loss.other(x, y)
            loss.backward()
            found = {name: self.places[name].grad().asnumpy() for name in self.slots}
        return loss.asscalar().item(), found | {"input": x.grad.asnumpy()}

    def activations(self, images: Array, training: bool) -> Weights:
        outputs: Weights = {}

        def keep(block: HybridBlock, _: tuple[NDArray, ...], output: NDArray) -> None:
            outputs[block.path] = output.asnumpy()

        hooks = [layer.register_forward_hook(keep) for layer in self.layers.values()]
        with self._running_kept(), autograd.train_mode() if training else autograd.predict_mode():
            self.net(nd.array(images, self.context, self.setting.precision))
        for hook in hooks:
            hook.detach()
        return outputs

    def peak_memory(self) -> dict[str, int]:
        if self.setting.device == "cpu":
            return super().peak_memory()
        free, total = mx.context.gpu_memory_info()  # the pool gives nothing back: what is taken now is its peak
        return super().peak_memory() | {"device": total - free}

    # --- inside -------------------------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        self.net.initialize(mx.init.Zero(), self.context)
        for name, (_, trained) in self.arrays.items():
            if trained:
                zeros = [nd.zeros_like(self.places[name].data()) for _ in self.training.optimizer.slots]
                self.slots[name] = zeros

    def _step(self, rate: float, statistics: Sequence[NDArray]) -> None:
        """Every array's update, and batch norm's running ones where the layer does not move them itself."""
        self.steps += 1
        rule = self.training.optimizer
        for name, slots in self.slots.items():
            parameter, decay = self.places[name], self.training.decay(name)
            self.update(rule, self.steps, rate, decay, parameter.data(), parameter.grad(), *slots)
        for norm, mean, variance in zip(inside(self.net, BatchNorm), statistics[::2], statistics[1::2]):
            norm.move_running(mean, variance)

    @contextmanager
    def _running_kept(self) -> Iterator[None]:
        """What moves in a pass stands again as before."""
        kept = {name: p.data().copy() for name, p in self.places.items() if p.grad_req == "null"}
        yield
        for name, array in kept.items():
            self.places[name].set_data(array)


def inside(block: HybridBlock, kind: type[HybridBlock]) -> Iterator[Any]:
    """The blocks of a kind inside another, in reading order."""
    for child in block._children.values():
        if isinstance(child, kind):
            yield child
        yield from inside(child, kind)


def together(arrays: Sequence[NDArray]) -> Array:
    """Parts of one array, on the host."""
    return nd.concat(*arrays, dim=0).asnumpy()
