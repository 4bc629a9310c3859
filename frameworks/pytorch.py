"""PyTorch. How it differs from the spec, and what is done about it:

batch norm     the running variance takes the batch's unbiased variance: declared as a departure.
pooling        takes symmetric padding of at most half a window: other padding is a `pad` of its own.
average pool   padding that does not count: the sum of a window, divided by the window's own count.
LRN            the window and the division by its size are the spec's.
optimisers     are the fused ones, but for SGD on a CPU, where array by array is faster. They have neither the rate
               inside the velocity nor epsilon inside the bias correction, and SGD no decoupled decay: a group's
               options and gradients are settled so that its step comes to the spec's.
weight decay   acts on all parameters of a group: weights are one group, the others another.
memory         built on the meta device; arrays are allocated when `set_weights` brings their values.
TF32           is switched off: float32 means float32.
layout         shapes are canonical; in memory channels are last, as PyTorch's tutorial on memory formats advises.

Mode "" is eager, as PyTorch's tutorials teach. In mode "compile" the forward pass with its loss, what autograd makes of
it, and the forward pass of evaluation are each one graph of torch.compile for every size of batch.
"""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frameworks import spec
from frameworks.adapter import UNBIASED_RUNNING_VARIANCE, Adapter, Setting, Split, Trained
from frameworks.arrays import Array, Weights, resize_matrix, window_counts
from frameworks.errors import Unavailable
from frameworks.native import Native, Own
from frameworks.spec import Network, Node, Sides, pair, sides
from frameworks.training import SGD, Adam, Optimizer, Training

# --- layers -----------------------------------------------------------------------------------------------------------


class Function(nn.Module):
    """A layer without trained arrays: `function(x, *constants)`, the constants moving with the module."""

    def __init__(self, function: Callable[..., Tensor], *constants: Array) -> None:
        super().__init__()
        self.function = function
        for number, constant in enumerate(constants):
            self.register_buffer(str(number), torch.from_numpy(constant), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.buffers())


class BatchNorm(nn.Module):
    """`nn.BatchNorm1d` and `2d` in one, with gamma and beta apart and no count of batches."""

    def __init__(self, node: Node, layer: spec.BatchNorm) -> None:
        super().__init__()
        channels = node.input[0]
        self.options = {"momentum": layer.momentum, "eps": layer.eps}
        self.weight = nn.Parameter(torch.empty(channels)) if layer.gamma else None
        self.bias = nn.Parameter(torch.empty(channels)) if layer.beta else None
        self.register_buffer("running_mean", torch.empty(channels))
        self.register_buffer("running_var", torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        running = self.running_mean, self.running_var
        return F.batch_norm(x, *running, self.weight, self.bias, self.training, **self.options)


class Affine(nn.Module):
    def __init__(self, node: Node) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(node.input[0]))
        self.bias = nn.Parameter(torch.empty(node.input[0]))
        self.shape = by_channel(node)

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.bias.view(self.shape), x, self.weight.view(self.shape))


class Concat(nn.Module):
    def __init__(self, chains: Sequence[nn.Module]) -> None:
        super().__init__()
        self.chains = nn.ModuleList(chains)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([chain(x) for chain in self.chains], dim=1)


class Residual(nn.Module):
    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.shortcut(x)


class Auxiliary(nn.Module):
    """Keeps its head's logits for the loss; its input passes on."""

    def __init__(self, head: nn.Module, weight: float) -> None:
        super().__init__()
        self.head, self.weight = head, weight
        self.logits: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.logits = self.head(x) if self.training else None
        return x


