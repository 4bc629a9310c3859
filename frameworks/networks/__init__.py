"""The networks by name: one file per paper, each a function with the paper's sizes as defaults."""

from __future__ import annotations

from collections.abc import Callable

from frameworks.networks.alexnet import (
    alexnet,
    alexnet_cifar,
    alexnet_d2l,
    alexnet_fashion,
    alexnet_owt,
    alexnet_single,
)
from frameworks.networks.googlenet import googlenet, googlenet_aux, googlenet_bn, googlenet_fashion
from frameworks.networks.inception import inception_v2, inception_v3, inception_v3_aux
from frameworks.networks.lenet import lenet, lenet5, lenet_bn, lenet_cifar, lenet_relu
from frameworks.networks.mlp import cnn, mlp
from frameworks.networks.nin import nin
from frameworks.networks.resnet import resnet9, resnet18, resnet18_fashion, resnet34, resnet50, resnet101, resnet152
from frameworks.networks.rosetta import rosetta
from frameworks.networks.vgg import (
    vgg11,
    vgg11_bn,
    vgg11_fashion,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
    vgg_cifar,
    vgg_d2l,
    vgg_small,
)
from frameworks.networks.zfnet import zfnet, zfnet_wide
from frameworks.spec import Network

NETWORKS: dict[str, Callable[..., Network]] = {
    function.__name__: function
    for function in (
        *(lenet, lenet_relu, lenet_cifar, lenet_bn, lenet5),
        *(mlp, cnn, rosetta),
        *(alexnet, alexnet_single, alexnet_owt, alexnet_fashion, alexnet_d2l, alexnet_cifar),
        *(zfnet, zfnet_wide),
        *(vgg11, vgg13, vgg16, vgg19, vgg11_bn, vgg13_bn, vgg16_bn, vgg19_bn),
        *(vgg11_fashion, vgg_small, vgg_d2l, vgg_cifar),
        nin,
        *(googlenet, googlenet_aux, googlenet_fashion, googlenet_bn),
        *(inception_v2, inception_v3, inception_v3_aux),
        *(resnet18, resnet34, resnet50, resnet101, resnet152, resnet18_fashion, resnet9),
    )
}
