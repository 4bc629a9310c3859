"""The network of Keras's example for MNIST.

Chollet, "Simple MNIST convnet", keras.io/examples, 2015.
"""

from __future__ import annotations

from frameworks.spec import Conv, Dense, Dropout, Flatten, MaxPool, Network, ReLU


def keras_mnist(classes: int = 10, channels: int = 1) -> Network:
    """Two convolutions, two pools and one dense layer. 34,826 parameters."""
    return Network(
        "keras_mnist",
        (channels, 28, 28),
        [
            *(Conv("conv2d", 32, 3, out=(32, 26, 26)), ReLU()),
            MaxPool("max_pooling2d", 2, 2, out=(32, 13, 13)),
            *(Conv("conv2d_1", 64, 3, out=(64, 11, 11)), ReLU()),
            MaxPool("max_pooling2d_1", 2, 2, out=(64, 5, 5)),
            Flatten(),
            Dropout(rate=0.5),
            Dense("dense", classes),
        ],
        departures=("the first dense layer reads map by map, where the source reads pixel by pixel",),
        source="Chollet 2015, Simple MNIST convnet, keras.io/examples/vision/mnist_convnet",
    )
