"""Inception v2, which introduced batch normalization, and Inception v3, which factorizes the windows.

Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal covariate shift", 2015.
Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture for computer vision", 2015.
"""

from __future__ import annotations

from frameworks.spec import (
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Network,
    Padding,
    Pair,
    ReLU,
)


def conv_bn_relu(
    name: str, channels: int, kernel: Pair, stride: int = 1, padding: Padding = 0, eps: float = 1e-3
) -> list[Layer]:
    """A convolution without bias, batch normalization, ReLU, named as torchvision names them: name.conv, name.bn."""
    convolution = Conv(f"{name}.conv", channels, kernel, stride, padding, bias=False)
    return [convolution, BatchNorm(f"{name}.bn", eps=eps), ReLU()]


def _average() -> AvgPool:
    return AvgPool("pool", 3, 1, padding=1)


# --- v2 ---------------------------------------------------------------------------------------------------------------


def inception_v2(classes: int = 1000, channels: int = 3) -> Network:
    """The batch norm paper's network (BN-Inception). 11,285,224 parameters."""
    return Network(
        "inception_v2",
        (channels, 224, 224),
        [
            *_v2_conv("conv1", 64, 7, 2, padding=3),
            MaxPool("pool1", 3, 2, ceil=True, out=(64, 56, 56)),
            *_v2_conv("conv2_reduce", 64, 1),
            *_v2_conv("conv2", 192, 3, padding=1),
            MaxPool("pool2", 3, 2, ceil=True, out=(192, 28, 28)),
            # Figure 5: #1x1; #3x3 reduce, #3x3; #double 3x3 reduce, #double 3x3; the pool and its projection.
            _v2("inception3a", 64, (64, 64), (64, 96), _average(), 32, out=(256, 28, 28)),
            _v2("inception3b", 64, (64, 96), (64, 96), _average(), 64, out=(320, 28, 28)),
            _v2_halving("inception3c", (128, 160), (64, 96), out=(576, 14, 14)),
            _v2("inception4a", 224, (64, 96), (96, 128), _average(), 128, out=(576, 14, 14)),
            _v2("inception4b", 192, (96, 128), (96, 128), _average(), 128, out=(576, 14, 14)),
            _v2("inception4c", 160, (128, 160), (128, 160), _average(), 128, out=(608, 14, 14)),
            _v2("inception4d", 96, (128, 192), (160, 192), _average(), 128, out=(608, 14, 14)),
            _v2_halving("inception4e", (128, 192), (192, 256), out=(1056, 7, 7)),
            _v2("inception5a", 352, (192, 320), (160, 224), _average(), 128, out=(1024, 7, 7)),
            _v2("inception5b", 352, (192, 320), (192, 224), MaxPool("pool", 3, 1, padding=1), 128, out=(1024, 7, 7)),
            GlobalAvgPool("pool5", out=(1024, 1, 1)),
            Flatten(),
            Dense("fc", classes),
        ],
        departures=(
            "4c, 4d and 4e give 608, 608 and 1,056 maps, the sums of their printed filters; as totals the paper prints "
            "576, 576 and 1,024",
            "no auxiliary classifiers",
            "convolutions have no bias: batch normalization's beta makes it redundant",
        ),
        source="Ioffe and Szegedy 2015, figure 5; sizes as in Cadene/pretrained-models.pytorch, bninception.py",
    )


def _v2_conv(name: str, channels: int, kernel: int, stride: int = 1, padding: int = 0) -> list[Layer]:
    return conv_bn_relu(name, channels, kernel, stride, padding, eps=1e-5)


def _v2(
    name: str,
    one: int,
    three: tuple[int, int],
    double: tuple[int, int],
    pool: AvgPool | MaxPool,
    projection: int,
    out: tuple[int, int, int],
) -> Concat:
    return Concat(
        name,
        [
            _v2_conv("1x1", one, 1),
            [*_v2_conv("3x3_reduce", three[0], 1), *_v2_conv("3x3", three[1], 3, padding=1)],
            [
                *_v2_conv("double_3x3_reduce", double[0], 1),
                *_v2_conv("double_3x3_1", double[1], 3, padding=1),
                *_v2_conv("double_3x3_2", double[1], 3, padding=1),
            ],
            [pool, *_v2_conv("pool_proj", projection, 1)],
        ],
        out=out,
    )


