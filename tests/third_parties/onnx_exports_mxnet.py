"""Writes Gluon networks and a symbol as ONNX files by MXNet's own exporter, with the logits that MXNet computes.

    python onnx_exports_mxnet.py FOLDER

The interpreter is Python 3.8.18 with mxnet 1.9.1, numpy 1.23.5, onnx 1.8.1 and protobuf 3.20.3. The exporter writes the
opset of the package onnx, and its operators are those of opset 13, which is that of onnx 1.8. The files NAME.mxnet.onnx
in the folder onnx_exports were written by it; logits.mxnet.npz has images and logits of each network.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
import mxnet as mx  # noqa: E402
from mxnet.gluon import nn  # noqa: E402
from mxnet.onnx import export_model  # noqa: E402


class Before(nn.HybridBlock):
    """A residual block of version 2: normalization and activation first."""

    def __init__(self, channels, stride, **options):
        super().__init__(**options)
        with self.name_scope():
            self.norm1, self.norm2 = nn.BatchNorm(), nn.BatchNorm(epsilon=1e-3, momentum=0.8, scale=False)
            self.conv1 = nn.Conv2D(channels, 3, stride, 1, use_bias=False)
            self.conv2 = nn.Conv2D(channels, 3, 1, 1, use_bias=False)
            self.shortcut = nn.Conv2D(channels, 1, stride, use_bias=False)

    def hybrid_forward(self, F, x):
        x = F.relu(self.norm1(x))
        body = self.conv2(F.Activation(self.norm2(self.conv1(x)), act_type="relu"))
        return body + self.shortcut(x)


class Excited(nn.HybridBlock):
    """Squeeze and excitation: a mean over the pixels, two dense layers, a product."""

    def __init__(self, channels, **options):
        super().__init__(**options)
        with self.name_scope():
            self.conv = nn.Conv2D(channels, 3, padding=1)
            self.reduce = nn.Dense(4, activation="relu")
            self.expand = nn.Dense(channels, use_bias=False)

    def hybrid_forward(self, F, x):
        x = self.conv(x)
        gate = F.sigmoid(self.expand(self.reduce(F.mean(x, axis=(2, 3)))))
        return F.broadcast_mul(x, F.reshape(gate, shape=(0, 0, 1, 1)))


class Separable(nn.HybridBlock):
    """Padding of the right and the bottom, as "same" at stride 2, a depthwise and a 1 x 1 convolution."""

    def __init__(self, channels, activation, **options):
        super().__init__(**options)
        self.activation = activation
        with self.name_scope():
            self.depthwise = nn.Conv2D(8, 3, 2, groups=8, use_bias=False)
            self.norm = nn.BatchNorm()
            self.pointwise = nn.Conv2D(channels, 1)

    def hybrid_forward(self, F, x):
        x = F.pad(x, mode="constant", pad_width=(0, 0, 0, 0, 0, 1, 0, 1), constant_value=0)
        return self.activation(F, self.pointwise(F.clip(self.norm(self.depthwise(x)), 0, 6)))


class Grown(nn.HybridBlock):
    """A layer of a dense block."""

    def __init__(self, channels, **options):
        super().__init__(**options)
        with self.name_scope():
            self.norm, self.conv = nn.BatchNorm(), nn.Conv2D(channels, 3, padding=1, use_bias=False)

    def hybrid_forward(self, F, x):
        return F.concat(x, self.conv(F.relu(self.norm(x))), dim=1)


def hard_swish(F, x):
    return x * F.clip(x + 3, 0, 6) / 6


def slopes(F, x):
    return F.LeakyReLU(F.LeakyReLU(x, act_type="elu", slope=0.5), slope=0.1)


def residual():
    net = nn.HybridSequential(prefix="residual_")
    with net.name_scope():
        net.add(nn.BatchNorm(scale=False, center=False), nn.Conv2D(8, 3, 1, 1, use_bias=False), nn.MaxPool2D(3, 2, 1))
        net.add(Before(8, 1), Before(16, 2), nn.BatchNorm(), nn.Activation("relu"))
        net.add(nn.GlobalAvgPool2D(), nn.Flatten(), nn.Dense(5))
    return net


def excited():
    net = nn.HybridSequential(prefix="excited_")
    with net.name_scope():
        net.add(nn.Conv2D(8, 5, 2, 2, activation="relu"), Excited(8), nn.AvgPool2D(3, 2, 1), Excited(8))
        net.add(nn.PReLU(), nn.GlobalMaxPool2D(), nn.Dropout(0.2), nn.Dense(5), nn.HybridLambda("softmax"))
    return net


def separable():
    net = nn.HybridSequential(prefix="separable_")
    with net.name_scope():
        net.add(nn.Conv2D(8, 3, padding=1, activation="softrelu"), Separable(8, hard_swish), Separable(8, slopes))
        net.add(nn.GELU(), nn.InstanceNorm(), nn.Dense(6, activation="tanh"), nn.Dense(5, use_bias=False))
    return net


def concatenated():
    net = nn.HybridSequential(prefix="concatenated_")
    with net.name_scope():
        net.add(nn.Conv2D(8, 3, 2, 1, use_bias=False), Grown(4), Grown(4), nn.Conv2D(8, 1))
        net.add(nn.AvgPool2D(3, 2, ceil_mode=True), Grown(6), nn.AvgPool2D(2, 1, 1, count_include_pad=False))
        net.add(nn.MaxPool2D(2, 2, ceil_mode=True), nn.Dense(5))
    return net


def symbolic():
    """A network of the Module interface: channels that are normalized, cut in halves and joined."""
    x = mx.sym.Convolution(mx.sym.Variable("data"), name="conv1", num_filter=6, kernel=(5, 5))
    x = mx.sym.Pooling(mx.sym.Activation(x, act_type="relu"), pool_type="max", kernel=(2, 2), stride=(2, 2))
    x = mx.sym.LRN(x, alpha=1e-3, beta=0.6, knorm=2, nsize=3)
    left, right = mx.sym.SliceChannel(x, num_outputs=2)
    right = mx.sym.broadcast_mul(right, mx.sym.max(right, axis=(2, 3), keepdims=True))
    left = mx.sym.Convolution(left, name="conv2", num_filter=4, kernel=(3, 3), pad=(1, 1), no_bias=True)
    x = mx.sym.UpSampling(mx.sym.Concat(left, right), scale=2, sample_type="nearest")
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), name="fc1", num_hidden=8)
    x = mx.sym.FullyConnected(mx.sym.BatchNorm(x, name="bn", fix_gamma=True), name="fc2", num_hidden=5)
    return mx.sym.log_softmax(x, name="softmax")


NETS = {"residual": residual, "excited": excited, "separable": separable, "concatenated": concatenated}
SHAPE = 2, 3, 16, 16


def drawn(name, shape, random):
    """Values of a parameter. The gamma that the symbol fixes at 1 is 1 in the file, too."""
    if name.endswith(("gamma", "var")):
        return random.uniform(0.5, 2, shape)
    scale = 1 if name.endswith(("beta", "mean", "bias")) else np.prod(shape[1:]) ** -0.5
    return random.normal(0, scale, shape)


def main(folder):
    random = np.random.default_rng(0)
    found = {}
    symbols = {"symbolic": symbolic()}
    fixed = ()
    for name, make in NETS.items():
        net = make()
        net.initialize()
        symbols[name] = net(mx.sym.Variable("data"))
        net(mx.nd.zeros(SHAPE))
        fixed += tuple(key for key, each in net.collect_params().items() if each.grad_req == "null" and "gamma" in key)
    for name, symbol in symbols.items():
        arguments, _, states = symbol.infer_shape(data=SHAPE)
        shapes = dict(zip(symbol.list_arguments() + symbol.list_auxiliary_states(), arguments + states))
        arrays = {key: drawn(key, shape, random).astype(np.float32) for key, shape in shapes.items()}
        images = random.uniform(0, 1, SHAPE).astype(np.float32)
        known = {key: mx.nd.array(array) for key, array in arrays.items() if key != "data"}
        known.update((key, mx.nd.ones(shapes[key])) for key in known if key in fixed or key == "bn_gamma")
        path = folder / f"{name}.mxnet.onnx"
        export_model(symbol, known, [SHAPE], onnx_file_path=str(path))
        states = {key: known[key] for key in symbol.list_auxiliary_states()}
        given = {key: known[key] for key in symbol.list_arguments() if key != "data"}
        executor = symbol.bind(mx.cpu(), {**given, "data": mx.nd.array(images)}, aux_states=states, grad_req="null")
        (logits,) = executor.forward(is_train=False)
        found.update({f"{name}.images": images, f"{name}.logits": logits.asnumpy()})
    np.savez(folder / "logits.mxnet.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
