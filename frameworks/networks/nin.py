"""Network in network: after each convolution two 1 x 1 convolutions; no dense layer.

Lin, Chen and Yan, "Network in network", 2013.
"""

from __future__ import annotations

from frameworks.spec import Conv, Dropout, Flatten, GlobalAvgPool, Layer, MaxPool, Network, ReLU, Shape


def nin(classes: int = 10, channels: int = 1) -> Network:
    """The textbook's NiN, with AlexNet's windows, for 224 x 224 gray images. 1,992,166 parameters."""
    return Network(
        "nin",
        (channels, 224, 224),
        [
            *_block(1, 96, 11, stride=4, padding=0, out=(96, 54, 54)),
            MaxPool("pool1", 3, 2, out=(96, 26, 26)),
            *_block(2, 256, 5, stride=1, padding=2, out=(256, 26, 26)),
            MaxPool("pool2", 3, 2, out=(256, 12, 12)),
            *_block(3, 384, 3, stride=1, padding=1, out=(384, 12, 12)),
            MaxPool("pool3", 3, 2, out=(384, 5, 5)),
            Dropout(),
            *_block(4, classes, 3, stride=1, padding=1, out=(classes, 5, 5)),
            GlobalAvgPool("mean", out=(classes, 1, 1)),
            Flatten(),
        ],
        departures=(
            "AlexNet's windows and widths in the first three blocks, one block of 3 x 3 for the classes",
            "the last block ends in ReLU, so the logits are not negative and can die",
        ),
        source="Zhang, Lipton, Li and Smola, Dive into Deep Learning, 2021, section 8.3",
    )


def _block(number: int, maps: int, kernel: int, stride: int, padding: int, out: Shape) -> list[Layer]:
    return [
        Conv(f"conv{number}.1", maps, kernel, stride, padding, out=out),
        ReLU(),
        Conv(f"conv{number}.2", maps, 1, out=out),
        ReLU(),
        Conv(f"conv{number}.3", maps, 1, out=out),
        ReLU(),
    ]