def _v2_halving(name: str, three: tuple[int, int], double: tuple[int, int], out: tuple[int, int, int]) -> Concat:
    """No 1 x 1 branch; stride 2 in the other branches; the pool has no projection."""
    return Concat(
        name,
        [
            [*_v2_conv("3x3_reduce", three[0], 1), *_v2_conv("3x3", three[1], 3, 2, padding=1)],
            [
                *_v2_conv("double_3x3_reduce", double[0], 1),
                *_v2_conv("double_3x3_1", double[1], 3, padding=1),
                *_v2_conv("double_3x3_2", double[1], 3, 2, padding=1),
            ],
            [MaxPool("pool", 3, 2, ceil=True)],
        ],
        out=out,
    )


# --- v3, under torchvision's names ------------------------------------------------------------------------------------


def inception_v3(classes: int = 1000, channels: int = 3) -> Network:
    """torchvision's Inception v3, as it is in evaluation. 23,834,568 parameters."""
    return _inception_v3("inception_v3", classes, channels, head=())


def inception_v3_aux(classes: int = 1000, channels: int = 3) -> Network:
    """torchvision's Inception v3 with its auxiliary classifier, as it is trained. 27,161,264 parameters."""
    return _inception_v3("inception_v3_aux", classes, channels, head=(_v3_auxiliary(classes),))


def _inception_v3(name: str, classes: int, channels: int, head: tuple[Auxiliary, ...] | tuple[()]) -> Network:
    return Network(
        name,
        (channels, 299, 299),
        [
            *conv_bn_relu("Conv2d_1a_3x3", 32, 3, 2),
            *conv_bn_relu("Conv2d_2a_3x3", 32, 3),
            *conv_bn_relu("Conv2d_2b_3x3", 64, 3, padding=1),
            MaxPool("maxpool1", 3, 2, out=(64, 73, 73)),
            *conv_bn_relu("Conv2d_3b_1x1", 80, 1),
            *conv_bn_relu("Conv2d_4a_3x3", 192, 3),
            MaxPool("maxpool2", 3, 2, out=(192, 35, 35)),
            _v3_a("Mixed_5b", projection=32, out=(256, 35, 35)),
            _v3_a("Mixed_5c", projection=64, out=(288, 35, 35)),
            _v3_a("Mixed_5d", projection=64, out=(288, 35, 35)),
            _v3_b("Mixed_6a", out=(768, 17, 17)),
            _v3_c("Mixed_6b", width=128, out=(768, 17, 17)),
            _v3_c("Mixed_6c", width=160, out=(768, 17, 17)),
            _v3_c("Mixed_6d", width=160, out=(768, 17, 17)),
            _v3_c("Mixed_6e", width=192, out=(768, 17, 17)),
            *head,
            _v3_d("Mixed_7a", out=(1280, 8, 8)),
            _v3_e("Mixed_7b", out=(2048, 8, 8)),
            _v3_e("Mixed_7c", out=(2048, 8, 8)),
            GlobalAvgPool("avgpool", out=(2048, 1, 1)),
            Dropout(),
            Flatten(),
            Dense("fc", classes),
        ],
        departures=(
            "stem and modules are those of the code that Google published: the paper's table 1 has a 3 x 3 convolution "
            "with stride 2 for the stem's 1 x 1 and second pool, and two 3 x 3 for every 5 x 5",
            "torchvision transforms the input when it loads its weights: that is left to the data",
        ),
        source="Szegedy et al. 2015; torchvision 0.28, models/inception.py",
    )


def _v3_a(name: str, projection: int, out: tuple[int, int, int]) -> Concat:
    """Figure 5 of the paper, with one 5 x 5 window."""
    return Concat(
        name,
        [
            conv_bn_relu("branch1x1", 64, 1),
            [*conv_bn_relu("branch5x5_1", 48, 1), *conv_bn_relu("branch5x5_2", 64, 5, padding=2)],
            [
                *conv_bn_relu("branch3x3dbl_1", 64, 1),
                *conv_bn_relu("branch3x3dbl_2", 96, 3, padding=1),
                *conv_bn_relu("branch3x3dbl_3", 96, 3, padding=1),
            ],
            [_average(), *conv_bn_relu("branch_pool", projection, 1)],
        ],
        out=out,
    )


