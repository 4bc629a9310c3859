"""The adapter of Keras on PyTorch: a Keras model in the training loop of the adapter of PyTorch."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "torch"  # read when Keras is imported

import keras
import numpy as np
import torch
from torch import Tensor

from frameworks import spec
from frameworks.adapter import LayerAdapter, Setting, Split, Trained
from frameworks.arrays import Array, Weights
from frameworks.channels_last import canonical, channels_last
from frameworks.keras3.engine_layers import ENGINE_LAYERS
from frameworks.keras3.model import NATIVE_ELSEWHERE, KerasModel
from frameworks.pytorch.adapter import PyTorch
from frameworks.registry import FRAMEWORKS
from frameworks.spec import Network, Node
from frameworks.training import Training


class KerasOnTorch(KerasModel, PyTorch):
    title, modes = FRAMEWORKS["keras@torch"].title, FRAMEWORKS["keras@torch"].modes
    native = NATIVE_ELSEWHERE
    departures = ()  # type: ignore[assignment]  # Keras computes the running variance itself
    roles = KerasModel.roles
    layers = ENGINE_LAYERS
    devices, precisions = PyTorch.devices, PyTorch.precisions

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        LayerAdapter.__init__(self, network, training, setting)
        self._prepare()
        self._build()
        nodes = [node for _, node in self.network.walk()]
        self.weighted = {n.branches[0][-1].path: n.layer.weight for n in nodes if isinstance(n.layer, spec.Auxiliary)}

    @staticmethod
    def versions() -> dict[str, str]:
        return {"keras": keras.version(), **PyTorch.versions()}

    def settings(self) -> dict[str, str]:
        reduced = {"layers": f"policy {keras.config.dtype_policy().name}"} if self.setting.reduced else {}
        return super().settings() | {"layout": "NHWC"} | reduced

    def load(self, split: Split, images: Array, labels: Array) -> None:
        super().load(split, np.moveaxis(images, 1, -1), labels)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> Trained:
        # Masks of whole rows have a generator each; the others are drawn from PyTorch's.
        for number, layer in enumerate(self.dropouts):
            start = np.random.SeedSequence([seed, number]).generate_state(1)[0] % 2**31
            layer.seed_generator.state.assign([int(start), 0])
        return super().train(order, batch_size, lrs, seed)

    def gradients(self, images: Array, labels: Array) -> tuple[float, Weights]:
        loss, gradients = super().gradients(np.moveaxis(images, 1, -1), labels)
        by_input = np.moveaxis(gradients.pop("input"), -1, 1)
        return loss, {name: canonical(gradient) for name, gradient in gradients.items()} | {"input": by_input}

    @torch.no_grad()
    def activations(self, images: Array, training: bool) -> Weights:
        x = torch.tensor(np.moveaxis(images, 1, -1), device=self.device, dtype=self.dtype)
        with self._buffers_restored():
            outputs = self.net(x, training=training)
        return {path: np.moveaxis(output.to(self.dtype).cpu().numpy(), -1, 1) for path, output in outputs.items()}

    # --- variables ----------------------------------------------------------------------------------------------------

    @classmethod
    def pads(cls, node: Node) -> bool:
        """As Keras elsewhere, but on PyTorch its average with the padding "same" counts what is padded."""
        return super().pads(node) and not isinstance(node.layer, spec.AvgPool)

    def _declare_slots(self) -> None:
        """None: the optimizer has them."""
        self.slots = {}

    def _trained(self) -> dict[str, Tensor]:
        """PyTorch's tensors, which its optimizers take."""
        return {name: tensor_of(variable) for name, variable in super()._trained().items()}

    def _read(self, variable: keras.Variable | Tensor) -> Array:
        return canonical(PyTorch._read(self, tensor_of(variable)))

    def _write(self, variable: keras.Variable | Tensor, array: Array) -> None:
        PyTorch._write(self, tensor_of(variable), np.ascontiguousarray(channels_last(array)))

    # --- loss and steps -----------------------------------------------------------------------------------------------

    def _forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.net(self._input(images), training=True)
        logits = outputs[self.network.nodes[-1].path]
        loss = self._cross_entropy(logits, labels)
        for head, weight in self.weighted.items():
            loss = loss + weight * self._cross_entropy(outputs[head], labels)
        return loss, logits.detach()

    def _logits(self, images: Tensor) -> Tensor:
        return self.net(self._input(images), training=False)[self.network.nodes[-1].path].to(self.dtype)

    def _input(self, images: Tensor) -> Tensor:
        return images.to(self.dtype)


def tensor_of(variable: keras.Variable | Tensor) -> Tensor:
    """The tensor that a variable of Keras holds; a tensor itself."""
    return variable.value if isinstance(variable, keras.Variable) else variable
