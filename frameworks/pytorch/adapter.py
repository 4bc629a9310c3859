"""The adapter of PyTorch: its defaults and the contract."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from frameworks.adapter import UNBIASED_RUNNING_VARIANCE, LayerAdapter, Setting, Split, Trained
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.native import Default, Native
from frameworks.pytorch.devices import check_device
from frameworks.pytorch.graphs import CudaStepGraph, StepGraph
from frameworks.pytorch.layers import LAYERS, Auxiliary
from frameworks.pytorch.optimizers import SLOTS, OtherRMSprop, adapt, clip, written_out
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network, Node, Shape
from frameworks.training import AVERAGE, FINITE_STEPS, LOSS_SCALE, SCALE, SGD, Adadelta, Adam, RMSprop, Training

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
    devices = ("cpu", "cuda", "mps")
    precisions = ("float64", "float32", "bfloat16", "float16")
    step_graph: ClassVar[type[StepGraph]] = CudaStepGraph

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self._prepare()
        with torch.device("meta"):
            self.net = self._chain(self.primitives)
        self.modules: dict[str, nn.Module] = {m.path: m for m in self.net.modules() if hasattr(m, "path")}
        self._map_variables(self.modules)
        if setting.mode == "compile":
            self._compile()
        self.heads = [module for module in self.modules.values() if isinstance(module, Auxiliary)]

    def _prepare(self) -> None:
        """Obey the setting, or refuse it: what does not depend on layers."""
        setting = self.setting
        self.recorded = setting.mode == "graph"
        if self.recorded:
            self.step_graph.check(self.training, setting)
        check_device(setting)
        torch.set_num_threads(setting.threads)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = setting.tf32
        torch.backends.cudnn.benchmark = setting.device == "cuda"
        self.device = torch.device(setting.device)
        self.dtype = getattr(torch, setting.arrays)
        self.optimizer: torch.optim.Optimizer = None  # created with the first weights
        self.averages: dict[str, Tensor] = {}  # of the trained arrays; created with the first step
        self.data: dict[str, tuple[Tensor, Tensor]] = {}
        self.scaler = self._new_scaler({})
        self.graphs: dict[int, StepGraph] = {}  # by size of batch

    @staticmethod
    def versions() -> dict[str, str]:
        versions = {"torch": torch.__version__, "numpy": np.__version__}
        return versions | ({"cuda": torch.version.cuda} if torch.version.cuda else {})

    def settings(self) -> dict[str, str]:
        reduced = {"layers": f"{self.setting.precision}, by autocast"} if self.setting.reduced else {}
        return {
            "mode": self._mode(),
            "threads": str(torch.get_num_threads()),
            "layout": "channels last",
            "optimizer": "fused" if self._fused() else "array by array",
            "tf32": str(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32),
            "cudnn autotune": str(torch.backends.cudnn.benchmark),
            "vector library": torch.backends.cpu.get_cpu_capability(),
            "mkldnn": str(torch.backends.mkldnn.is_available()),
            **reduced,
        }

    def _mode(self) -> str:
        if hasattr(self._forward, "__wrapped__"):
            return "torch.compile"
        return "CUDA graph of a step" if self.recorded else "eager"

    def get_weights(self) -> Weights:
        if self.scaler is None:
            return super().get_weights()
        state = self.scaler.state_dict()
        scaling = {SCALE: np.array(state["scale"]), FINITE_STEPS: np.array(state["_growth_tracker"])}
        return super().get_weights() | scaling

    def set_weights(self, weights: Weights) -> None:
        super().set_weights(weights)
        self.scaler = self._new_scaler(weights)

    def load(self, split: Split, images: Array, labels: Array) -> None:
        # A copy: the arrays may be mapped from a read-only file.
        self.data[split] = torch.tensor(images, device=self.device), torch.tensor(labels, device=self.device)
        self.graphs.clear()  # they read the images that were there

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        self.net.train()
        losses = torch.empty(len(lrs), device=self.device, dtype=self.dtype)
        correct = torch.zeros((), device=self.device, dtype=torch.int64)
        batches = torch.from_numpy(order).to(self.device).split(batch_size)
        if self.recorded:
            self._record(batches)
        torch.manual_seed(seed)  # after what a recording draws; every replay of a graph continues this sequence
        for step, (batch, lr) in enumerate(zip(batches, lrs.tolist())):
            if self.recorded:
                taken = self.steps
                losses[step], right = self.graphs[len(batch)](batch, lr)
                self.steps = taken + 1  # which a replay does not count
            else:
                losses[step], right = self._step(batch, lr)
            correct += right
        return Trained(losses.cpu().double().numpy(), int(correct))

    def predict(self, split: Split, batch_size: int) -> Array:
        self.net.eval()
        images, _ = self.data[split]
        with self._averaged(), torch.inference_mode():
            return torch.cat([self._logits(batch) for batch in images.split(batch_size)]).cpu().numpy()

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        x = torch.tensor(images, device=self.device, dtype=self.dtype, requires_grad=True)
        trained = self._trained()
        scale = 1.0 if self.scaler is None else self.scaler.get_scale()
        with self._buffers_restored():
            self.net.train()
            while True:
                loss, _ = self._forward(x, torch.tensor(labels, device=self.device))
                gradients = torch.autograd.grad(loss * scale if scale != 1 else loss, [*trained.values(), x])
                if scale <= 1 or all(gradient.isfinite().all() for gradient in gradients):
                    break
                scale *= LOSS_SCALE.backoff
        arrays = [(gradient / scale if scale != 1 else gradient).cpu().numpy() for gradient in gradients]
        return loss.item(), dict(zip([*trained, "input"], arrays))

    @torch.no_grad()
    def activations(self, images: Array, training: bool) -> Weights:
        outputs: Weights = {}

        def keep(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            outputs[module.path] = output.to(self.dtype).cpu().numpy().copy()

        hooks = [module.register_forward_hook(keep) for module in self.modules.values()]
        with self._buffers_restored(), self._autocast():
            self.net.train(training)(torch.tensor(images, device=self.device, dtype=self.dtype))
        for hook in hooks:
            hook.remove()
        return outputs

    def peak_memory(self) -> dict[str, int]:
        match self.device.type:
            case "cuda":
                return super().peak_memory() | {"device": torch.cuda.max_memory_allocated()}
            case "mps":  # which counts no peak; its allocator keeps what it has taken
                return super().peak_memory() | {"device": torch.mps.driver_allocated_memory()}
        return super().peak_memory()

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
            # First the precision: constants are in float64, which MPS lacks.
            self.net.to(self.dtype).to(self.device, memory_format=LAYOUT)

    # --- loss and steps -----------------------------------------------------------------------------------------------

    def _compile(self) -> None:
        check_compiler()
        torch.compiler.reset()  # graphs are kept by code, not by object: those of the network before this would count
        torch._inductor.config.compile_threads = 1  # else a pool of processes, which outlives a worker that is ended
        # A graph for each size: one for all is slower. Whole: nothing falls back to eager silently.
        options: dict[str, Any] = {"dynamic": False, "fullgraph": True}
        if self.device.type == "cuda":
            options["mode"] = "reduce-overhead"
        self._forward = torch.compile(self._forward, **options)  # type: ignore[method-assign]
        logits = torch.compile(self._logits, **options)
        # A copy: the next call overwrites the results of a CUDA graph, which is what this mode makes.
        copied = self.device.type == "cuda"
        self._logits = (lambda images: logits(images).clone()) if copied else logits  # type: ignore[method-assign]

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, auxiliary classifiers included, and the main logits."""
        with self._autocast():
            logits = self.net(self._input(images))
        loss = self._cross_entropy(logits, labels)
        for head in self.heads:
            loss = loss + head.weight * self._cross_entropy(head.logits, labels)
        return loss, logits.detach()

    def _logits(self, images: Tensor) -> Tensor:
        with self._autocast():
            return self.net(self._input(images)).to(self.dtype)

    def _autocast(self) -> AbstractContextManager[Any]:
        """In which layers compute in the setting's precision."""
        if not self.setting.reduced:
            return nullcontext()
        return torch.autocast(self.device.type, getattr(torch, self.setting.precision))

    def _input(self, images: Tensor) -> Tensor:
        return images.to(self.dtype, memory_format=LAYOUT)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.to(self.dtype), labels, label_smoothing=self.training.label_smoothing)

    def _step(self, batch: Tensor, lr: float | Tensor) -> tuple[Tensor, Tensor]:
        """A step on the images of these indices: the loss before it, and the number of correct images."""
        images, labels = self.data["train"]
        targets = labels[batch]
        loss, logits = self._forward(images[batch], targets)
        self.optimizer.zero_grad()
        if self.scaler is None:
            loss.backward()
            self._update(lr)
        else:
            self.scaler.scale(loss).backward()
            # Clipping, decay and averages, too, are of unscaled gradients and are skipped with the step.
            whole = SimpleNamespace(param_groups=self.optimizer.param_groups, step=lambda: self._update(lr))
            self.scaler.step(whole)
            self.scaler.update()
        return loss.detach(), (logits.argmax(1) == targets).sum()

    def _record(self, batches: Sequence[Tensor]) -> None:
        """A graph for each size of batch, without an effect on arrays, the optimizer and the count of steps."""
        for batch in batches:
            if len(batch) not in self.graphs:
                lr = torch.zeros((), device=self.device, dtype=self.dtype)
                with self._undone():
                    self.graphs[len(batch)] = self.step_graph(self._step, batch, lr)

    @contextmanager
    def _undone(self) -> Iterator[None]:
        """Undo what steps do, in place: a graph has the addresses."""
        states = [tensor for state in self.optimizer.state.values() for tensor in state.values()]
        tensors = [*self._variables().values(), *states, *self.averages.values()]
        values, steps = [tensor.detach().clone() for tensor in tensors], self.steps
        yield
        with torch.no_grad():
            for tensor, value in zip(tensors, values):
                tensor.copy_(value)
        self.steps = steps

    def _new_scaler(self, weights: Mapping[str, Array]) -> torch.amp.GradScaler | None:
        """That of float16, with the state that these arrays give, if they do."""
        if self.setting.precision != "float16":
            return None
        factors = {"growth_factor": LOSS_SCALE.growth, "backoff_factor": LOSS_SCALE.backoff}
        scaler = torch.amp.GradScaler(self.device.type, growth_interval=LOSS_SCALE.interval, **factors)
        scale, steps = float(weights.get(SCALE, LOSS_SCALE.first)), int(weights.get(FINITE_STEPS, 0))
        scaler.load_state_dict(scaler.state_dict() | {"scale": scale, "_growth_tracker": steps})
        return scaler

    def _update(self, lr: float | Tensor) -> None:
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
        capturable = {"capturable": True} if self.recorded and self.device.type == "cuda" else {}
        options: dict[str, Any]
        match rule:
            case SGD():  # whose fused form can be captured
                options = {"momentum": rule.momentum, "nesterov": rule.nesterov}
                return torch.optim.SGD(groups, lr=0.0, fused=self._fused(), **options)
            case Adam():
                kind = torch.optim.AdamW if rule.decoupled else torch.optim.Adam
                options = {"betas": (rule.beta1, rule.beta2), "eps": rule.epsilon, "fused": self._fused()}
                return kind(groups, lr=0.0, **options, **capturable)
            case Adadelta():
                return torch.optim.Adadelta(groups, lr=0.0, rho=rule.rho, eps=rule.epsilon, **capturable)
            case RMSprop():
                if written_out(rule):
                    return OtherRMSprop(groups, rule)
                options = {"alpha": rule.rho, "eps": rule.epsilon, "momentum": rule.momentum}
                return torch.optim.RMSprop(groups, lr=0.0, **options, **capturable)
        raise NotImplementedError(f"the adapter of {self.title} has no {type(rule).__name__}")

    def _fused(self) -> bool:
        """Whether a step is one pass over the memory. With SGD on a CPU that is slower: docs/performance.md."""
        rule = self.training.optimizer
        return isinstance(rule, Adam) or (self.device.type == "cuda" and isinstance(rule, SGD))

    def _slots(self) -> dict[str, Tensor]:
        if not self.steps:
            return {}
        states = {name: self.optimizer.state.get(tensor, {}) for name, tensor in self._trained().items()}
        slots = self.training.optimizer.slots
        of_rule = {f"{name}/{slot}": state[SLOTS[slot]] for name, state in states.items() if state for slot in slots}
        return of_rule | {f"{name}/{AVERAGE}": average for name, average in self.averages.items()}

    def _set_steps(self, steps: int) -> None:
        self.steps = steps
        if self.recorded:
            return self._set_recorded_steps(steps)
        self.optimizer = self._new_optimizer()
        self.averages = {}
        if steps:
            self._new_slots(steps)

    def _set_recorded_steps(self, steps: int) -> None:
        """Graphs have the addresses of the slots: they are there before the first step, and stay."""
        if self.optimizer is None:
            self.optimizer = self._new_optimizer()
            self._new_slots(steps)
        with torch.no_grad():
            for name, tensor in self._trained().items():
                for slot in self.optimizer.state[tensor].values():
                    slot.zero_()
                self.optimizer.state[tensor]["step"].fill_(steps)
                if name in self.averages:
                    self.averages[name].copy_(tensor)

    def _new_slots(self, steps: int) -> None:
        """Memory for the optimizer's arrays and the averages."""
        for name, tensor in self._trained().items():
            # Laid out as the weight in memory: the fused optimizers walk through both side by side.
            slots = {SLOTS[slot]: torch.empty_like(tensor) for slot in self.training.optimizer.slots}
            self.optimizer.state[tensor] = slots | {"step": torch.tensor(float(steps), device=self.device)}
            if self.training.average is not None:
                self.averages[name] = torch.empty_like(tensor).detach()
