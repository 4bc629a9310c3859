"""Faults to plant in adapters, one at a time, and where the certificate must find each: data, nothing else.

To add one: a line in `FAULTS`, and a network in `NETS` where none of them shows it. Text that an adapter no longer has
fails the fault's test, so nothing is left out unseen.
"""

from __future__ import annotations

from typing import NamedTuple

from frameworks.spec import (
    Affine,
    Auxiliary,
    AvgPool,
    BatchNorm,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Network,
    Normalize,
    ReLU,
    Residual,
    Resize,
    Select,
    Sigmoid,
    Tanh,
)

# --- networks ---------------------------------------------------------------------------------------------------------


def _net(name: str, shape: tuple[int, ...], *layers: Layer) -> Network:
    return Network(name, shape, [*layers, Flatten(), Dense("head", 5)])


_MEAN = GlobalAvgPool("mean")  # whatever shape comes to it, the head's is the same
_BRANCHES = [Conv("two", 2, 3, 1, 1)], [Conv("three", 3, 1), Tanh()]
_SQUARE = [Dense("fc", 12), Sigmoid(), Dense("square", 12)]

NETS: dict[str, Network] = {
    net.name: net
    for net in (
        _net("dense", (1, 5, 5), Flatten("flat"), *_SQUARE, ReLU()),
        _net("conv", (3, 8, 7), Conv("conv", 4, 3, 2, ((1, 0), (2, 1))), Tanh(), Conv("groups", 6, 3, 1, 1, groups=2)),
        _net("max", (2, 8, 8), Conv("conv", 4, 3, 1, 1), MaxPool("largest", 3, 2, ((1, 0), (1, 0))), _MEAN),
        _net("padded max", (2, 9, 9), Conv("conv", 4, 3), MaxPool("largest", 3, 2, 1), _MEAN),
        _net("plain max", (2, 8, 8), MaxPool("largest", 3, 2), _MEAN),
        _net("average", (2, 7, 7), AvgPool("average", 3, 2, ((1, 0), (1, 0)), count_padding=False), _MEAN),
        _net("counted average", (2, 7, 7), AvgPool("average", 3, 2, 1), _MEAN),
        _net("norm", (2, 5, 5), Conv("conv", 4, 3), BatchNorm("norm"), Tanh()),
        _net("response", (2, 4, 4), Conv("conv", 8, 3), LocalResponseNorm("response", 4, 0.5)),
        _net("coefficients", (2, 4, 4), Normalize("normal", mean=(0.4, 0.6), std=(0.2, 0.3)), Affine("affine")),
        _net("resize", (2, 5, 5), Resize("resize", 8, 7)),
        _net("branches", (2, 5, 5), Concat("join", _BRANCHES), Tanh()),
        _net("shortcut", (3, 5, 5), Residual("sum", [Conv("conv", 3, 3, 1, 1), Tanh()]), Select("some", (2, 0))),
        _net("auxiliary", (2, 4, 4), Conv("conv", 4, 3), Tanh(), Auxiliary("aside", [Flatten(), Dense("aux", 5)], 0.3)),
        _net("scaled", (2, 4, 4), Tanh("tanh", amplitude=1.7, slope=0.6), Affine("affine")),
        _net("at zero", (2, 16, 16), ReLU("zero")),  # one pixel in 256 is 0
        _net("dropout", (2, 12, 12), Conv("conv", 8, 3), Dropout("drop", rate=0.3)),
    )
}

# --- faults -----------------------------------------------------------------------------------------------------------


class Fault(NamedTuple):
    """What is changed in an adapter's file, and what the certificate must say of it first."""

    name: str
    framework: str
    changes: tuple[tuple[str, str], ...]  # old text, new text; the old one is replaced wherever it stands
    net: str
    stage: str
    tensor: str
    cause: str | None  # words of the likely cause; None: there is no telling
    case: str = "momentum, decay"  # the one training of the trial


def torch(name: str, old: str, new: str, *rest: str | None, **more: str) -> Fault:
    return Fault(name, "torch", ((old, new),), *rest, **more)  # type: ignore[arg-type]


def mxnet(name: str, old: str, new: str, *rest: str | None, **more: str) -> Fault:
    return Fault(name, "mxnet", ((old, new),), *rest, **more)  # type: ignore[arg-type]


def keras(name: str, old: str, new: str, *rest: str | None, **more: str) -> Fault:
    return Fault(name, "keras", ((old, new),), *rest, **more)  # type: ignore[arg-type]