def build(node: Node) -> list[nn.Module]:
    """The modules of one layer; the last gives its output and holds its arrays."""
    layer = node.layer
    match layer:
        case spec.Conv():
            own, before = symmetric(sides(layer.padding))
            options = {"padding": own, "groups": layer.groups, "bias": layer.bias}
            conv = nn.Conv2d(node.input[0], layer.channels, pair(layer.kernel), pair(layer.stride), **options)
            return [*pad(before, 0.0), conv]
        case spec.MaxPool():
            own, before = pooled(layer)
            return [*pad(before, -torch.inf), nn.MaxPool2d(pair(layer.kernel), pair(layer.stride), own)]
        case spec.AvgPool():
            return average(node, layer)
        case spec.GlobalAvgPool():
            return [Function(lambda x: x.mean((2, 3), keepdim=True))]
        case spec.Dense():
            return [nn.Linear(node.input[0], layer.units, bias=layer.bias)]
        case spec.BatchNorm():
            return [BatchNorm(node, layer)]
        case spec.Affine():
            return [Affine(node)]
        case spec.LocalResponseNorm():
            return [nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)]
        case spec.Dropout():
            return [nn.Dropout(layer.rate)]
        case spec.ReLU():
            return [nn.ReLU()]
        case spec.Sigmoid():
            return [nn.Sigmoid()]
        case spec.Tanh():
            plain = (layer.amplitude, layer.slope) == (1, 1)
            return [nn.Tanh() if plain else Function(lambda x: layer.amplitude * torch.tanh(layer.slope * x))]
        case spec.Flatten():
            return [nn.Flatten()]
        case spec.Scale():
            return [Function(lambda x: layer.factor * x)]
        case spec.Normalize():
            mean, std = (np.reshape(values, by_channel(node)) for values in (layer.mean, layer.std))
            return [Function(lambda x, mean, std: (x - mean) / std, mean, std)]
        case spec.Resize():
            rows, columns = (resize_matrix(*way) for way in zip(node.input[1:], node.output[1:]))
            return [Function(lambda x, rows, columns: rows @ x @ columns.T, rows, columns)]
        case spec.Select():
            return [Function(lambda x, maps: x.index_select(1, maps), np.array(layer.maps))]
        case spec.Concat():
            return [Concat([chain(branch) for branch in node.branches])]
        case spec.Residual():
            return [Residual(*(chain(branch) for branch in node.branches))]
        case spec.Auxiliary():
            return [Auxiliary(chain(node.branches[0]), layer.weight)]
    raise NotImplementedError(f"{node.path}: the adapter of PyTorch has no {layer.kind}")


def chain(nodes: Sequence[Node]) -> nn.Sequential:
    """The modules of layers in a row; the one that gives a layer's output bears its path."""
    modules = []
    for node in nodes:
        *before, last = build(node)
        last.path = node.path
        modules += [*before, last]
    return nn.Sequential(*modules)


def pad(padding: Sides, value: float) -> list[nn.Module]:
    """A padding layer, or none where there is nothing to pad."""
    (top, bottom), (left, right) = padding
    return [nn.ConstantPad2d((left, right, top, bottom), value)] if any((top, bottom, left, right)) else []


def symmetric(padding: Sides) -> tuple[tuple[int, int], Sides]:
    """What of a padding a layer can do by itself, and what is left to do before it."""
    (top, bottom), (left, right) = padding
    nothing = ((0, 0), (0, 0))
    return ((top, left), nothing) if (top, left) == (bottom, right) else ((0, 0), padding)


def pooled(layer: spec.MaxPool | spec.AvgPool) -> tuple[tuple[int, int], Sides]:
    """The same of a pooling layer, which takes no more than half a window."""
    own, before = symmetric(sides(layer.padding))
    if any(2 * side > window for side, window in zip(own, pair(layer.kernel))):
        return (0, 0), sides(layer.padding)
    return own, before


def average(node: Node, layer: spec.AvgPool) -> list[nn.Module]:
    kernel, stride = pair(layer.kernel), pair(layer.stride)
    if layer.count_padding:
        own, before = pooled(layer)
        return [*pad(before, 0.0), nn.AvgPool2d(kernel, stride, own)]
    counts = window_counts(node.input, kernel, stride, layer.padding).astype(float)
    total = nn.AvgPool2d(kernel, stride, divisor_override=1)
    return [*pad(sides(layer.padding), 0.0), total, Function(torch.div, counts)]


def by_channel(node: Node) -> tuple[int, ...]:
    """The shape in which one value a channel meets a batch."""
    return (-1, *[1] * (len(node.input) - 1))


