"""A network as an ONNX model: the target `onnx` of `onespec port`."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.porting.source.modules import About
from benchmarks.porting.source.program import Lacking
from frameworks.arrays import Weights
from frameworks.errors import Unavailable
from frameworks.spec import Network

LARGEST = 2**31 - 2**24  # bytes of arrays; a message of Protocol Buffers has less than 2 GiB, with layers and names


def model(network: Network, weights: Weights, about: About, dtype: str = "float32") -> Any:
    """The ModelProto, checked by onnx.checker.

    Raises `Lacking`, also for arrays that one file cannot hold, and Unavailable without the package onnx.
    """
    if (size := (network.params + network.buffers) * np.dtype(dtype).itemsize) > LARGEST:
        raise Lacking(
            f"onnx: {network.name}: its arrays in {dtype} take {size / 2**30:.1f} GiB, and an ONNX file holds less "
            "than 2 GiB; choose another target"
        )
    try:
        from frameworks.onnx_model import NotInONNX, onnx_model
    except ImportError:
        raise Unavailable("--to onnx: needs the package onnx: pip install -e '.[onnx]'") from None
    try:
        return onnx_model(network, weights, dtype, text="\n".join([about.title, *about.lines]))[0]
    except NotInONNX as error:
        raise Lacking(f"onnx: no source for {error}") from None