def _v3_b(name: str, out: tuple[int, int, int]) -> Concat:
    """Figure 10: from 35 x 35 to 17 x 17."""
    return Concat(
        name,
        [
            conv_bn_relu("branch3x3", 384, 3, 2),
            [
                *conv_bn_relu("branch3x3dbl_1", 64, 1),
                *conv_bn_relu("branch3x3dbl_2", 96, 3, padding=1),
                *conv_bn_relu("branch3x3dbl_3", 96, 3, 2),
            ],
            [MaxPool("pool", 3, 2)],
        ],
        out=out,
    )


def _v3_c(name: str, width: int, out: tuple[int, int, int]) -> Concat:
    """Figure 6 with n = 7: 7 x 7 windows as 1 x 7 and 7 x 1."""
    return Concat(
        name,
        [
            conv_bn_relu("branch1x1", 192, 1),
            [
                *conv_bn_relu("branch7x7_1", width, 1),
                *_row("branch7x7_2", width, 7),
                *_column("branch7x7_3", 192, 7),
            ],
            [
                *conv_bn_relu("branch7x7dbl_1", width, 1),
                *_column("branch7x7dbl_2", width, 7),
                *_row("branch7x7dbl_3", width, 7),
                *_column("branch7x7dbl_4", width, 7),
                *_row("branch7x7dbl_5", 192, 7),
            ],
            [_average(), *conv_bn_relu("branch_pool", 192, 1)],
        ],
        out=out,
    )


def _v3_d(name: str, out: tuple[int, int, int]) -> Concat:
    """From 17 x 17 to 8 x 8."""
    return Concat(
        name,
        [
            [*conv_bn_relu("branch3x3_1", 192, 1), *conv_bn_relu("branch3x3_2", 320, 3, 2)],
            [
                *conv_bn_relu("branch7x7x3_1", 192, 1),
                *_row("branch7x7x3_2", 192, 7),
                *_column("branch7x7x3_3", 192, 7),
                *conv_bn_relu("branch7x7x3_4", 192, 3, 2),
            ],
            [MaxPool("pool", 3, 2)],
        ],
        out=out,
    )


def _v3_e(name: str, out: tuple[int, int, int]) -> Concat:
    """Figure 7: 3 x 3 windows as 1 x 3 beside 3 x 1. The inner joins have no names, as in torchvision."""
    return Concat(
        name,
        [
            conv_bn_relu("branch1x1", 320, 1),
            [
                *conv_bn_relu("branch3x3_1", 384, 1),
                Concat("", [_row("branch3x3_2a", 384, 3), _column("branch3x3_2b", 384, 3)]),
            ],
            [
                *conv_bn_relu("branch3x3dbl_1", 448, 1),
                *conv_bn_relu("branch3x3dbl_2", 384, 3, padding=1),
                Concat("", [_row("branch3x3dbl_3a", 384, 3), _column("branch3x3dbl_3b", 384, 3)]),
            ],
            [_average(), *conv_bn_relu("branch_pool", 192, 1)],
        ],
        out=out,
    )


def _row(name: str, channels: int, size: int) -> list[Layer]:
    return conv_bn_relu(name, channels, (1, size), padding=(0, size // 2))


def _column(name: str, channels: int, size: int) -> list[Layer]:
    return conv_bn_relu(name, channels, (size, 1), padding=(size // 2, 0))


def _v3_auxiliary(classes: int) -> Auxiliary:
    """Section 4 of the paper; the weight of 0.4 is that of torchvision's training reference."""
    return Auxiliary(
        "AuxLogits",
        [
            AvgPool("pool", 5, 3),
            *conv_bn_relu("conv0", 128, 1),
            *conv_bn_relu("conv1", 768, 5),
            GlobalAvgPool("mean"),
            Flatten(),
            Dense("fc", classes),
        ],
        weight=0.4,
    )