# --- optimisers -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def adapt(group: dict[str, Any], rule: Optimizer, rate: float, step: int) -> None:
    """A group's options for one step: where torch.optim has a rule in another form, they bring it to the spec's."""
    group["lr"] = rate
    if isinstance(rule, Adam):
        if rule.epsilon_hat:  # torch.optim adds its own to sqrt(v) / sqrt(1 - beta2^t)
            group["eps"] = rule.epsilon / (1 - rule.beta2**step) ** 0.5
        return
    decay = group.setdefault("decay", group["weight_decay"])
    if rule.decoupled:
        group["weight_decay"] = 0.0
        for weight in group["params"] if decay else ():
            weight.mul_(1 - rate * decay)
    if rule.rate_inside and rule.momentum:  # in what the velocity takes, and nowhere else
        group["lr"], group["weight_decay"] = 1.0, 0.0 if rule.decoupled else rate * decay
        for weight in group["params"]:
            weight.grad.mul_(rate)


# --- adapter ----------------------------------------------------------------------------------------------------------

LAYOUT = torch.channels_last  # in memory; shapes stay N x C x H x W

# What a role and an optimiser's array are called in PyTorch.
ATTRIBUTES = {"gamma": "weight", "beta": "bias"}
SLOTS = {"velocity": "momentum_buffer", "first_moment": "exp_avg", "second_moment": "exp_avg_sq"}

# What PyTorch does where nobody says otherwise.
NATIVE = Native(
    rate_inside=Own(False, "torch.optim.SGD"),
    epsilon=Own(1e-8, "torch.optim.Adam, eps"),
    epsilon_hat=Own(False, "torch.optim.Adam"),
    decoupled=Own(False, "torch.optim.SGD and Adam; decoupled is AdamW"),
    decay_all=Own(True, "torch.optim.SGD, weight_decay", "biases, gamma and beta are a group without decay"),
    norm_epsilon=Own(1e-5, "torch.nn.BatchNorm2d, eps"),
    norm_momentum=Own(0.1, "torch.nn.BatchNorm2d, momentum"),
    norm_unbiased=Own(True, "torch.nn.BatchNorm2d", "not brought: declared as a departure, and checked to be one"),
    sum_squares=Own(False, "torch.nn.LocalResponseNorm"),
    weights=Own("1 / sqrt(fan_in)", "torch.nn.Linear", "values from outside"),
    biases=Own("1 / sqrt(fan_in)", "torch.nn.Linear", "values from outside"),
)

MODES = ("", "compile")


def able_to_compile() -> None:
    """`Unavailable` where torch.compile, which writes C++, lacks what it takes; it would say so at the first step."""
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise Unavailable(f"torch.compile needs a C++ compiler and finds no {compiler!r}: install one, or set CXX")
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").exists():
        raise Unavailable(f"torch.compile needs Python.h, which is not in {headers}: install Python's headers")


