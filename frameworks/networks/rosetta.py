"""The convolutional net of "Deep learning frameworks: a Rosetta Stone", the same in a dozen frameworks of 2018.

Karmanov et al., https://github.com/ilkarman/DeepLearningFrameworks, 2018: the "VGG-style" net for CIFAR-10.
"""

from __future__ import annotations

from frameworks.spec import Conv, Dense, Dropout, Flatten, MaxPool, Network, ReLU


def rosetta(classes: int = 10, channels: int = 3) -> Network:
    """Four 3 x 3 convolutions and two dense layers for 32 x 32 images. 3,441,592 parameters."""
    return Network(
        "rosetta",
        (channels, 32, 32),
        [
            Conv("conv1", 50, 3, padding=1),
            ReLU(),
            Conv("conv2", 50, 3, padding=1),
            MaxPool("pool1", 2, 2, out=(50, 16, 16)),
            ReLU(),
            Dropout(rate=0.25),
            Conv("conv3", 100, 3, padding=1),
            ReLU(),
            Conv("conv4", 100, 3, padding=1),
            MaxPool("pool2", 2, 2, out=(100, 8, 8)),
            ReLU(),
            Dropout(rate=0.25),
            Flatten(),
            Dense("fc1", 512),
            ReLU(),
            Dropout(rate=0.5),
            Dense("fc2", classes),
        ],
        source="Karmanov et al. 2018; ilkarman/DeepLearningFrameworks, notebooks/PyTorch_CNN.ipynb",
    )
