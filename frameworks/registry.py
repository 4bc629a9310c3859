"""The frameworks there are: what is known of each without importing it. Standard library only.

To add one: write its adapter beside `pytorch.py`, name it here, and give pyproject.toml an extra of the same name
(and, where another build of it drives NVIDIA GPUs, an extra `<name>-cuda`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FrameworkInfo:
    """One framework's way of building the networks, and where to find it."""

    name: str  # on the command line, and of its extra in pyproject.toml
    title: str  # in tables and figures
    module: str  # where the adapter is, imported by the worker alone
    adapter: str  # the class in that module
    package: str  # the distribution whose version is the framework's: torch==2.12.1 replaces the pin of this one
    python: str  # the Pythons it runs on, as a version specifier (PEP 440)
    modes: tuple[str, ...] = ()  # ways of running it beside the one that its documentation teaches: torch:compile
    reads: Mapping[str, str] = field(default_factory=dict)  # files of weights by ending: a script in `weight_files`
    outside: bool = False  # an adapter that is not ours: no extra of pyproject.toml tells what it needs


_STATE_DICT = {".pth": "state_dict.py", ".pt": "state_dict.py"}

FRAMEWORKS: dict[str, FrameworkInfo] = {
    info.name: info
    for info in (
        FrameworkInfo(
            "torch", "PyTorch", "frameworks.pytorch", "PyTorch", "torch", ">=3.10", ("compile",), _STATE_DICT
        ),
        # MXNet 1.9.1 uses np.bool, which NumPy 1.24 removed; NumPy 1.23 has no wheel for Python 3.12.
        FrameworkInfo(
            "mxnet", "MXNet Gluon", "frameworks.mxnet_gluon", "MXNetGluon", "mxnet", ">=3.10,<3.12", ("imperative",)
        ),
        # Keras 3.15 needs Python 3.11; TensorFlow 2.21 has no wheel for 3.14.
        FrameworkInfo(
            "keras",
            "Keras",
            "frameworks.keras3",
            "Keras3",
            "keras",
            ">=3.11,<3.14",
            ("eager", "xla"),
            {".h5": "keras_h5.py"},
        ),
    )
}

# No frameworks of ours, but extras that tests and baselines run: found and installed in the same way.
COMPANIONS: dict[str, FrameworkInfo] = {
    "torchvision": FrameworkInfo("torchvision", "torchvision", "", "", "torchvision", python=">=3.10"),
    # The example of an adapter from outside, examples/jax_adapter.py, is tested with this one.
    "jax": FrameworkInfo("jax", "JAX", "", "", "jax", python=">=3.11"),
}
