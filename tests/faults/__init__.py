"""Faults to plant in adapters, one at a time, and the place where verification must detect each.

`pytorch.py`, `mxnet_gluon.py` and `keras3.py` have a subclass of the adapter for each fault; a worker loads it by path.
To add a fault, write the class and a line in `FAULTS`, and a network in `NETS` if no other network shows the fault.
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


_MEAN = GlobalAvgPool("mean")  # gives the head the same shape for any input
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
    """A faulty adapter, and the first difference that verification must report."""

    framework: str
    adapter: str  # a class in the file of this package that is named after the framework's adapter
    net: str
    stage: str
    tensor: str
    cause: str | None  # words of the likely cause; None: it cannot be determined
    case: str = "momentum, decay"  # the only training that is verified


FAULTS = (
    Fault("torch", "TanhForSigmoid", "dense", "evaluation", "fc_sigmoid", "Tanh for Sigm"),
    Fault("torch", "PaddingOnTheOtherSide", "conv", "evaluation", "conv", "asymmetric padding"),
    Fault("torch", "ZeroForMinusInfinity", "max", "evaluation", "largest", "0, not minus infinity"),
    Fault("torch", "PaddingCounted", "average", "evaluation", "average", "the padding is counted in the average"),
    Fault("torch", "AverageForMaximum", "plain max", "evaluation", "largest", "mean of each window"),
    Fault("torch", "FlattenByPlace", "conv", "evaluation", "groups_flatten", "flatten order: H,W,C"),
    Fault("torch", "NormEpsilon", "norm", "evaluation", "norm", "epsilon 0.001 for 1e-05"),
    Fault("torch", "BatchStatisticsInEvaluation", "norm", "evaluation", "norm", "the batch's statistics in evaluation"),
    Fault("torch", "NoBeta", "norm", "evaluation", "norm", "beta is left out"),
    Fault("torch", "DividedByVariance", "coefficients", "evaluation", "normal", "divided by the variance"),
    Fault("torch", "AlphaUndivided", "response", "evaluation", "response", "alpha is not divided"),
    Fault("torch", "BiasNotLoaded", "dense", "evaluation", "fc", "the bias is left out"),
    Fault("torch", "ChannelsReversed", "shortcut", "evaluation", "some", "the channels in another order"),
    Fault("torch", "StrideOfOne", "plain max", "evaluation", "largest", "the shape is 4x2x6x6, not 4x2x3x3"),
    Fault("torch", "PixelsRounded", "dense", "evaluation", "pixels", None),
    Fault("torch", "GammaNotTrained", "norm", "parameters", "norm.gamma", "it is not trained and should be"),
    Fault("torch", "LossSummed", "dense", "loss", "loss", "the loss is summed, not averaged"),
    Fault("torch", "Float32OnTheWay", "dense", "evaluation", "head", "float32"),
    Fault("torch", "ReluDerivativeAtZero", "at zero", "gradients", "input", "ReLU's derivative at 0 is 1"),
    Fault("torch", "AuxiliaryHeadForgotten", "auxiliary", "loss", "loss", "auxiliary classifiers are left out"),
    Fault("torch", "PixelsAsSignedBytes", "dense", "evaluation", "head", None),
    Fault("torch", "DecayOnBiases", "dense", "optimizers", "fc.bias", "decay acts on biases"),
    Fault("torch", "Momentum", "dense", "optimizers", "fc.weight", "momentum 0.1 for 0.9"),
    Fault("torch", "NoNesterov", "dense", "optimizers", "fc.weight", "Nesterov's form is not used", "nesterov"),
    Fault("torch", "GradientNotCleared", "dense", "optimizers", "fc.weight", "the gradient is not cleared"),
    Fault("torch", "LearningRateOneStepLate", "dense", "optimizers", "fc.weight", "one step late"),
    Fault("torch", "AdamEpsilon", "dense", "optimizers", "fc.weight", "epsilon 1e-08 for 0.0001", "adam"),
    Fault("torch", "NormMomentum", "norm", "running statistics", "norm.running_mean", "momentum 0.9 for 0.1"),
    Fault(
        "torch",
        "UnbiasedUndeclared",
        "norm",
        "running statistics",
        "norm.running_var",
        "ratio 36/35: unbiased for biased variance",
    ),
    Fault("torch", "DropoutAtHalfItsRate", "dropout", "dropout", "drop", "not divided by 1 - rate"),
    Fault("torch", "DropoutInEvaluation", "dropout", "evaluation", "drop", "dropout acts in evaluation"),
    Fault("torch", "PredictionsInTrainingMode", "norm", "evaluation", "head", None),
    Fault("mxnet", "PaddingOnTheOtherSide", "conv", "evaluation", "conv", "asymmetric padding"),
    Fault(
        "mxnet",
        "DenseWeightByPlace",
        "conv",
        "evaluation",
        "head",
        "a permutation of the inputs of head: flatten order",
    ),
    Fault("mxnet", "PaddingNotCounted", "counted average", "evaluation", "average", "not counted in the average"),
    Fault("mxnet", "TransposedKernel", "conv", "evaluation", "conv", "transposed: rows for columns"),
    Fault("mxnet", "TransposedWeight", "dense", "evaluation", "square", "the weight is transposed"),
    Fault("mxnet", "EpsilonOutsideTheRoot", "norm", "evaluation", "norm", "epsilon outside the root"),
    Fault("mxnet", "AlphaUndivided", "response", "evaluation", "response", "alpha is not divided"),
    Fault("mxnet", "HalfAPixelOff", "resize", "evaluation", "resize", "half a pixel off"),
    Fault("mxnet", "BranchesInAnotherOrder", "branches", "evaluation", "join", "the branches in another order: 2, 1"),
    Fault("mxnet", "ShortcutDropped", "shortcut", "evaluation", "sum", "the shortcut is left out"),
    Fault("mxnet", "SigmoidForTanh", "branches", "evaluation", "join.three_tanh", "Sigmoid for Tanh"),
    Fault("mxnet", "SoftmaxTwice", "dense", "loss", "loss", "softmax is applied twice"),
    Fault("mxnet", "CrossEntropyOnTheWrongAxis", "dense", "loss", "loss", "wrong axis"),
    Fault("mxnet", "AuxiliaryHeadForgotten", "auxiliary", "loss", "loss", "auxiliary classifiers are left out"),
    Fault("mxnet", "StatisticsHeldConstant", "norm", "gradients", "conv.bias", "held constant"),
    Fault(
        "mxnet", "LearningRateInVelocity", "dense", "optimizers", "fc.weight", "the velocity contains the learning rate"
    ),
    Fault("mxnet", "GradientDividedAgain", "dense", "optimizers", "fc.weight", "is divided by the batch size, 4"),
    Fault("mxnet", "StepsCountedFromTwo", "dense", "optimizers", "fc.weight", "steps are counted from 2", "adam"),
    Fault("mxnet", "NotDecoupled", "dense", "optimizers", "fc.weight", "weight decay is L2", "adamw"),
    Fault("mxnet", "LabelsNotSmoothed", "dense", "loss", "loss", "labels are not smoothed", "sgd, smoothed labels"),
    Fault("mxnet", "StaleStatistics", "norm", "running statistics", "norm.running_mean", "is not updated"),
    Fault(
        "mxnet",
        "DeviationForVariance",
        "norm",
        "running statistics",
        "norm.running_var",
        "the standard deviation for the variance",
    ),
    Fault("mxnet", "DropoutUnscaled", "dropout", "dropout", "drop", "not divided by 1 - rate"),
    Fault("keras", "CeilForFloor", "plain max", "evaluation", "largest", "rounded up, not down"),
    Fault("keras", "PaddingOnTheOtherSide", "conv", "evaluation", "conv", "asymmetric padding"),
    Fault("keras", "ZeroForMinusInfinity", "max", "evaluation", "largest", "0, not minus infinity"),
    Fault("keras", "FlattenByPlace", "conv", "evaluation", "groups_flatten", "flatten order: H,W,C"),
    Fault("keras", "GroupsInAnotherOrder", "conv", "evaluation", "groups", "another order"),
    Fault("keras", "NormEpsilon", "norm", "evaluation", "norm", "epsilon 0.001 for 1e-05"),
    Fault("keras", "AlphaUndivided", "response", "evaluation", "response", "alpha is not divided"),
    Fault("keras", "WeightsNotLoaded", "conv", "evaluation", "groups", "the weights are 0: not loaded"),
    Fault("keras", "NoBeta", "coefficients", "evaluation", "affine", "beta is left out"),
    Fault("keras", "BatchStatisticsInEvaluation", "norm", "evaluation", "norm", "the batch's statistics in evaluation"),
    Fault("keras", "SoftmaxTwice", "dense", "loss", "loss", "softmax is applied twice"),
    Fault("keras", "AuxiliaryHeadInFull", "auxiliary", "loss", "loss", "count in full"),
    Fault("keras", "EpsilonInside", "dense", "optimizers", "fc.weight", "epsilon inside the bias correction", "adam"),
    Fault(
        "keras", "LearningRateInVelocity", "dense", "optimizers", "fc.weight", "the velocity contains the learning rate"
    ),
    Fault("keras", "LearningRateOneStepLate", "dense", "optimizers", "fc.weight", "one step late"),
    Fault("keras", "DecayOnBiases", "dense", "optimizers", "fc.bias", "decay acts on biases"),
    Fault("keras", "MomentumInFloat32", "dense", "optimizers", "fc.weight", None),
    Fault("keras", "NormMomentum", "norm", "running statistics", "norm.running_mean", "momentum 0.9 for 0.1"),
)
