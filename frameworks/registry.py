"""The frameworks as data, known without importing them. Standard library only.

To add one: write its adapter in a package beside `pytorch`, add it here, and give pyproject.toml an extra of the same
name, with - for @ (and, where another build of it drives NVIDIA GPUs, an extra `<name>-cuda`). No other file changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class WeightFormat:
    """How a weight file of a framework is read: two modules of `frameworks/weight_files`."""

    reader: str  # a script that the framework's interpreter runs: FILE to an .npz with the same names, and notes
    names: str  # a module whose `converted(network, arrays, about)` gives the network's names and layouts
    model: str = ""  # a script that runs the model of a file that holds one, in float64
    rounding: float = 1e-10  # the largest difference of its values that is rounding, relative to the largest value


@dataclass(frozen=True)
class FrameworkInfo:
    """A framework, and where to find its adapter."""

    name: str  # on the command line, and of its extra in pyproject.toml
    title: str  # in tables and figures
    module: str  # of the adapter, imported only by the worker
    adapter: str  # the class in that module
    package: str  # the distribution whose version is the framework's: torch==2.12.1 replaces its pin
    python: str  # the Pythons it runs on, as a version specifier (PEP 440)
    modes: tuple[str, ...] = ()  # modes besides the documented default: torch:compile
    cuda_modes: tuple[str, ...] = ()  # those of them that need an NVIDIA GPU
    weight_files: Mapping[str, WeightFormat] = field(default_factory=dict)  # by the usual ending of such files
    outside: bool = False  # an adapter from elsewhere, whose requirements no extra of pyproject.toml lists
    in_all: bool = True  # whether `--fw all` names it
    trains: bool = True  # if not, it predicts only: it is verified in evaluation, and what trains is unavailable
    package_cuda: str = ""  # the distribution for CUDA, where it has a name of its own

    @property
    def extra(self) -> str:
        """The extra of pyproject.toml that lists its requirements; its name has no @."""
        return self.name.replace("@", "-")

    @property
    def packages(self) -> list[str]:
        """The distributions that hold the framework, one of which is installed."""
        return [name for name in (self.package, self.package_cuda) if name]

    def modes_on(self, device: str) -> tuple[str, ...]:
        """The modes that a device has; on a device that is not named yet, those that every device has."""
        return tuple(mode for mode in self.modes if device == "cuda" or mode not in self.cuda_modes)

    @property
    def stem(self) -> str:
        """The name of its file in folders that have one for each framework, such as keras3_on_jax."""
        return "_".join(self.module.split(".")[1:])


_KERAS = (".h5", ".keras")

FRAMEWORKS: dict[str, FrameworkInfo] = {
    info.name: info
    for info in (
        FrameworkInfo(
            name="torch",
            title="PyTorch",
            module="frameworks.pytorch",
            adapter="PyTorch",
            package="torch",
            python=">=3.10",
            modes=("compile", "graph"),
            cuda_modes=("graph",),
            weight_files={".pth": WeightFormat("state_dict.py", "state_dict_names")},
        ),
        # MXNet 1.9.1 uses np.bool, which NumPy 1.24 removed; NumPy 1.23 has no wheel for Python 3.12.
        FrameworkInfo(
            name="mxnet",
            title="MXNet Gluon",
            module="frameworks.mxnet_gluon",
            adapter="MXNetGluon",
            package="mxnet",
            python=">=3.10,<3.12",
            modes=("imperative",),
            # MXNet rounds the slope of PReLU to float32, and other scalars.
            weight_files={".params": WeightFormat("gluon_params.py", "gluon_names", "gluon_model.py", rounding=1e-6)},
        ),
        # Keras 3.15 needs Python 3.11; TensorFlow 2.21 has no wheel for 3.14.
        FrameworkInfo(
            name="keras",
            title="Keras",
            module="frameworks.keras3.on_tensorflow",
            adapter="Keras3",
            package="keras",
            python=">=3.11,<3.14",
            modes=("eager", "xla"),
            weight_files={ending: WeightFormat("keras_h5.py", "keras_names", "keras_model.py") for ending in _KERAS},
        ),
        # JAX 0.10 needs Python 3.11.
        FrameworkInfo(
            name="jax",
            title="JAX",
            module="frameworks.flax_nnx",
            adapter="FlaxNNX",
            package="jax",
            python=">=3.11",
            modes=("scan",),
        ),
        # Keras with another engine than TensorFlow: the same layers in another training loop.
        FrameworkInfo(
            name="keras@jax",
            title="Keras on JAX",
            module="frameworks.keras3.on_jax",
            adapter="KerasOnJax",
            package="keras",
            python=">=3.11",
            modes=("scan",),
            in_all=False,
        ),
        FrameworkInfo(
            name="keras@torch",
            title="Keras on PyTorch",
            module="frameworks.keras3.on_torch",
            adapter="KerasOnTorch",
            package="keras",
            python=">=3.11",
            in_all=False,
        ),
        FrameworkInfo(
            name="onnxruntime",
            title="ONNX Runtime",
            module="frameworks.onnx_runtime",
            adapter="OnnxRuntime",
            package="onnxruntime",
            package_cuda="onnxruntime-gpu",
            python=">=3.11",
            in_all=False,
            trains=False,
        ),
    )
}

# Extras of pyproject.toml that tests and research run beside the frameworks: located and installed in the same way.
COMPANIONS: dict[str, FrameworkInfo] = {
    "torchvision": FrameworkInfo("torchvision", "torchvision", "", "", "torchvision", python=">=3.10"),
    "timm": FrameworkInfo("timm", "timm", "", "", "timm", python=">=3.10"),
}


def trained() -> list[str]:
    """The frameworks that train."""
    return [name for name, info in FRAMEWORKS.items() if info.trains]


def trains(label: str) -> bool:
    """Whether the framework of a label, such as torch:compile==2.12.1, trains; one that is not registered does."""
    info = FRAMEWORKS.get(label.partition("==")[0].partition(":")[0])
    return info is None or info.trains


def in_all() -> list[str]:
    """The frameworks that `--fw all` names."""
    return [name for name, info in FRAMEWORKS.items() if info.in_all]
