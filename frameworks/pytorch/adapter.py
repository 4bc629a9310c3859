"""The adapter of PyTorch: its defaults and the contract."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frameworks.adapter import UNBIASED_RUNNING_VARIANCE, LayerAdapter, Setting, Split, Trained
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.native import Default, Native
from frameworks.pytorch.layers import LAYERS, Auxiliary
from frameworks.pytorch.optimizers import SLOTS, OtherRMSprop, adapt, clip
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network, Node, Shape
from frameworks.training import AVERAGE, SGD, Adadelta, Adam, RMSprop, Training

LAYOUT = torch.channels_last  # in memory; shapes stay N x C x H x W

# What a role is called in PyTorch.
ROLES = {"gamma": "weight", "beta": "bias"}

# PyTorch's defaults.
NATIVE = Native(
    lr_in_velocity=Default(False, "torch.optim.SGD"),
    epsilon=Default(1e-8, "torch.optim.Adam, eps"),
    epsilon_hat=Default(False, "torch.optim.Adam"),
    rmsprop_epsilon=Default(1e-8, "torch.optim.RMSprop, eps"),
    rmsprop_epsilon_inside=Default(False, "torch.optim.RMSprop"),
    rmsprop_lr_in_velocity=Default(False, "torch.optim.RMSprop, momentum"),
    rmsprop_rho=Default("0.99", "torch.optim.RMSprop, alpha", "given"),
    adadelta_epsilon=Default(1e-6, "torch.optim.Adadelta, eps"),
    adadelta_rho=Default("0.9", "torch.optim.Adadelta, rho", "given"),
    adadelta_lr=Default("1", "torch.optim.Adadelta, lr", "given"),
    adamw_decay=Default("0.01", "torch.optim.AdamW, weight_decay", "given"),
    decoupled=Default(False, "torch.optim.SGD and Adam; decoupled is AdamW"),
    decay_all=Default(True, "torch.optim.SGD, weight_decay", "biases, gamma and beta are a group without decay"),
    norm_epsilon=Default(1e-5, "torch.nn.BatchNorm2d, eps"),
    norm_momentum=Default(0.1, "torch.nn.BatchNorm2d, momentum"),
    norm_unbiased=Default(True, "torch.nn.BatchNorm2d", "not aligned: declared as a departure, and checked to be one"),
    sum_squares=Default(False, "torch.nn.LocalResponseNorm"),
    weights=Default("1 / sqrt(fan_in)", "torch.nn.Linear", "values from outside"),
    biases=Default("1 / sqrt(fan_in)", "torch.nn.Linear", "values from outside"),
    same_padding=Default("symmetric", 'torch.nn.Conv2d, padding; padding="same" is refused at stride 2', "given"),
    pool_rounding=Default("down", "torch.nn.MaxPool2d, ceil_mode", "given as padding at the bottom and right"),
    padding_counts=Default("counted", "torch.nn.AvgPool2d, count_include_pad", "given"),
    resize_positions=Default("half pixel", "torch.nn.functional.interpolate, align_corners", "a product of matrices"),
)


def check_compiler() -> None:
    """`Unavailable` where torch.compile, which writes C++, lacks what it needs; otherwise its first step fails."""
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise Unavailable(f"torch.compile needs a C++ compiler and finds no {compiler!r}: install one, or set CXX")
    headers = sysconfig.get_path("include")
    if not Path(headers, "Python.h").exists():
        raise Unavailable(f"torch.compile needs Python.h, which is not in {headers}: install Python's headers")


class PyTorch(LayerAdapter):
    title, modes = FRAMEWORKS["torch"].title, FRAMEWORKS["torch"].modes
    native = NATIVE
    departures = (UNBIASED_RUNNING_VARIANCE,)
    layers = LAYERS
    roles = ROLES

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        if setting.device == "cuda" and not torch.cuda.is_available():
            raise Unavailable(f"this build of PyTorch, {torch.__version__}, sees no CUDA device")
        torch.set_num_threads(setting.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self.device = torch.device(setting.device)
        self.dtype = getattr(torch, setting.precision)
        with torch.device("meta"):
            self.net = self._chain(self.primitives)
        self.modules: dict[str, nn.Module] = {m.path: m for m in self.net.modules() if hasattr(m, "path")}
        self._map_variables(self.modules)
        if setting.mode == "compile":
            self._compile()
        self.heads = [module for module in self.modules.values() if isinstance(module, Auxiliary)]
        self.optimizer: torch.optim.Optimizer = None  # created with the first weights
        self.averages: dict[str, Tensor] = {}  # of the trained arrays; created with the first step
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
            "optimizer": "fused" if self._fused() else "array by array",
            "tf32": str(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
            "cudnn autotune": str(torch.backends.cudnn.benchmark),
            "vector library": torch.backends.cpu.get_cpu_capability(),
            "mkldnn": str(torch.backends.mkldnn.is_available()),
        }

    def load(self, split: Split, images: Array, labels: Array) -> None:
        # A copy: the arrays may be mapped from a read-only file.
        self.data[split] = torch.tensor(images, device=self.device), torch.tensor(labels, device=self.device)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        torch.manual_seed(seed)
        images, labels = self.data["train"]
        self.net.train()
        losses = torch.empty(len(lrs), device=self.device, dtype=self.dtype)
        correct = torch.zeros((), device=self.device, dtype=torch.int64)
        batches = torch.from_numpy(order).to(self.device).split(batch_size)
        for step, (batch, lr) in enumerate(zip(batches, lrs.tolist())):
            targets = labels[batch]
            loss, logits = self._forward(images[batch], targets)
            self.optimizer.zero_grad()
            loss.backward()
            self._update(lr)
            losses[step] = loss.detach()
            correct += (logits.argmax(1) == targets).sum()
        return Trained(losses.double().cpu().numpy(), int(correct))

    def predict(self, split: Split, batch_size: int) -> Array:
        self.net.eval()
        images, _ = self.data[split]
        with self._averaged(), torch.inference_mode():
            return torch.cat([self._logits(batch) for batch in images.split(batch_size)]).cpu().numpy()

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        x = torch.tensor(images, device=self.device, dtype=self.dtype, requires_grad=True)
        trained = self._trained()
        with self._buffers_restored():
            self.net.train()
            loss, _ = self._forward(x, torch.tensor(labels, device=self.device))
            gradients = torch.autograd.grad(loss, [*trained.values(), x])
        return loss.item(), {name: array.cpu().numpy() for name, array in zip([*trained, "input"], gradients)}

    @torch.no_grad()
    def activations(self, images: Array, training: bool) -> Weights:
        outputs: Weights = {}

        def keep(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[module.path] = output.cpu().numpy().copy()

        hooks = [module.register_forward_hook(keep) for module in self.modules.values()]
        with self._buffers_restored():
            self.net.train(training)(torch.tensor(images, device=self.device, dtype=self.dtype))
        for hook in hooks:
            hook.remove()
        return outputs

    def peak_memory(self) -> dict[str, int]:
        device = {"device": torch.cuda.max_memory_allocated()} if self.device.type == "cuda" else {}
        return super().peak_memory() | device

    # --- layers and variables -----------------------------------------------------------------------------------------

    def _chain(self, nodes: Sequence[Node]) -> nn.Sequential:
        """The modules of primitives in a row; one that gives a layer's output bears its path."""
        modules = []
        for node in nodes:
            module = self._builder(node)(node, node.layer, *map(self._chain, node.branches))
            if node.reported:
                module.path = node.path
            modules.append(module)
        return nn.Sequential(*modules)

    def _declared(self, variable: Tensor) -> tuple[Shape, bool]:
        return tuple(variable.shape), variable.requires_grad

    def _read(self, variable: Tensor) -> Array:
        return variable.detach().cpu().numpy().copy()

    @torch.no_grad()
    def _write(self, variable: Tensor, array: Array) -> None:
        variable.copy_(torch.from_numpy(array))

    def _allocate(self) -> None:
        """Replace what is on the meta device by memory on the real one, and move the constants there."""
        if self.optimizer is None:
            for module, attribute in self._places.values():
                tensor = torch.empty_like(getattr(module, attribute), device=self.device, dtype=self.dtype)
                trained = isinstance(getattr(module, attribute), nn.Parameter)
                setattr(module, attribute, nn.Parameter(tensor) if trained else tensor)
            self.net.to(self.device, self.dtype, memory_format=LAYOUT)

    # --- loss and steps -----------------------------------------------------------------------------------------------

    def _compile(self) -> None:
        check_compiler()
        torch.compiler.reset()  # graphs are kept by code, not by object: those of the network before this would count
        torch._inductor.config.compile_threads = 1  # else a pool of processes, which outlives a worker that is ended
        # A graph for each size: one for all is slower. Whole: nothing falls back to eager silently.
        options = {"dynamic": False, "fullgraph": True}
        self._forward = torch.compile(self._forward, **options)  # type: ignore[method-assign]
        self._logits = torch.compile(self._logits, **options)  # type: ignore[method-assign]

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, auxiliary classifiers included, and the main logits."""
        logits = self.net(self._input(images))
        loss = self._cross_entropy(logits, labels)
        for head in self.heads:
            loss = loss + head.weight * self._cross_entropy(head.logits, labels)
        return loss, logits.detach()

    def _logits(self, images: Tensor) -> Tensor:
        return self.net(self._input(images))

    def _input(self, images: Tensor) -> Tensor:
        return images.to(self.dtype, memory_format=LAYOUT)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=self.training.label_smoothing)

    def _update(self, lr: float) -> None:
        training = self.training
        if training.average is not None and not self.averages:
            self.averages = {name: weight.detach().clone() for name, weight in self._trained().items()}
        if training.clip_norm is not None:
            self._clip([weight.grad for weight in self._trained().values()], training.clip_norm)
        self.steps += 1
        for group in self.optimizer.param_groups:
            adapt(group, training.optimizer, lr, self.steps)
        self.optimizer.step()
        if training.average is not None:
            self._average(training.average)

    def _clip(self, gradients: Sequence[Tensor], limit: float) -> None:
        clip(gradients, limit)

    @torch.no_grad()
    def _average(self, decay: float) -> None:
        """Move the averages towards the weights."""
        for name, weight in self._trained().items():
            self.averages[name].mul_(decay).add_(weight, alpha=1 - decay)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        """Of arrays with the same decay and factor of the learning rate, a group."""
        rule, training = self.training.optimizer, self.training
        by_options: dict[tuple[float, float], list[Tensor]] = {}
        for name, tensor in self._trained().items():
            by_options.setdefault((training.decay(name), training.lr_factor(name)), []).append(tensor)
        groups = [
            {"params": tensors, "weight_decay": decay, "factor": factor}
            for (decay, factor), tensors in by_options.items()
        ]
        match rule:
            case SGD():
                options = {"momentum": rule.momentum, "nesterov": rule.nesterov}
                return torch.optim.SGD(groups, lr=0.0, fused=self._fused(), **options)
            case Adam():
                kind = torch.optim.AdamW if rule.decoupled else torch.optim.Adam
                return kind(groups, lr=0.0, betas=(rule.beta1, rule.beta2), eps=rule.epsilon, fused=self._fused())
            case Adadelta():
                return torch.optim.Adadelta(groups, lr=0.0, rho=rule.rho, eps=rule.epsilon)
            case RMSprop():
                if rule.epsilon_inside or (rule.momentum and rule.lr_in_velocity):
                    return OtherRMSprop(groups, rule)
                return torch.optim.RMSprop(groups, lr=0.0, alpha=rule.rho, eps=rule.epsilon, momentum=rule.momentum)
        raise NotImplementedError(f"the adapter of {self.title} has no {type(rule).__name__}")

    def _fused(self) -> bool:
        """Whether a step is one pass over the memory. With SGD on a CPU that is slower: docs/performance.md."""
        rule = self.training.optimizer
        return isinstance(rule, Adam) or (self.device.type == "cuda" and isinstance(rule, SGD))

    def _slots(self) -> dict[str, Tensor]:
        states = {name: self.optimizer.state.get(tensor, {}) for name, tensor in self._trained().items()}
        slots = self.training.optimizer.slots
        of_rule = {f"{name}/{slot}": state[SLOTS[slot]] for name, state in states.items() if state for slot in slots}
        return of_rule | {f"{name}/{AVERAGE}": average for name, average in self.averages.items()}

    def _set_steps(self, steps: int) -> None:
        self.steps = steps
        self.optimizer = self._new_optimizer()
        self.averages = {}
        for name, tensor in self._trained().items() if steps else ():
            # Laid out as the weight in memory: the fused optimizers walk through both side by side.
            slots = {SLOTS[slot]: torch.empty_like(tensor) for slot in self.training.optimizer.slots}
            self.optimizer.state[tensor] = slots | {"step": torch.tensor(float(steps), device=self.device)}
            if self.training.average is not None:
                self.averages[name] = torch.empty_like(tensor).detach()