class PyTorch(Adapter):
    native = NATIVE
    departures = (UNBIASED_RUNNING_VARIANCE,)

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        if setting.mode not in MODES:
            raise Unavailable(f"PyTorch has no mode {setting.mode!r}; there are {', '.join(map(repr, MODES))}")
        if setting.device == "cuda" and not torch.cuda.is_available():
            raise Unavailable(f"this build of PyTorch, {torch.__version__}, sees no CUDA device")
        torch.set_num_threads(setting.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.device = torch.device(setting.device)
        self.dtype = getattr(torch, setting.precision)
        with torch.device("meta"):
            self.net = chain(network.nodes)
        self.layers: dict[str, nn.Module] = {m.path: m for m in self.net.modules() if hasattr(m, "path")}
        self.places = {
            parameter.name: (self.layers[node.path], ATTRIBUTES.get(parameter.role, parameter.role))
            for _, node in network.walk()
            for parameter in node.parameters
        }
        self.arrays = {name: (tuple(t.shape), t.requires_grad) for name, t in self._tensors().items()}
        if setting.mode == "compile":
            self._compile()
        self.heads = [module for module in self.layers.values() if isinstance(module, Auxiliary)]
        self.optimizer: torch.optim.Optimizer = None  # with the first weights
        self.steps = 0
        self.data: dict[str, tuple[Tensor, Tensor]] = {}

    @staticmethod
    def versions() -> dict[str, str]:
        versions = {"torch": torch.__version__, "numpy": np.__version__}
        return versions | ({"cuda": torch.version.cuda} if torch.version.cuda else {})

    def settings(self) -> dict[str, str]:
        return {
            "mode": "torch.compile" if hasattr(self._forward, "__wrapped__") else "eager",
            "threads": str(torch.get_num_threads()),
            "layout": "channels last",
            "optimiser": "fused" if self._fused() else "array by array",
            "tf32": str(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
            "cudnn autotune": str(torch.backends.cudnn.benchmark),
            "vector library": torch.backends.cpu.get_cpu_capability(),
            "mkldnn": str(torch.backends.mkldnn.is_available()),
        }

    def get_weights(self) -> Weights:
        weights = {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._tensors().items()}
        return weights | {name: tensor.cpu().numpy().copy() for name, tensor in self._slots().items()}

    def set_weights(self, weights: Weights) -> None:
        if self.optimizer is None:
            self._allocate()
        with torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(torch.from_numpy(weights[name]))
        self.optimizer = self._new_optimizer()
        self._set_slots(weights)

    def load(self, split: Split, images: Array, labels: Array) -> None:
        # A copy: the arrays may be mapped from a read-only file.
        self.data[split] = torch.tensor(images, device=self.device), torch.tensor(labels, device=self.device)

    def train(self, order: Array, batch_size: int, rates: Array, seed: int) -> Trained:
        torch.manual_seed(seed)
        images, labels = self.data["train"]
        self.net.train()
        losses = torch.empty(len(rates), device=self.device, dtype=self.dtype)
        correct = torch.zeros((), device=self.device, dtype=torch.int64)
        steps = torch.from_numpy(order).to(self.device).split(batch_size)
        for step, (batch, rate) in enumerate(zip(steps, rates.tolist())):
            targets = labels[batch]
            loss, logits = self._forward(images[batch], targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.steps += 1
            for group in self.optimizer.param_groups:
                adapt(group, self.training.optimizer, rate, self.steps)
            self.optimizer.step()
            losses[step] = loss.detach()
            correct += (logits.argmax(1) == targets).sum()
        return Trained(losses.double().cpu().numpy(), int(correct))

    @torch.inference_mode()
    def predict(self, split: Split, batch_size: int) -> Array:
        self.net.eval()
        images, _ = self.data[split]
        steps = images.split(batch_size)
        return torch.cat([self._logits(x) for x in steps]).cpu().numpy()

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        x = torch.tensor(images, device=self.device, dtype=self.dtype, requires_grad=True)
        trained = {name: tensor for name, tensor in self._tensors().items() if tensor.requires_grad}
        with self._running_kept():
            self.net.train()
            loss, _ = self._forward(x, torch.tensor(labels, device=self.device))
            found = torch.autograd.grad(loss, [*trained.values(), x])
        return loss.item(), {name: gradient.cpu().numpy() for name, gradient in zip([*trained, "input"], found)}

    @torch.no_grad()
    def activations(self, images: Array, training: bool) -> Weights:
        outputs: Weights = {}

        def keep(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[module.path] = output.cpu().numpy().copy()

        hooks = [layer.register_forward_hook(keep) for layer in self.layers.values()]
        with self._running_kept():
            self.net.train(training)(torch.tensor(images, device=self.device, dtype=self.dtype))
        for hook in hooks:
            hook.remove()
        return outputs

    def peak_memory(self) -> dict[str, int]:
        device = {"device": torch.cuda.max_memory_allocated()} if self.device.type == "cuda" else {}
        return super().peak_memory() | device

    # --- inside -------------------------------------------------------------------------------------------------------

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, auxiliary classifiers' shares included, and the main logits."""
        smoothing = self.training.label_smoothing
        logits = self.net(images.to(self.dtype, memory_format=LAYOUT))
        loss = F.cross_entropy(logits, labels, label_smoothing=smoothing)
        for head in self.heads:
            loss = loss + head.weight * F.cross_entropy(head.logits, labels, label_smoothing=smoothing)
        return loss, logits.detach()

    def _logits(self, images: Tensor) -> Tensor:
        return self.net(images.to(self.dtype, memory_format=LAYOUT))

    def _compile(self) -> None:
        able_to_compile()
        torch.compiler.reset()  # graphs are kept by code, not by object: those of the network before this would count
        torch._inductor.config.compile_threads = 1  # else a pool of processes, which outlives a worker that is ended
        # A graph for each size: one for all is slower. Whole: nothing falls back to eager unsaid.
        options = {"dynamic": False, "fullgraph": True}
        self._forward = torch.compile(self._forward, **options)  # type: ignore[method-assign]
        self._logits = torch.compile(self._logits, **options)  # type: ignore[method-assign]

    def _tensors(self) -> dict[str, Tensor]:
        return {name: getattr(module, attribute) for name, (module, attribute) in self.places.items()}

    def _allocate(self) -> None:
        """Replace what is on the meta device by memory on the real one, and move the constants there."""
        for module, attribute in self.places.values():
            tensor = torch.empty_like(getattr(module, attribute), device=self.device, dtype=self.dtype)
            trained = isinstance(getattr(module, attribute), nn.Parameter)
            setattr(module, attribute, nn.Parameter(tensor) if trained else tensor)
        self.net.to(self.device, self.dtype, memory_format=LAYOUT)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        trained = {name: tensor for name, tensor in self._tensors().items() if tensor.requires_grad}
        rule = self.training.optimizer
        decayed = [tensor for name, tensor in trained.items() if self.training.decay(name)]
        others = [tensor for name, tensor in trained.items() if not self.training.decay(name)]
        groups = [{"params": decayed, "weight_decay": rule.weight_decay}, {"params": others, "weight_decay": 0.0}]
        if isinstance(rule, SGD):
            options = {"momentum": rule.momentum, "nesterov": rule.nesterov}
            return torch.optim.SGD(groups, lr=0.0, fused=self._fused(), **options)
        kind = torch.optim.AdamW if rule.decoupled else torch.optim.Adam
        return kind(groups, lr=0.0, betas=(rule.beta1, rule.beta2), eps=rule.epsilon, fused=self._fused())

    def _fused(self) -> bool:
        """Whether a step is one pass over the memory. With SGD on a CPU that is slower: docs/performance.md."""
        return self.device.type == "cuda" or not isinstance(self.training.optimizer, SGD)

    def _slots(self) -> dict[str, Tensor]:
        """The optimiser's own arrays by canonical name."""
        found = {"step": torch.tensor(self.steps)}
        for name, tensor in self._tensors().items():
            state = self.optimizer.state.get(tensor, {}) if tensor.requires_grad else {}
            found |= {f"{name}/{slot}": state[SLOTS[slot]] for slot in self.training.optimizer.slots if state}
        return found

    def _set_slots(self, weights: Weights) -> None:
        self.steps = int(weights.get("step", 0))
        for name, tensor in self._tensors().items():
            if self.steps and tensor.requires_grad:
                slots = {slot: weights[f"{name}/{slot}"] for slot in self.training.optimizer.slots}
                # As the weight lies in memory: the fused optimisers walk through both side by side.
                state = {SLOTS[slot]: torch.empty_like(tensor).copy_(torch.from_numpy(slots[slot])) for slot in slots}
                step = torch.tensor(float(self.steps), device=self.device)
                self.optimizer.state[tensor] = state | {"step": step}

    @contextmanager
    def _running_kept(self) -> Iterator[None]:
        """What moves in a forward pass stands again as before."""
        kept = {name: tensor.clone() for name, tensor in self._tensors().items() if not tensor.requires_grad}
        yield
        for name, tensor in kept.items():
            self._tensors()[name].copy_(tensor)
