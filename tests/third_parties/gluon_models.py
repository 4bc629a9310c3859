"""Gluon networks, exported in MXNet's environment.

python gluon_models.py                      prints the names of the model zoo
python gluon_models.py FOLDER               exports the networks of this file and two of the zoo
python gluon_models.py FOLDER NAME SIDE     exports one of the zoo, for images of this side
"""

import inspect
import sys
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
import mxnet as mx  # noqa: E402
from mxnet.gluon import nn  # noqa: E402
from mxnet.gluon.model_zoo import vision  # noqa: E402


class Gated(nn.HybridBlock):
    def __init__(self, **options):
        super().__init__(**options)
        with self.name_scope():
            self.conv = nn.Conv2D(6, 3, padding=1, groups=2, in_channels=4)
            self.norm = nn.BatchNorm(scale=False, epsilon=1e-3, momentum=0.8)
            self.gate = nn.Conv2D(6, 1, activation="sigmoid")
            self.pool = nn.GlobalAvgPool2D()
            self.slope = nn.PReLU()

    def hybrid_forward(self, F, x):
        x = self.norm(self.conv(x))
        x = F.broadcast_mul(x, self.gate(self.pool(x)))
        x = 0.5 - (F.tanh(x) - x)
        x = F.LRN(x, alpha=0.02, beta=0.6, knorm=1.5, nsize=3)
        return F.concat(self.slope(x), F.LeakyReLU(x, act_type="elu", slope=1.0), dim=1)


def mixed():
    net = nn.HybridSequential(prefix="mixed_")
    with net.name_scope():
        net.add(nn.Conv2D(4, 3, activation="relu"), Gated(), nn.AvgPool2D(3, 2, 1, ceil_mode=True))
        net.add(nn.MaxPool2D(2, 1), nn.Flatten(), nn.Dense(8, activation="tanh"), nn.Dropout(0.4), nn.Dense(5))
    return net


class Odd(nn.HybridBlock):
    def __init__(self, **options):
        super().__init__(**options)
        with self.name_scope():
            self.dense = nn.Dense(2)

    def hybrid_forward(self, F, x):
        return self.dense(F.sin(x, name="wave"))


def zoo():
    """The networks of mxnet.gluon.model_zoo.vision by the names of their functions."""
    functions = {name: each for name, each in vars(vision).items() if inspect.isfunction(each)}
    return {name: each for name, each in functions.items() if not name.startswith("get_")}


def export(path, net, shape):
    """With random statistics, and so that no factor of a normalization is 1 but those that are fixed."""
    mx.random.seed(0)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    net(mx.nd.zeros((1, *shape)))
    for key, parameter in net.collect_params().items():
        if key.endswith(("var", "gamma", "mean", "beta")):
            values = np.random.default_rng(len(key)).uniform(0.5, 2, parameter.shape)
            parameter.set_data(mx.nd.array(values))
    net.export(str(path))


def main(folder=None, name="", side="0"):
    nets = {
        "resnet18_v1": (vision.resnet18_v1(classes=10), (3, 32, 32)),
        "mobilenet": (vision.mobilenet_v2_0_25(classes=10), (3, 32, 32)),
        "mixed": (mixed(), (3, 10, 9)),
        "odd": (Odd(), (3, 8, 8)),
    }
    if folder is None:
        print("\n".join(zoo()))
    elif name:
        export(Path(folder) / name, zoo()[name](classes=10), (3, int(side), int(side)))
    else:
        for each, (net, shape) in nets.items():
            export(Path(folder) / each, net, shape)


if __name__ == "__main__":
    main(*sys.argv[1:])
