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
from frameworks.networks.allcnn import all_cnn_c
from frameworks.networks.caffe import caffe_lenet, caffenet, nin_cifar
from frameworks.networks.cifar_densenet import cifar_densenet121
from frameworks.networks.cifar_dla import cifar_dla, cifar_simple_dla
from frameworks.networks.cifar_dpn import cifar_dpn26, cifar_dpn92
from frameworks.networks.cifar_efficientnet import cifar_efficientnet_b0
from frameworks.networks.cifar_googlenet import cifar_googlenet
from frameworks.networks.cifar_mobilenet_v1 import cifar_mobilenet
from frameworks.networks.cifar_mobilenet_v2 import cifar_mobilenet_v2
from frameworks.networks.cifar_pnasnet import cifar_pnasnet_a, cifar_pnasnet_b
from frameworks.networks.cifar_regnet import cifar_regnet_x_200mf, cifar_regnet_x_400mf, cifar_regnet_y_400mf
from frameworks.networks.cifar_resnet import (
    cifar_resnet18,
    cifar_resnet20,
    cifar_resnet32,
    cifar_resnet44,
    cifar_resnet50,
    cifar_resnet56,
    cifar_resnet101,
    cifar_resnet110,
)
from frameworks.networks.cifar_resnet_v2 import cifar_preact_resnet18
from frameworks.networks.cifar_resnext import cifar_resnext29_2x64d, cifar_resnext29_32x4d
from frameworks.networks.cifar_senet import cifar_senet18
from frameworks.networks.cifar_shufflenet import cifar_shufflenet_g2
from frameworks.networks.cifar_shufflenet_v2 import cifar_shufflenet_v2_1
from frameworks.networks.convnext import convnext_base, convnext_large, convnext_small, convnext_tiny, convnext_xlarge
from frameworks.networks.densenet import densenet121, densenet161, densenet169, densenet201
from frameworks.networks.efficientnet import (
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
    efficientnet_v2_b0,
    efficientnet_v2_b1,
    efficientnet_v2_b2,
    efficientnet_v2_b3,
    efficientnet_v2_l,
    efficientnet_v2_m,
    efficientnet_v2_s,
)
from frameworks.networks.gluon_examples import gluon_mnist
from frameworks.networks.googlenet import googlenet, googlenet_aux, googlenet_bn, googlenet_bn_aux, googlenet_fashion
from frameworks.networks.inception import inception_v2, inception_v3, inception_v3_aux
from frameworks.networks.inception_resnet_v2 import inception_resnet_v2
from frameworks.networks.keras_examples import keras_mnist
from frameworks.networks.lenet import lenet, lenet5, lenet_bn, lenet_cifar, lenet_relu
from frameworks.networks.mlp import cnn, mlp
from frameworks.networks.mnasnet import mnasnet0_5, mnasnet0_75, mnasnet1_0, mnasnet1_3
from frameworks.networks.mobilenet_v1 import mobilenet_v1
from frameworks.networks.mobilenet_v2 import mobilenet_v2
from frameworks.networks.mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small
from frameworks.networks.nin import nin
from frameworks.networks.pytorch_examples import pytorch_mnist
from frameworks.networks.regnet import (
    regnet_x_1_6gf,
    regnet_x_3_2gf,
    regnet_x_8gf,
    regnet_x_16gf,
    regnet_x_32gf,
    regnet_x_400mf,
    regnet_x_800mf,
    regnet_y_1_6gf,
    regnet_y_3_2gf,
    regnet_y_8gf,
    regnet_y_16gf,
    regnet_y_32gf,
    regnet_y_128gf,
    regnet_y_400mf,
    regnet_y_800mf,
)
from frameworks.networks.resnet import resnet9, resnet18, resnet18_fashion, resnet34, resnet50, resnet101, resnet152
from frameworks.networks.resnet_v2 import resnet50_v2, resnet101_v2, resnet152_v2
from frameworks.networks.resnext import resnext50_32x4d, resnext101_32x8d, resnext101_64x4d
from frameworks.networks.rosetta import rosetta
from frameworks.networks.senet import se_resnet50
from frameworks.networks.shufflenet import shufflenet_v1
from frameworks.networks.shufflenet_v2 import (
    shufflenet_v2_x0_5,
    shufflenet_v2_x1_0,
    shufflenet_v2_x1_5,
    shufflenet_v2_x2_0,
)
from frameworks.networks.squeezenet import squeezenet1_0, squeezenet1_1
from frameworks.networks.tensorflow_examples import tensorflow_cifar
from frameworks.networks.vgg import (
    cifar_vgg13,
    cifar_vgg16,
    cifar_vgg19,
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
from frameworks.networks.wide_resnet import wide_resnet50_2, wide_resnet101_2
from frameworks.networks.xception import xception
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
        # 32 x 32 images, and the first networks of frameworks' tutorials
        *(cifar_resnet20, cifar_resnet32, cifar_resnet44, cifar_resnet56, cifar_resnet110),
        *(cifar_resnet18, cifar_resnet50, cifar_resnet101, cifar_preact_resnet18, cifar_senet18),
        *(cifar_resnext29_2x64d, cifar_resnext29_32x4d),
        *(cifar_regnet_x_200mf, cifar_regnet_x_400mf, cifar_regnet_y_400mf),
        *(cifar_vgg13, cifar_vgg16, cifar_vgg19, cifar_googlenet, cifar_densenet121, cifar_dpn26, cifar_dpn92),
        *(cifar_dla, cifar_simple_dla, cifar_pnasnet_a, cifar_pnasnet_b),
        *(cifar_mobilenet, cifar_mobilenet_v2, cifar_shufflenet_g2, cifar_shufflenet_v2_1, cifar_efficientnet_b0),
        *(all_cnn_c, nin_cifar, caffe_lenet, caffenet),
        *(pytorch_mnist, keras_mnist, tensorflow_cifar, gluon_mnist),
        googlenet_bn_aux,
        *(squeezenet1_0, squeezenet1_1),
        *(densenet121, densenet161, densenet169, densenet201),
        *(resnext50_32x4d, resnext101_32x8d, resnext101_64x4d),
        *(wide_resnet50_2, wide_resnet101_2),
        *(resnet50_v2, resnet101_v2, resnet152_v2),
        se_resnet50,
        xception,
        inception_resnet_v2,
        mobilenet_v1,
        mobilenet_v2,
        *(mobilenet_v3_small, mobilenet_v3_large),
        shufflenet_v1,
        *(shufflenet_v2_x0_5, shufflenet_v2_x1_0, shufflenet_v2_x1_5, shufflenet_v2_x2_0),
        *(mnasnet0_5, mnasnet0_75, mnasnet1_0, mnasnet1_3),
        *(efficientnet_b0, efficientnet_b1, efficientnet_b2, efficientnet_b3, efficientnet_b4, efficientnet_b5),
        *(efficientnet_b6, efficientnet_b7, efficientnet_v2_s, efficientnet_v2_m, efficientnet_v2_l),
        *(efficientnet_v2_b0, efficientnet_v2_b1, efficientnet_v2_b2, efficientnet_v2_b3),
        *(regnet_x_400mf, regnet_x_800mf, regnet_x_1_6gf, regnet_x_3_2gf, regnet_x_8gf, regnet_x_16gf),
        *(regnet_x_32gf, regnet_y_400mf, regnet_y_800mf, regnet_y_1_6gf, regnet_y_3_2gf, regnet_y_8gf),
        *(regnet_y_16gf, regnet_y_32gf, regnet_y_128gf),
        *(convnext_tiny, convnext_small, convnext_base, convnext_large, convnext_xlarge),
    )
}
