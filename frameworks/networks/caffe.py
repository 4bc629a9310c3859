"""Networks that come with Caffe, and Network in network for CIFAR-10 as its authors published it for Caffe.

Jia et al., "Caffe: convolutional architecture for fast feature embedding", 2014. Layers have Caffe's names.
"""

from __future__ import annotations

from frameworks.spec import (
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Network,
    ReLU,
    Shape,
)


def caffe_lenet(classes: int = 10, channels: int = 1) -> Network:
    """Caffe's LeNet for 28 x 28 images, with no activation after the convolutions. 431,080 parameters."""
    return Network(
        "caffe_lenet",
        (channels, 28, 28),
        [
            Conv("conv1", 20, 5, out=(20, 24, 24)),
            MaxPool("pool1", 2, 2, out=(20, 12, 12)),
            Conv("conv2", 50, 5, out=(50, 8, 8)),
            MaxPool("pool2", 2, 2, out=(50, 4, 4)),
            Flatten(),
            Dense("ip1", 500),
            ReLU("relu1"),
            Dense("ip2", classes),
        ],
        departures=("maximum pools, more maps and one hidden layer, with ReLU; LeNet-5 has two, with tanh",),
        source="Jia et al. 2014; BVLC/caffe, examples/mnist/lenet.prototxt",
    )


def caffenet(classes: int = 1000, channels: int = 3) -> Network:
    """AlexNet with pooling before response normalization. 60,965,224 parameters."""
    return Network(
        "caffenet",
        (channels, 227, 227),
        [
            *(Conv("conv1", 96, 11, 4, out=(96, 55, 55)), ReLU()),
            *(MaxPool("pool1", 3, 2, out=(96, 27, 27)), _norm("norm1")),
            *(Conv("conv2", 256, 5, padding=2, groups=2, out=(256, 27, 27)), ReLU()),
            *(MaxPool("pool2", 3, 2, out=(256, 13, 13)), _norm("norm2")),
            *(Conv("conv3", 384, 3, padding=1, out=(384, 13, 13)), ReLU()),
            *(Conv("conv4", 384, 3, padding=1, groups=2, out=(384, 13, 13)), ReLU()),
            *(Conv("conv5", 256, 3, padding=1, groups=2, out=(256, 13, 13)), ReLU()),
            MaxPool("pool5", 3, 2, out=(256, 6, 6)),
            Flatten(),
            *(Dense("fc6", 4096), ReLU(), Dropout()),
            *(Dense("fc7", 4096), ReLU(), Dropout()),
            Dense("fc8", classes),
        ],
        departures=(
            "from AlexNet: pooling comes before response normalization, which has k = 1 and a fifth of the alpha",
        ),
        source="Jia et al. 2014; BVLC/caffe, models/bvlc_reference_caffenet/train_val.prototxt",
    )


def nin_cifar(classes: int = 10, channels: int = 3) -> Network:
    """Network in network for 32 x 32 images. 966,986 parameters."""
    return Network(
        "nin_cifar",
        (channels, 32, 32),
        [
            *_block(("conv1", "cccp1", "cccp2"), (192, 160, 96), 5, out=(96, 32, 32)),
            MaxPool("pool1", 3, 2, ceil=True, out=(96, 16, 16)),
            Dropout(),
            *_block(("conv2", "cccp3", "cccp4"), (192, 192, 192), 5, out=(192, 16, 16)),
            AvgPool("pool2", 3, 2, ceil=True, out=(192, 8, 8)),
            Dropout(),
            *_block(("conv3", "cccp5", "cccp6"), (192, 192, classes), 3, out=(classes, 8, 8)),
            GlobalAvgPool("pool3", out=(classes, 1, 1)),
            Flatten(),
        ],
        departures=("the paper prints no sizes: they are those of its authors' file for Caffe",),
        source="Lin, Chen and Yan 2013; mavenlin's cifar10_full prototxt for Caffe",
    )


def _norm(name: str) -> LocalResponseNorm:
    """Caffe divides alpha by the number of channels, as `LocalResponseNorm` does; its k is 1."""
    return LocalResponseNorm(name, 5, alpha=1e-4, beta=0.75, k=1.0)


def _block(names: tuple[str, str, str], maps: tuple[int, int, int], kernel: int, out: Shape) -> list[Layer]:
    """A convolution that preserves height and width, and two 1 x 1 convolutions, which Caffe calls cccp."""
    first, second, third = names
    return [
        *(Conv(first, maps[0], kernel, padding=kernel // 2), ReLU()),
        *(Conv(second, maps[1], 1), ReLU()),
        *(Conv(third, maps[2], 1, out=out), ReLU()),
    ]