# A resize whose pixels have their places at i, not at i + 1/2.
_HALF_OFF = "(np.array([np.interp(np.arange(b) * a / b, np.arange(a), row) for row in np.eye(a)]).T for a, b in"

FAULTS: tuple[Fault, ...] = (
    # layers
    torch("another activation", "[nn.Sigmoid()]", "[nn.Tanh()]", "dense", "evaluation", "fc_sigmoid", "Tanh for Sigm"),
    torch(
        "padding on the other side", "(left, right, top, bottom)", "(right, left, bottom, top)",
        "conv", "evaluation", "conv", "asymmetric padding",
    ),
    torch("0 for minus infinity", "-torch.inf", "0.0", "max", "evaluation", "largest", "0, not minus infinity"),
    torch(
        "padding counted", "if layer.count_padding", "if True",
        "average", "evaluation", "average", "the padding is counted in the average",
    ),
    torch(
        "average pool for max", "nn.MaxPool2d(", "nn.AvgPool2d(",
        "plain max", "evaluation", "largest", "mean of each window",
    ),
    torch(
        "flatten by place", "[nn.Flatten()]", "[Function(lambda x: x.movedim(1, -1).flatten(1))]",
        "conv", "evaluation", "groups_flatten", "flatten order: H,W,C",
    ),
    torch("epsilon of batch norm", "layer.eps", "1e-3", "norm", "evaluation", "norm", "epsilon 0.001 for 1e-05"),
    torch(
        "batch's statistics in evaluation", "self.training, **", "True, **",
        "norm", "evaluation", "norm", "the batch's statistics in evaluation",
    ),
    torch("no beta", "self.weight, self.bias, self", "self.weight, 0 * self.bias, self", "norm", "evaluation", "norm",
          "beta is left out"),
    torch(
        "deviation's square", "(x - mean) / std", "(x - mean) / std**2",
        "coefficients", "evaluation", "normal", "divided by the variance",
    ),
    torch("alpha undivided", "layer.alpha,", "layer.alpha * layer.size,", "response", "evaluation", "response",
          "alpha is not divided"),
    torch(
        "a bias not loaded", "from_numpy(weights[name])", 'from_numpy(weights[name] * (name != "fc.bias"))',
        "dense", "evaluation", "fc", "the bias is left out",
    ),
    torch("channels in reversed order", "np.array(layer.maps)", "np.array(layer.maps[::-1])", "shortcut", "evaluation",
          "some", "the channels in another order"),
    mxnet(
        "padding on the other side", "0, top, bottom, left", "0, bottom, top, left",
        "conv", "evaluation", "conv", "asymmetric padding",
    ),
    mxnet(
        "a dense weight for inputs by place", "nd.array(weights[name],",
        "nd.array(weights[name] if name != 'head.weight' else "
        "np.moveaxis(weights[name].reshape(5, 6, 16), 1, 2).reshape(5, 96),",
        "conv", "evaluation", "head", "a permutation of the inputs of head: flatten order",
    ),
    mxnet("padding not counted", "count_include_pad=layer.count_padding", "count_include_pad=False", "counted average",
          "evaluation", "average", "not counted in the average"),
    mxnet(
        "transposed kernel", "nd.array(weights[name],",
        "nd.array(weights[name].swapaxes(2, 3) if weights[name].ndim == 4 else weights[name],",
        "conv", "evaluation", "conv", "transposed: rows for columns",
    ),
    mxnet(
        "transposed weight", "nd.array(weights[name],",
        'nd.array(weights[name].T if name == "square.weight" else weights[name],',
        "dense", "evaluation", "square", "the weight is transposed",
    ),
    mxnet("epsilon outside", "F.sqrt(variance + self.eps)", "(F.sqrt(variance) + self.eps)", "norm", "evaluation",
          "norm", "epsilon outside the root"),
    mxnet("alpha undivided", " / size\n", "\n", "response", "evaluation", "response", "alpha is not divided"),
    mxnet("half a pixel off", "(resize_matrix(*way) for way in", _HALF_OFF, "resize", "evaluation", "resize",
          "half a pixel off"),
    mxnet("branches in another order", "for chain in self.chains)", "for chain in self.chains[::-1])", "branches",
          "evaluation", "join", "the branches in another order: 2, 1"),
    mxnet("shortcut dropped", " + self.shortcut(x)", "", "shortcut", "evaluation", "sum", "the shortcut is left out"),
    keras("ceil for floor", 'return x, "valid"', 'return x, "same"', "plain max", "evaluation", "largest",
          "rounded up, not down"),
    keras(
        "padding on the other side", "*padding, (0, 0))", "*[side[::-1] for side in padding], (0, 0))",
        "conv", "evaluation", "conv", "asymmetric padding",
    ),
    keras("0 for minus infinity", "-np.inf", "0.0", "max", "evaluation", "largest", "0, not minus infinity"),
    keras("flatten by place", "else channels_first(x))", "else x)", "conv", "evaluation", "groups_flatten",
          "flatten order: H,W,C"),
    keras(
        "wrong group order", "ops.split(kernel, self.groups, -1)", "ops.split(kernel, self.groups, -1)[::-1]",
        "conv", "evaluation", "groups", "another order",
    ),
    keras("epsilon of batch norm", "layer.eps", "1e-3", "norm", "evaluation", "norm", "epsilon 0.001 for 1e-05"),
    keras("alpha undivided", "layer.alpha / layer.size", "layer.alpha", "response", "evaluation", "response",
          "alpha is not divided"),
    keras(
        "weights not loaded", "variable.assign(turned(weights[name]))",
        'variable.assign(turned(weights[name]) * (name != "groups.weight"))',
        "conv", "evaluation", "groups", "the weights are 0: not loaded",
    ),
    keras("no beta", "self.gamma * x + self.beta", "self.gamma * x + 0 * self.beta", "coefficients", "evaluation",
          "affine", "beta is left out"),
    keras(
        "batch's statistics in evaluation", "training=training)", "training=True)",
        "norm", "evaluation", "norm", "the batch's statistics in evaluation",
    ),
    mxnet("another activation in a branch", 'nn.Activation("tanh")', 'nn.Activation("sigmoid")', "branches",
          "evaluation", "join.three_tanh", "Sigmoid for Tanh"),
    torch("stride", "MaxPool2d(pair(layer.kernel), pair(layer.stride), own)", "MaxPool2d(pair(layer.kernel), 1, own)",
          "plain max", "evaluation", "largest", "the shape is 4x2x6x6, not 4x2x3x3"),
    torch("pixels rounded", "layer.factor * x", "(layer.factor * x * 64).round() / 64", "dense", "evaluation",
          "pixels", None),
    torch("gamma not trained", "nn.Parameter(torch.empty(channels)) if layer.gamma",
          "nn.Parameter(torch.empty(channels), requires_grad=False) if layer.gamma",
          "norm", "parameters", "norm.gamma", "it is not trained and should be"),
    # loss and gradients
    torch("loss summed", "label_smoothing=smoothing)", 'label_smoothing=smoothing, reduction="sum")',
          "dense", "loss", "loss", "the loss is summed, not averaged"),
    torch("float32 on the way", "images.to(self.dtype", "images.float().div(3).to(self.dtype).mul(3).to(self.dtype",
          "dense", "evaluation", "head", "float32"),
    torch("derivative of ReLU at 0", "[nn.ReLU()]", "[Function(lambda x: x.clamp(min=0))]", "at zero", "gradients",
          "input", "ReLU's derivative at 0 is 1"),
    torch("auxiliary head forgotten", "+ head.weight *", "+ 0 * head.weight *", "auxiliary", "loss", "loss",
          "auxiliary classifiers are left out"),
    mxnet("softmax twice", "F.log_softmax(logits)", "F.log_softmax(F.softmax(logits))", "dense", "loss", "loss",
          "softmax is applied twice"),
    mxnet("cross-entropy on the wrong axis", "F.log_softmax(logits)", "F.log_softmax(logits, axis=0)", "dense", "loss",
          "loss", "wrong axis"),
    mxnet("auxiliary head forgotten", "in inside(self.net, Auxiliary)", "in ()", "auxiliary", "loss", "loss",
          "auxiliary classifiers are left out"),
    torch("pixels as signed bytes", "images.to(self.dtype",
          "(images - 256.0 * (images > 127)).to(self.dtype",
          "dense", "evaluation", "head", None),
    mxnet("statistics held constant", "self.batch = F",
          "mean, variance = F.BlockGrad(mean), F.BlockGrad(variance)\n            self.batch = F",
          "norm", "gradients", "conv.bias", "held constant"),
    keras("softmax twice", "targets, logits, from", "targets, 1 * ops.softmax(logits), from", "dense", "loss", "loss",
          "softmax is applied twice"),
    keras("auxiliary head in full", "loss += weight * self", "loss += self", "auxiliary", "loss", "loss",
          "count in full"),
    # steps
    torch("decay on biases", "others, \"weight_decay\": 0.0", "others, \"weight_decay\": rule.weight_decay", "dense",
          "optimisers", "fc.bias", "decay acts on biases"),
    torch("momentum 0.1 for 0.9", '"momentum": rule.momentum', '"momentum": 1 - rule.momentum', "dense", "optimisers",
          "fc.weight", "momentum 0.1 for 0.9"),
    torch("Nesterov's form left out", '"nesterov": rule.nesterov', '"nesterov": False', "dense", "optimisers",
          "fc.weight", "Nesterov's form is left out", case="nesterov"),
    torch("gradient not cleared", "self.optimizer.zero_grad()", "pass", "dense", "optimisers", "fc.weight",
          "the gradient is not cleared"),
    torch("rate one step late", "rates.tolist())", "[rates[0], *rates.tolist()])", "dense", "optimisers", "fc.weight",
          "one step late"),
    torch("epsilon of Adam", "eps=rule.epsilon", "eps=1e-8", "dense", "optimisers", "fc.weight",
          "epsilon 1e-08 for 0.0001", case="adam"),
    mxnet("rate inside momentum", "if rule.rate_inside:\n        gradient", "if True:\n        gradient", "dense",
          "optimisers", "fc.weight", "momentum holds the rate"),
    mxnet("gradient divided by the batch again", "parameter.grad(), *slots", "parameter.grad() / 4, *slots", "dense",
          "optimisers", "fc.weight", "is divided by the batch, 4"),
    mxnet("Adam's count", "self.update(rule, self.steps,", "self.update(rule, self.steps + 1,", "dense", "optimisers",
          "fc.weight", "steps are counted from 2", case="adam"),
    mxnet("decay not decoupled", "if rule.decoupled", "if False", "dense", "optimisers", "fc.weight",
          "weight decay is L2", case="adamw"),
    mxnet("labels not smoothed", "if self.smoothing else loss", "if False else loss", "dense", "loss", "loss",
          "labels are not smoothed", case="sgd, smoothed labels"),
    keras("epsilon inside", "tf.sqrt(second / exact)", "tf.ones_like(second)", "dense", "optimisers", "fc.weight",
          "epsilon inside the bias correction", case="adam"),
    keras("rate inside momentum", "if rule.rate_inside else", "if True else", "dense", "optimisers", "fc.weight",
          "momentum holds the rate"),
    keras("rate one step late", "rates[number]", "rates[tf.maximum(number - 1, 0)]", "dense", "optimisers", "fc.weight",
          "one step late"),
    keras("decay on biases", "if self.training.decay(name)", "if True", "dense", "optimisers", "fc.bias",
          "decay acts on biases"),
    keras("momentum as float32 has it", "tf.constant(rule.momentum, rate.dtype)",
          "tf.cast(tf.constant(rule.momentum), rate.dtype)", "dense", "optimisers", "fc.weight", None),
    # running statistics
    torch("momentum of batch norm", "layer.momentum", "1 - layer.momentum", "norm", "running statistics",
          "norm.running_mean", "momentum 0.9 for 0.1"),
    torch("unbiased, undeclared", "(UNBIASED_RUNNING_VARIANCE,)", "()", "norm", "running statistics",
          "norm.running_var", "ratio 36/35: unbiased for biased variance"),
    mxnet("stale statistics", "norm.move_running(mean, variance)", "pass", "norm", "running statistics",
          "norm.running_mean", "does not move: stale statistics"),
    mxnet("deviation for variance", "self.momentum * batch", "self.momentum * (batch if batch is mean else batch**0.5)",
          "norm", "running statistics", "norm.running_var", "the deviation for the variance"),
    keras("momentum of batch norm", "1 - layer.momentum", "layer.momentum", "norm", "running statistics",
          "norm.running_mean", "momentum 0.9 for 0.1"),
    # dropout
    torch("dropout at half its rate", "nn.Dropout(layer.rate)", "nn.Dropout(layer.rate / 2)", "dropout", "dropout",
          "drop", "not divided by 1 - rate"),
    torch("dropout in evaluation", "nn.Dropout(layer.rate)", "Function(lambda x: F.dropout(x, layer.rate))", "dropout",
          "evaluation", "drop", "dropout acts in evaluation"),
    torch("predictions in training mode", "self.net.eval()", "self.net.train()", "norm", "evaluation", "head", None),
    mxnet("dropout unscaled", " / (1 - rate) if", " if", "dropout", "dropout", "drop", "not divided by 1 - rate"),
)  # fmt: skip
