"""Runs a ported source file in a framework's interpreter, on its own, in float64; started as a script.

ported_source.py predict TARGET FOLDER ENTRY ... evaluates, `train` trains. A folder has net.py, net.npz and x.npy, the
images, N x C x H x W; to train also labels.npy, order.npy and batch_size.npy. The result, logits or losses, is y.npy.
Each folder is followed by the name of its network's class or function.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np


def in_torch(module: Any, entry: str, weights: str) -> Any:
    net = getattr(module, entry)().double().eval()
    module.load_weights(net, weights)
    return net


def in_gluon(module: Any, entry: str, weights: str) -> Any:
    net = getattr(module, entry)()
    net.initialize()
    net.cast("float64")
    module.load_weights(net, weights)
    net.hybridize()
    return net


def in_keras(module: Any, entry: str, weights: str) -> Any:
    net = getattr(module, entry)()
    module.load_weights(net, weights)
    return net


def in_flax(module: Any, entry: str, weights: str) -> Any:
    from flax import nnx

    net = getattr(module, entry)(rngs=nnx.Rngs(0))
    module.load_weights(net, weights)
    net.eval()
    return net


def logits_of(target: str, net: Any, images: Any) -> Any:
    if target == "torch":
        import torch

        with torch.no_grad():
            return net(torch.from_numpy(images)).numpy()
    if target == "gluon":
        import mxnet as mx

        return net(mx.nd.array(images, dtype="float64")).asnumpy()
    images = images.transpose(0, 2, 3, 1)
    if target == "keras":
        logits = net(images, training=False)
        return (logits[0] if isinstance(logits, list) else logits).numpy()
    from flax import nnx

    return np.asarray(nnx.jit(lambda net, x: net(x))(net, images))


def losses_of(module: Any, target: str, net: Any, images: Any, folder: Path) -> Any:
    labels, order, batch_size = (np.load(folder / f"{name}.npy") for name in ("labels", "order", "batch_size"))
    if target == "torch":
        import torch

        images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    elif target != "gluon":
        images = images.transpose(0, 2, 3, 1)
    return module.train(net, images, labels, order, int(batch_size))


def with_float64(target: str) -> None:
    """Have a framework compute in float64 where that is a setting of the process."""
    if target == "keras":
        import keras

        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
    if target == "flax":
        import jax

        jax.config.update("jax_enable_x64", True)


def run(what: str, target: str, folder: Path, entry: str) -> None:
    spec = importlib.util.spec_from_file_location("ported", folder / "net.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    make = {"torch": in_torch, "gluon": in_gluon, "keras": in_keras, "flax": in_flax}[target]
    net, images = make(module, entry, str(folder / "net.npz")), np.load(folder / "x.npy")
    evaluates = what == "predict"
    result = logits_of(target, net, images) if evaluates else losses_of(module, target, net, images, folder)
    np.save(folder / "y.npy", result)


def main(what: str, target: str, *arguments: str) -> None:
    with_float64(target)
    for folder, entry in zip(arguments[::2], arguments[1::2]):
        run(what, target, Path(folder), entry)
    assert not {"frameworks", "benchmarks"} & set(sys.modules), "the source needs onespec"


if __name__ == "__main__":
    main(*sys.argv[1:])
