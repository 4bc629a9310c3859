"""Runs a ported source file in a framework's interpreter, on its own, in float64; started as a script.

ported_source.py predict TARGET FOLDER ENTRY ... evaluates, `train` trains, `gradients` differentiates. A folder has
net.py, net.npz and x.npy, the images, N x C x H x W; to train also labels.npy, order.npy and batch_size.npy; for
gradients labels.npy and parts.npy, the weights of the losses of the logits and of each auxiliary classifier. The
result, logits or losses, is y.npy; gradients are y.npz, under the names of net.npz. Each folder is followed by the name
of its network's class or function.
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


def gradients_of(target: str, net: Any, images: Any, labels: Any, parts: Any) -> dict[str, Any]:
    """The gradient of the loss in training by every trained array, by the array's name in net.npz.

    The loss is the mean cross-entropy; parts: its weights for the logits and the auxiliary classifiers.
    """

    def total(outputs: Any, cross_entropy: Any) -> Any:
        outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
        assert len(outputs) == len(parts)
        return sum(float(part) * cross_entropy(logits) for part, logits in zip(parts, outputs))

    if target == "torch":
        import torch
        import torch.nn.functional as F

        classes = torch.from_numpy(labels)
        total(net.train()(torch.from_numpy(images)), lambda logits: F.cross_entropy(logits, classes)).backward()
        return {name: parameter.grad.numpy() for name, parameter in net.named_parameters()}
    if target == "gluon":
        import mxnet as mx

        x, classes = mx.nd.array(images, dtype="float64"), mx.nd.array(labels, dtype="float64")
        cross_entropy = mx.gluon.loss.SoftmaxCrossEntropyLoss()
        with mx.autograd.record():
            loss = total(net(x), lambda logits: cross_entropy(logits, classes).mean())
        loss.backward()
        named = net._collect_params_with_prefix().items()
        return {name: parameter.grad().asnumpy() for name, parameter in named if parameter.grad_req != "null"}
    images = images.transpose(0, 2, 3, 1)
    if target == "keras":
        import tensorflow as tf

        named = {f"{layer.name}/{each.name}": each.value for layer in net.layers for each in layer.trainable_weights}
        softmax = tf.nn.sparse_softmax_cross_entropy_with_logits
        with tf.GradientTape() as tape:
            loss = total(net(images, training=True), lambda logits: tf.reduce_mean(softmax(labels, logits)))
        return {name: gradient.numpy() for name, gradient in tape.gradient(loss, named).items()}
    import optax
    from flax import nnx

    def loss_of(net: Any, x: Any) -> Any:
        softmax = optax.softmax_cross_entropy_with_integer_labels
        return total(net(x), lambda logits: softmax(logits, labels).mean())

    net.train()
    gradients = nnx.to_flat_state(nnx.jit(nnx.grad(loss_of))(net, images))
    return {".".join(map(str, path)): np.asarray(variable[...]) for path, variable in gradients}


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
    if what == "gradients":
        labels, parts = np.load(folder / "labels.npy"), np.load(folder / "parts.npy")
        np.savez(folder / "y.npz", **gradients_of(target, net, images, labels, parts))
        return
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
