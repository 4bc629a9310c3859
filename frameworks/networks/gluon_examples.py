"""The network of MXNet's tutorial on handwritten digits, in Gluon.

"Hand-written digit recognition", mxnet.apache.org, 2018.
"""

from __future__ import annotations

from frameworks.spec import Conv, Dense, Flatten, MaxPool, Network, Tanh


def gluon_mnist(classes: int = 10, channels: int = 1) -> Network:
    """LeNet with tanh, 20 and 50 maps and 500 hidden units. 431,080 parameters.

    The tutorial has tanh after the last layer too, so the logits are between -1 and 1.
    """
    return Network(
        "gluon_mnist",
        (channels, 28, 28),
        [
            *(Conv("conv1", 20, 5, out=(20, 24, 24)), Tanh()),
            MaxPool("pool1", 2, 2, out=(20, 12, 12)),
            *(Conv("conv2", 50, 5, out=(50, 8, 8)), Tanh()),
            MaxPool("pool2", 2, 2, out=(50, 4, 4)),
            Flatten(),
            *(Dense("fc1", 500), Tanh()),
            *(Dense("fc2", classes), Tanh()),
        ],
        source="mxnet.apache.org, Hand-written digit recognition, 2018",
    )
