"""Prints what arrays the networks of Gluon's model zoo have: {network: {array: [shape, whether it is trained]}}."""

from __future__ import annotations

import json
import sys

import mxnet as mx
from mxnet.gluon.model_zoo import vision


def arrays(name: str) -> dict[str, tuple[list[int], bool]]:
    net = vision.get_model(name)
    symbol = net(mx.sym.var("data"))
    side = 299 if name == "inceptionv3" else 224
    arguments, _, auxiliary = symbol.infer_shape(data=(1, 3, side, side))  # no memory is taken
    names = [*symbol.list_arguments(), *symbol.list_auxiliary_states()]
    shapes = dict(zip(names, [*arguments, *auxiliary]))
    held = net.collect_params()
    return {name: (list(shapes[name]), held[name].grad_req != "null") for name in held}


if __name__ == "__main__":
    print(json.dumps({name: arrays(name) for name in sys.argv[1:]}))
