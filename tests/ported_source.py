"""Runs a ported source file in a framework's interpreter, on its own, in float64; started as a script.

ported_source.py TARGET SOURCE.py ENTRY WEIGHTS.npz IMAGES.npy LOGITS.npy. The images are N x C x H x W.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any

import numpy as np


def in_torch(module: Any, entry: str, weights: str, images: Any) -> Any:
    import torch

    net = getattr(module, entry)().double().eval()
    module.load_weights(net, weights)
    with torch.no_grad():
        return net(torch.from_numpy(images)).numpy()


def in_gluon(module: Any, entry: str, weights: str, images: Any) -> Any:
    import mxnet as mx

    net = getattr(module, entry)()
    net.initialize()
    net.cast("float64")
    module.load_weights(net, weights)
    net.hybridize()
    return net(mx.nd.array(images, dtype="float64")).asnumpy()


def in_keras(module: Any, entry: str, weights: str, images: Any) -> Any:
    net = getattr(module, entry)()
    module.load_weights(net, weights)
    return net(images.transpose(0, 2, 3, 1), training=False).numpy()


def in_flax(module: Any, entry: str, weights: str, images: Any) -> Any:
    from flax import nnx

    net = getattr(module, entry)(rngs=nnx.Rngs(0))
    module.load_weights(net, weights)
    net.eval()
    return np.asarray(nnx.jit(lambda net, x: net(x))(net, images.transpose(0, 2, 3, 1)))


def with_float64(target: str) -> None:
    """Have a framework compute in float64 where that is a setting of the process."""
    if target == "keras":
        import keras

        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
    if target == "flax":
        import jax

        jax.config.update("jax_enable_x64", True)


def main(target: str, source: str, entry: str, weights: str, images: str, logits: str) -> None:
    with_float64(target)
    spec = importlib.util.spec_from_file_location("ported", source)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run = {"torch": in_torch, "gluon": in_gluon, "keras": in_keras, "flax": in_flax}[target]
    np.save(logits, run(module, entry, weights, np.load(images)))
    assert not {"frameworks", "benchmarks"} & set(sys.modules), "the source needs onespec"


if __name__ == "__main__":
    main(*sys.argv[1:])
