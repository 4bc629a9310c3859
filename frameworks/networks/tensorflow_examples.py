"""The network of TensorFlow's tutorial for CIFAR-10.

"Convolutional neural network (CNN)", tensorflow.org/tutorials/images/cnn, 2019.
"""

from __future__ import annotations

from frameworks.spec import Conv, Dense, Flatten, MaxPool, Network, ReLU


def tensorflow_cifar(classes: int = 10, channels: int = 3) -> Network:
    """Three convolutions, two pools and two dense layers. 122,570 parameters."""
    return Network(
        "tensorflow_cifar",
        (channels, 32, 32),
        [
            *(Conv("conv2d", 32, 3, out=(32, 30, 30)), ReLU()),
            MaxPool("max_pooling2d", 2, 2, out=(32, 15, 15)),
            *(Conv("conv2d_1", 64, 3, out=(64, 13, 13)), ReLU()),
            MaxPool("max_pooling2d_1", 2, 2, out=(64, 6, 6)),
            *(Conv("conv2d_2", 64, 3, out=(64, 4, 4)), ReLU()),
            Flatten(),
            *(Dense("dense", 64), ReLU()),
            Dense("dense_1", classes),
        ],
        departures=("the first dense layer reads map by map, where the source reads pixel by pixel",),
        source="tensorflow.org/tutorials/images/cnn, 2019",
    )
