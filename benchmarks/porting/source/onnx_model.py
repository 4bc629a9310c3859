"""A network as an ONNX model: the target `onnx` of `onespec port`."""

from __future__ import annotations

from typing import Any

from benchmarks.porting.source.modules import About
from benchmarks.porting.source.program import Lacking
from frameworks.arrays import Weights
from frameworks.errors import Unavailable
from frameworks.spec import Network


def model(network: Network, weights: Weights, about: About, dtype: str = "float32") -> Any:
    """The ModelProto, checked by onnx.checker. Raises `Lacking`, and Unavailable without the package onnx."""
    try:
        from frameworks.onnx_model import NotInONNX, onnx_model
    except ImportError:
        raise Unavailable("--to onnx: needs the package onnx: pip install onnx, or onespec[onnx]") from None
    try:
        return onnx_model(network, weights, dtype, text="\n".join([about.title, *about.lines]))[0]
    except NotInONNX as error:
        raise Lacking(f"onnx: no source for {error}") from None
