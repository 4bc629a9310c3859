"""A network of convolutions only: a stride of 2 takes the place of a pool.

Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for simplicity: the all convolutional net", 2015.
"""

from __future__ import annotations

from frameworks.spec import Conv, Dropout, Flatten, GlobalAvgPool, Network, ReLU


def all_cnn_c(classes: int = 10, channels: int = 3) -> Network:
    """All-CNN-C for 32 x 32 images. 1,369,738 parameters."""
    return Network(
        "all_cnn_c",
        (channels, 32, 32),
        [
            Dropout("input_dropout", rate=0.2),
            *(Conv("conv1", 96, 3, padding=1), ReLU()),
            *(Conv("conv2", 96, 3, padding=1), ReLU()),
            *(Conv("conv3", 96, 3, 2, padding=1, out=(96, 16, 16)), ReLU()),
            Dropout(),
            *(Conv("conv4", 192, 3, padding=1), ReLU()),
            *(Conv("conv5", 192, 3, padding=1), ReLU()),
            *(Conv("conv6", 192, 3, 2, padding=1, out=(192, 8, 8)), ReLU()),
            Dropout(),
            *(Conv("conv7", 192, 3, out=(192, 6, 6)), ReLU()),
            *(Conv("conv8", 192, 1, out=(192, 6, 6)), ReLU()),
            *(Conv("conv9", classes, 1, out=(classes, 6, 6)), ReLU()),
            GlobalAvgPool("mean", out=(classes, 1, 1)),
            Flatten(),
        ],
        departures=("the paper prints no padding: it follows from the 6 x 6 maps before the mean",),
        source="Springenberg et al. 2015, tables 1 and 2",
    )
