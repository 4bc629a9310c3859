"""Prints the counts of Gluon's model zoo: {network: [trained, running]}. Shapes are inferred; no memory is taken."""

from __future__ import annotations

import json
import sys
from math import prod

import mxnet as mx
from mxnet.gluon.model_zoo import vision


def counts(name: str) -> tuple[int, int]:
    net = vision.get_model(name)
    symbol = net(mx.sym.var("data"))
    side = 299 if name == "inceptionv3" else 224
    arguments, _, running = symbol.infer_shape(data=(1, 3, side, side))
    shapes = dict(zip([*symbol.list_arguments(), *symbol.list_auxiliary_states()], [*arguments, *running]))
    held = [(prod(shapes[key]), parameter.grad_req != "null") for key, parameter in net.collect_params().items()]
    return sum(size for size, trained in held if trained), sum(size for size, trained in held if not trained)


if __name__ == "__main__":
    print(json.dumps({name: counts(name) for name in sys.argv[1:]}))
