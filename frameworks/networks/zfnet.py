"""ZFNet: AlexNet with a finer first layer.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2013.
"""

from __future__ import annotations

from frameworks.networks.alexnet import response_norm
from frameworks.spec import Conv, Dense, Dropout, Flatten, MaxPool, Network, ReLU


def zfnet(classes: int = 1000, channels: int = 3) -> Network:
    """The paper's figure 3. 62,357,608 parameters."""
    return _zfnet("zfnet", (384, 384, 256), classes, channels)


def zfnet_wide(classes: int = 1000, channels: int = 3) -> Network:
    """The paper's wider variant: 512, 1024, 512 maps in layers 3 to 5. 107,627,624 parameters."""
    return _zfnet("zfnet_wide", (512, 1024, 512), classes, channels)


def _zfnet(name: str, maps: tuple[int, int, int], classes: int, channels: int) -> Network:
    c3, c4, c5 = maps
    return Network(
        name,
        (channels, 224, 224),
        [
            Conv("C1", 96, 7, 2, padding=1, out=(96, 110, 110)),
            ReLU(),
            MaxPool("P1", 3, 2, padding=1, out=(96, 55, 55)),
            response_norm("N1"),
            Conv("C2", 256, 5, 2, out=(256, 26, 26)),
            ReLU(),
            MaxPool("P2", 3, 2, padding=1, out=(256, 13, 13)),
            response_norm("N2"),
            Conv("C3", c3, 3, padding=1, out=(c3, 13, 13)),
            ReLU(),
            Conv("C4", c4, 3, padding=1, out=(c4, 13, 13)),
            ReLU(),
            Conv("C5", c5, 3, padding=1, out=(c5, 13, 13)),
            ReLU(),
            MaxPool("P5", 3, 2, out=(c5, 6, 6)),
            Flatten(),
            Dense("FC6", 4096),
            ReLU(),
            Dropout(),
            Dense("FC7", 4096),
            ReLU(),
            Dropout(),
            Dense("FC8", classes),
        ],
        departures=(
            "the padding is not printed: it is what gives the printed maps",
            "contrast normalization is AlexNet's, whose constants the paper does not repeat",
        ),
        source="Zeiler and Fergus 2013, figure 3",
    )
