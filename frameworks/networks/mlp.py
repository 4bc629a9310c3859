"""Two networks of the same size, one dense and one convolutional, for comparison on shuffled pixels.

Canziani, "pytorch-Deep-Learning" (New York University course, notebook 06-convnet).
"""

from __future__ import annotations

from frameworks.spec import Conv, Dense, Flatten, MaxPool, Network, ReLU

_SOURCE = "Canziani, NYU Deep Learning, 2020, notebook 06-convnet"


def mlp(classes: int = 10, channels: int = 1) -> Network:
    """784 - 8 - 8 - classes. 6,442 parameters."""
    return Network(
        "mlp",
        (channels, 28, 28),
        [Flatten(), Dense("fc1", 8), ReLU(), Dense("fc2", 8), ReLU(), Dense("fc3", classes)],
        source=_SOURCE,
    )


def cnn(classes: int = 10, channels: int = 1) -> Network:
    """Two 5 x 5 convolutions with six maps each, then 50 - classes. 6,422 parameters."""
    return Network(
        "cnn",
        (channels, 28, 28),
        [
            Conv("conv1", 6, 5, out=(6, 24, 24)),
            ReLU(),
            MaxPool("pool1", 2, 2, out=(6, 12, 12)),
            Conv("conv2", 6, 5, out=(6, 8, 8)),
            ReLU(),
            MaxPool("pool2", 2, 2, out=(6, 4, 4)),
            Flatten(),
            Dense("fc1", 50),
            ReLU(),
            Dense("fc2", classes),
        ],
        source=_SOURCE,
    )
