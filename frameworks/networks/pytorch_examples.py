"""The network of PyTorch's MNIST example.

pytorch/examples, mnist/main.py, 2020. The network of PyTorch's first tutorial is `lenet_cifar`.
"""

from __future__ import annotations

from frameworks.spec import Conv, Dense, Dropout, Flatten, MaxPool, Network, ReLU


def pytorch_mnist(classes: int = 10, channels: int = 1) -> Network:
    """Two convolutions, one pool and two dense layers. 1,199,882 parameters."""
    return Network(
        "pytorch_mnist",
        (channels, 28, 28),
        [
            *(Conv("conv1", 32, 3, out=(32, 26, 26)), ReLU()),
            *(Conv("conv2", 64, 3, out=(64, 24, 24)), ReLU()),
            MaxPool("pool", 2, 2, out=(64, 12, 12)),
            Dropout("dropout1", rate=0.25),
            Flatten(),
            *(Dense("fc1", 128), ReLU()),
            Dropout("dropout2", rate=0.5),
            Dense("fc2", classes),
        ],
        source="pytorch/examples, mnist/main.py, 2020",
    )
