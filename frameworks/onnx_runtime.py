"""ONNX Runtime, which predicts and does not train. How it differs from the spec, and how the adapter handles it:

model          the spec becomes an ONNX model, node by node (`frameworks/onnx_model.py`); batch normalization stays, and
               arrays have canonical names. The runtime optimizes it when a session is made, with its default level.
training       it has none in this package: what trains is unavailable. Arrays that only training uses, those of
               auxiliary classifiers, are not part of the model.
activations    a session gives what its model lists as outputs, and fuses the rest. So the outputs of layers come from a
               second session, and the predictions of the first are verified on their own.
float64        the runtime lacks kernels for some operators, convolutions among them: then it is unavailable.
threads        those of a session spin while they wait for work, by default also after it; here they stop with it,
               because other frameworks take turns.

The model takes uint8 images and casts them. It gives the same model to every execution provider: CUDA on `cuda`.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

from frameworks.adapter import Adapter, Setting, Split
from frameworks.arrays import Array, Weights
from frameworks.errors import Unavailable
from frameworks.onnx_model import NotInONNX, onnx_model
from frameworks.spec import Network, Shape
from frameworks.training import Training

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
LARGEST = 2**31 - 1  # bytes of a model without files beside it: a message of protobuf
INFERENCE_ONLY = "inference only: ONNX Runtime does not train"


class OnnxRuntime(Adapter):
    title = "ONNX Runtime"

    def __init__(self, network: Network, training: Training, setting: Setting) -> None:
        super().__init__(network, training, setting)
        self.provider = PROVIDERS[setting.device]
        if self.provider not in onnxruntime.get_available_providers():
            raise Unavailable(f"onnxruntime {onnxruntime.__version__} has no {self.provider}")
        if network.params * np.dtype(setting.precision).itemsize > LARGEST:
            raise Unavailable(f"ONNX Runtime: a model of more than {LARGEST >> 30} GiB needs files beside it")
        self.images: dict[str, Array] = {}
        self.outputs: dict[str, str] = {}
        self.session: onnxruntime.InferenceSession | None = None
        self.weights: Weights = {each.name: np.zeros(each.shape, setting.precision) for each in network.parameters}
        self.arrays = self._declared(self._model(every=False))

    @staticmethod
    def versions() -> dict[str, str]:
        return {
            "onnxruntime": onnxruntime.__version__,
            "onnx": onnx.__version__,
            "numpy": np.__version__,
        }

    def settings(self) -> dict[str, str]:
        return {
            "provider": self.provider,
            "threads": str(self._options().intra_op_num_threads),
            "graph optimization": self._options().graph_optimization_level.name,
            "layout": "NCHW",
        }

    def get_weights(self) -> Weights:
        return {**{name: self.weights[name] for name in self.arrays}, "step": np.array(0)}

    def set_weights(self, weights: Weights) -> None:
        self.weights = {name: weights[name].astype(self.setting.precision) for name in self.weights}
        self.session = self._session(self._model(every=False))

    def load(self, split: Split, images: Array, labels: Array) -> None:
        self.images[split] = np.ascontiguousarray(images)

    def train(self, order: Array, batch_size: int, lrs: Array, seed: int) -> NoReturn:
        raise Unavailable(INFERENCE_ONLY)

    def predict(self, split: Split, batch_size: int) -> Array:
        images = self.images[split]
        batches = [self._run(self.session, images[at : at + batch_size]) for at in range(0, len(images), batch_size)]
        return np.concatenate([logits for (logits, *_) in batches])

    def gradients(self, images: Array, labels: Array) -> NoReturn:
        raise Unavailable(INFERENCE_ONLY)

    def activations(self, images: Array, training: bool) -> Weights:
        if training:
            raise Unavailable(INFERENCE_ONLY)
        session = self._session(self._model(every=True))
        found = dict(zip((each.name for each in session.get_outputs()), self._run(session, images)))
        return {path: found[name] for path, name in self.outputs.items() if name in found}

    # --- the model and its sessions -----------------------------------------------------------------------------------

    def _model(self, every: bool) -> onnx.ModelProto:
        try:
            proto, self.outputs = onnx_model(
                self.network, self.weights, self.setting.precision, pixels=True, every=every
            )
        except NotInONNX as error:
            raise Unavailable(f"ONNX has no operators for {error}") from None
        return proto

    def _declared(self, proto: onnx.ModelProto) -> dict[str, tuple[Shape, bool]]:
        """The arrays of the model that are parameters, in canonical shape, and whether they are trained elsewhere."""
        sizes = {each.name: int(np.prod(each.dims)) for each in proto.graph.initializer}
        there = [each for each in self.network.parameters if sizes.get(each.name) == each.size]
        return {each.name: (each.shape, each.trainable) for each in there}

    def _options(self) -> onnxruntime.SessionOptions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.setting.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def _switches(self) -> dict[str, int]:
        """Options of the provider; by default that for CUDA uses TF32."""
        return {"use_tf32": int(self.setting.tf32)} if self.setting.device == "cuda" else {}

    def _session(self, proto: onnx.ModelProto) -> onnxruntime.InferenceSession:
        try:
            return onnxruntime.InferenceSession(
                proto.SerializeToString(),
                self._options(),
                providers=[self.provider],
                provider_options=[self._switches()],
            )
        except NoKernel as error:
            reason = str(error).strip().splitlines()[-1].rpartition(" : ")[2]  # behind a code and its name
            raise Unavailable(f"ONNX Runtime, {self.setting.precision}: {reason}") from None

    @staticmethod
    def _run(session: onnxruntime.InferenceSession | None, images: Array) -> list[Array]:
        assert session is not None, "set_weights comes first"
        return session.run(None, {session.get_inputs()[0].name: images})
