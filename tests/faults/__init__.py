"""Faults to plant, one at a time, and the place where verification must detect each.

`pytorch.py`, `mxnet_gluon.py` and `keras3.py` have a subclass of the adapter for each fault; a worker loads it by path.
To add a fault that the case of a network shows, write the class and a line in `FAULTS`, and a network in `NETS` if no
other network shows it. To add one that a framework check shows, write the class and a line in `CHECK_FAULTS`; a fault
that any adapter can have is a class of `contract.py` and needs no class in the files of the frameworks. `worker.py` and
`trainer.py` have those of the harness.
"""

from __future__ import annotations

from typing import NamedTuple

from frameworks.spec import (
    ELU,
    GELU,
    AdaptiveAvgPool,
    Add,
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
    GroupNorm,
    HardSigmoid,
    InstanceNorm,
    Layer,
    LayerNorm,
    LeakyReLU,
    LocalResponseNorm,
    MaxPool,
    Multiply,
    Network,
    Normalize,
    Pad,
    PReLU,
    ReLU,
    ReLU6,
    Residual,
    Resize,
    Select,
    Sigmoid,
    SiLU,
    StochasticDepth,
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
        _net(
            "activations",
            (2, 5, 5),
            Normalize("spread", mean=(0.5,), std=(0.06,)),  # values from -8 to 8
            Concat(
                "all",
                [
                    [GELU("gelu")],
                    [HardSigmoid("hard_sigmoid")],
                    [LeakyReLU("leaky_relu", slope=0.1)],
                    [PReLU("prelu")],
                    [ReLU6("relu6")],
                    [SiLU("silu")],
                    [ELU("elu", alpha=0.7)],
                ],
            ),
        ),
        _net(
            "norms of one image",
            (2, 4, 4),
            Conv("conv", 6, 3),
            Concat("all", [[LayerNorm("layer")], [GroupNorm("group", 2)], [InstanceNorm("instance", 1e-4)]]),
        ),
        _net("depth", (2, 6, 6), Residual("block", [Conv("conv", 2, 3, 1, 1), StochasticDepth("depth", rate=0.3)])),
        _net("dilated", (2, 9, 9), Conv("conv", 4, 3, 1, 2, dilation=2)),
        _net("average, rounded up", (2, 6, 6), AvgPool("average", 3, 2, 1, ceil=True), _MEAN),
        _net("parts", (2, 5, 7), AdaptiveAvgPool("parts", 3, 4)),
        _net("nearest", (2, 5, 8), Resize("resize", 5, 4, "nearest")),  # of the columns, two are equally near
        _net("corners", (2, 5, 5), Resize("resize", 8, 7, "linear", "aligned_corners")),
        _net("zeros", (2, 4, 4), Conv("conv", 3, 1), Select("some", (1, None, 0, 2))),
        _net("terms", (2, 4, 4), Add("join", [[Conv("a", 3, 1)], [Conv("b", 3, 1)], [Conv("c", 3, 1)]])),
        _net("gate", (3, 4, 4), Multiply("join", [[Conv("a", 3, 1)], [GlobalAvgPool("g"), Conv("b", 3, 1)]])),
        _net("padded", (2, 4, 4), Pad("pad", ((1, 0), (0, 2)), 0.5), Affine("scale", beta=False)),
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


OF_CLASSIC_LAYERS = (
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
    Fault("torch", "PixelsAsSignedBytes", "dense", "evaluation", "head", "signed bytes"),
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
    Fault("torch", "DropoutAtHalfItsRate", "dropout", "dropout", "drop", "rate 0.15 for 0.3"),
    Fault("torch", "DropoutInEvaluation", "dropout", "evaluation", "drop", "dropout acts in evaluation"),
    Fault("torch", "PredictionsInTrainingMode", "norm", "evaluation", "head", "computed in training mode"),
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
    Fault(
        "torch",
        "SmoothingOnTheMainHeadAlone",
        "auxiliary",
        "loss",
        "loss",
        "not smoothed for auxiliary",
        "sgd, smoothed labels",
    ),
    Fault("keras", "AuxiliaryHeadInFull", "auxiliary", "loss", "loss", "count in full"),
    Fault("keras", "EpsilonInside", "dense", "optimizers", "fc.weight", "epsilon inside the bias correction", "adam"),
    Fault(
        "keras", "LearningRateInVelocity", "dense", "optimizers", "fc.weight", "the velocity contains the learning rate"
    ),
    Fault("keras", "LearningRateOneStepLate", "dense", "optimizers", "fc.weight", "one step late"),
    Fault("keras", "DecayOnBiases", "dense", "optimizers", "fc.bias", "decay acts on biases"),
    Fault("keras", "MomentumInFloat32", "dense", "optimizers", "fc.weight", "momentum is rounded to float32"),
    Fault("keras", "NormMomentum", "norm", "running statistics", "norm.running_mean", "momentum 0.9 for 0.1"),
)


# Of modern layers, in every framework.
MODERN_FAULTS = (
    ("GeluInTheTanhForm", "activations", "evaluation", "all.gelu", "the tanh form of GELU for GELU"),
    ("HardSigmoidSlope", "activations", "evaluation", "all.hard_sigmoid", "slope 0.2 for 0.166667"),
    ("LeakySlope", "activations", "evaluation", "all.leaky_relu", "slope 0.3 for 0.1"),
    ("SlopeShared", "activations", "evaluation", "all.prelu", "the slope of the first"),
    ("NoUpperLimit", "activations", "evaluation", "all.relu6", "ReLU for ReLU6"),
    ("HardSwishForSilu", "activations", "evaluation", "all.silu", "HardSwish for SiLU"),
    ("AlphaOfOne", "activations", "evaluation", "all.elu", "ELU for ELU"),
    (
        "LayerNormOverAllValues",
        "norms of one image",
        "evaluation",
        "all.layer",
        "mean and variance of all values, not of each pixel",
    ),
    (
        "GroupsInterleaved",
        "norms of one image",
        "evaluation",
        "all.group",
        "groups of every n-th channel, not of each group",
    ),
    ("InstanceNormEpsilon", "norms of one image", "evaluation", "all.instance", "epsilon 0.001 for 0.0001"),
    ("DepthByValue", "depth", "dropout", "block.depth", "values are dropped, not whole images"),
    ("DepthUnscaled", "depth", "dropout", "block.depth", "not divided by 1 - rate"),
    ("DepthInEvaluation", "depth", "evaluation", "block.depth", "dropout acts in evaluation"),
    ("DilationIgnored", "dilated", "evaluation", "conv", "the dilation is left out"),
    ("PlacesBeyondCounted", "average, rounded up", "evaluation", "average", "beyond the padding are counted"),
    ("EqualWindows", "parts", "evaluation", "parts", "windows of equal size, 1x1"),
    ("FirstOfEquallyNear", "nearest", "evaluation", "resize", "of two pixels that are equally near the first"),
    ("CornersNotAligned", "corners", "evaluation", "resize", "linear, half_pixel for linear, aligned_corners"),
    ("ZerosFilled", "zeros", "evaluation", "some", "channel 0 in place of zeros"),
    ("ProductAdded", "gate", "evaluation", "join", "the sum of the branches, not their product"),
    ("ThirdTermDropped", "terms", "evaluation", "join", "branch 3 is left out"),
    ("PaddedByZero", "padded", "evaluation", "pad", "padded by 0, not 0.5"),
    ("LayerScaleLeftOut", "padded", "evaluation", "scale", "its input passes on"),
)
FAULTS = (
    *OF_CLASSIC_LAYERS,
    *(Fault(framework, *rest) for framework in ("torch", "mxnet", "keras") for rest in MODERN_FAULTS),
)


class CheckFault(NamedTuple):
    """A fault that no pass and no step of a small batch shows, and the question of the framework checks that shows it.

    framework: whose adapter is faulty; "worker" and "trainer" stand for these, with the NumPy reference as adapter.
    """

    framework: str
    name: str  # a class
    stage: str
    what: str  # the question within the stage, as in `Place.training`


CHECK_FAULTS = (
    # dropout inside `train`
    CheckFault("torch", "DropoutOffInTrain", "dropout in training", "losses"),
    CheckFault("mxnet", "DropoutOffInTrain", "dropout in training", "losses"),
    CheckFault("keras", "DropoutOffInTrain", "dropout in training", "losses"),
    CheckFault("torch", "RateHalvedInTrain", "dropout in training", "losses"),
    CheckFault("torch", "SameMaskAtEveryStep", "dropout", "images"),
    CheckFault("torch", "OneMaskForAllImages", "dropout", "images"),
    CheckFault("mxnet", "OneMaskForAllImages", "dropout", "images"),
    CheckFault("keras", "OneMaskForAllImages", "dropout", "images"),
    CheckFault("keras", "SameMaskInEveryLayer", "dropout", "images"),
    CheckFault("torch", "SeedIgnored", "dropout", "seeds"),
    CheckFault("mxnet", "SeedIgnored", "dropout", "seeds"),
    CheckFault("keras", "SeedIgnored", "dropout", "seeds"),
    CheckFault("torch", "NotSeeded", "dropout in training", "the same seed"),
    CheckFault("keras", "NotSeeded", "dropout in training", "the same seed"),
    CheckFault("torch", "DepthOffInTrain", "dropout in training", "losses, by image"),
    CheckFault("mxnet", "DepthOffInTrain", "dropout in training", "losses, by image"),
    CheckFault("keras", "DepthOffInTrain", "dropout in training", "losses, by image"),
    CheckFault("torch", "DepthOfTheBatchInTrain", "dropout", "images, by image"),
    CheckFault("torch", "LearningRateFloored", "dropout in training", "losses"),
    # batches that are short or large
    CheckFault("torch", "ShortBatchSkipped", "batch sizes", "18 images in batches of 4"),
    CheckFault("mxnet", "ShortBatchSkipped", "batch sizes", "18 images in batches of 4"),
    CheckFault("keras", "ShortBatchSkipped", "batch sizes", "18 images in batches of 4"),
    CheckFault("torch", "ShortBatchScaled", "batch sizes", "18 images in batches of 4"),
    CheckFault("mxnet", "ShortBatchScaled", "batch sizes", "18 images in batches of 4"),
    CheckFault("torch", "ShortBatchPadded", "batch sizes", "18 images in batches of 4"),
    CheckFault("mxnet", "ShortBatchPadded", "batch sizes", "18 images in batches of 4"),
    CheckFault("torch", "CorrectOfLastBatch", "counts", "random logits"),
    CheckFault("torch", "LossDividedByFour", "batch sizes", "18 images in batches of 4"),
    CheckFault("mxnet", "LossDividedByFour", "batch sizes", "18 images in batches of 4"),
    CheckFault("keras", "LossDividedByFour", "batch sizes", "18 images in batches of 4"),
    CheckFault("torch", "LargeBatchWeighted", "batch sizes", "18 images in batches of 18"),
    CheckFault("mxnet", "LargeBatchWeighted", "batch sizes", "18 images in batches of 18"),
    CheckFault("torch", "GhostBatchNorm", "batch sizes", "18 images in batches of 18"),
    CheckFault("torch", "VeryLargeBatchWeighted", "batch sizes", "300 images in batches of 128"),
    # state
    CheckFault("torch", "FirstPredictionsKept", "state", "momentum, after training"),
    CheckFault("mxnet", "FirstPredictionsKept", "state", "momentum, after training"),
    CheckFault("keras", "FirstPredictionsKept", "state", "momentum, after training"),
    CheckFault("torch", "PredictionsWithLoadedWeights", "state", "momentum, after training"),
    CheckFault("mxnet", "PredictionsWithLoadedWeights", "state", "momentum, after training"),
    CheckFault("torch", "EvalLeftOutOnceTrained", "state", "momentum, after training"),
    CheckFault("keras", "EvalLeftOutOnceTrained", "state", "momentum, after training"),
    CheckFault("torch", "OptimizerStateLost", "state", "momentum, read back"),
    CheckFault("mxnet", "OptimizerStateLost", "state", "momentum, read back"),
    CheckFault("keras", "OptimizerStateLost", "state", "momentum, read back"),
    CheckFault("torch", "StepsForgotten", "state", "momentum, read back"),
    CheckFault("mxnet", "SlotsNotWritten", "state", "momentum, first training"),
    CheckFault("torch", "SecondSetWeightsIgnored", "state", "momentum, second weights"),
    CheckFault("mxnet", "SecondSetWeightsIgnored", "state", "momentum, second weights"),
    CheckFault("torch", "SecondLoadIgnored", "state", "momentum, second images"),
    CheckFault("mxnet", "SecondLoadIgnored", "state", "momentum, second images"),
    CheckFault("torch", "TrainImagesPredicted", "trainer", "an epoch"),
    # hyperparameters
    CheckFault("torch", "BetasNotHandedOver", "hyperparameters", "adam"),
    CheckFault("mxnet", "BetasNotHandedOver", "hyperparameters", "adam"),
    CheckFault("keras", "BetasNotHandedOver", "hyperparameters", "adam"),
    CheckFault("torch", "SecondBetaNotHandedOver", "hyperparameters", "adam"),
    CheckFault("torch", "MomentumAlways09", "hyperparameters", "momentum, decay"),
    CheckFault("mxnet", "MomentumAlways09", "hyperparameters", "momentum, decay"),
    CheckFault("keras", "MomentumAlways09", "hyperparameters", "momentum, decay"),
    CheckFault("torch", "DecayAlways001", "hyperparameters", "sgd, decay"),
    CheckFault("mxnet", "DecayAlways001", "hyperparameters", "sgd, decay"),
    CheckFault("torch", "DecayOnWeightsAlone", "hyperparameters", "momentum, decay of all"),
    CheckFault("torch", "EpsilonAtLeast1e7", "hyperparameters", "adam"),
    CheckFault("mxnet", "EpsilonAtLeast1e7", "hyperparameters", "adam"),
    CheckFault("keras", "EpsilonAtLeast1e7", "hyperparameters", "adam"),
    CheckFault("torch", "SmoothingOverTen", "hyperparameters", "sgd, smoothed labels"),
    CheckFault("mxnet", "SmoothingOverTen", "hyperparameters", "sgd, smoothed labels"),
    CheckFault("keras", "SmoothingOverTen", "hyperparameters", "sgd, smoothed labels"),
    CheckFault("torch", "SmoothingAlways01", "hyperparameters", "sgd, smoothed labels"),
    CheckFault("torch", "LearningRateCapped", "hyperparameters", "sgd, decay"),
    # further optimizers, clipping, averages, learning rates by array
    CheckFault("torch", "EpsilonOfRMSpropMoved", "hyperparameters", "rmsprop"),
    CheckFault("mxnet", "EpsilonOfRMSpropMoved", "hyperparameters", "rmsprop"),
    CheckFault("keras", "EpsilonOfRMSpropMoved", "hyperparameters", "rmsprop"),
    CheckFault("torch", "RhoAlways09", "hyperparameters", "rmsprop"),
    CheckFault("mxnet", "RhoAlways09", "hyperparameters", "rmsprop"),
    CheckFault("keras", "RhoAlways09", "hyperparameters", "rmsprop"),
    CheckFault("torch", "LearningRateOutsideVelocity", "hyperparameters", "rmsprop, momentum, lr in velocity"),
    CheckFault("keras", "RhoOfAdadeltaAlways095", "hyperparameters", "adadelta"),
    CheckFault("torch", "SquareChangeLeftOut", "hyperparameters", "adadelta"),
    CheckFault("mxnet", "SquareChangeLeftOut", "hyperparameters", "adadelta"),
    CheckFault("keras", "SquareChangeLeftOut", "hyperparameters", "adadelta"),
    CheckFault("torch", "ClippingIgnored", "hyperparameters", "sgd, clipped"),
    CheckFault("mxnet", "ClippingIgnored", "hyperparameters", "sgd, clipped"),
    CheckFault("keras", "ClippingIgnored", "hyperparameters", "sgd, clipped"),
    CheckFault("torch", "ClippedArrayByArray", "hyperparameters", "sgd, clipped"),
    CheckFault("mxnet", "ClippedArrayByArray", "hyperparameters", "sgd, clipped"),
    CheckFault("keras", "ClippedArrayByArray", "hyperparameters", "sgd, clipped"),
    CheckFault("torch", "ClippedByNormPlusEpsilon", "hyperparameters", "sgd, clipped"),
    CheckFault("mxnet", "ClippedByNormPlusEpsilon", "hyperparameters", "sgd, clipped"),
    CheckFault("torch", "AverageLeftOutOfPredictions", "hyperparameters", "adam, average"),
    CheckFault("mxnet", "AverageLeftOutOfPredictions", "hyperparameters", "adam, average"),
    CheckFault("keras", "AverageLeftOutOfPredictions", "hyperparameters", "adam, average"),
    CheckFault("torch", "AverageDecayAlways0999", "hyperparameters", "adam, average"),
    CheckFault("mxnet", "AverageDecayAlways0999", "hyperparameters", "adam, average"),
    CheckFault("keras", "AverageDecayAlways0999", "hyperparameters", "adam, average"),
    CheckFault("torch", "AverageBegunAtZero", "hyperparameters", "adam, average"),
    CheckFault("mxnet", "AverageBegunAtZero", "hyperparameters", "adam, average"),
    CheckFault("torch", "AverageNotReadBack", "state", "average, read back"),
    CheckFault("mxnet", "AverageNotReadBack", "state", "average, read back"),
    CheckFault("keras", "AverageNotReadBack", "state", "average, read back"),
    CheckFault("torch", "FactorsOfLearningRateIgnored", "hyperparameters", "momentum, lr factors"),
    CheckFault("mxnet", "FactorsOfLearningRateIgnored", "hyperparameters", "momentum, lr factors"),
    CheckFault("keras", "FactorsOfLearningRateIgnored", "hyperparameters", "momentum, lr factors"),
    CheckFault("torch", "LastPatternCounts", "hyperparameters", "adamw, lr factors"),
    # late steps
    CheckFault("torch", "MomentumChangedLate", "late steps", "momentum"),
    CheckFault("mxnet", "MomentumChangedLate", "late steps", "momentum"),
    CheckFault("keras", "MomentumChangedLate", "late steps", "momentum"),
    CheckFault("torch", "FirstBetaChangedLate", "late steps", "adam"),
    CheckFault("mxnet", "FirstBetaChangedLate", "late steps", "adam"),
    CheckFault("keras", "FirstBetaChangedLate", "late steps", "adam"),
    CheckFault("torch", "EveryHundredthStepSkipped", "late steps", "momentum"),
    CheckFault("mxnet", "EveryHundredthStepSkipped", "late steps", "momentum"),
    CheckFault("torch", "StoppedBelowALoss", "late steps", "momentum"),
    CheckFault("mxnet", "StoppedBelowALoss", "late steps", "momentum"),
    # large gradients, confident logits
    CheckFault("torch", "GradientNormClipped", "large values", "logits around 50, steps"),
    CheckFault("mxnet", "GradientNormClipped", "large values", "logits around 50, steps"),
    CheckFault("keras", "GradientNormClipped", "large values", "logits around 50, steps"),
    CheckFault("torch", "GradientValuesClipped", "large values", "logits around 50, steps"),
    CheckFault("torch", "LogarithmOfProbabilities", "large values", "logits around 2000"),
    CheckFault("mxnet", "LogarithmOfProbabilities", "large values", "logits around 2000"),
    CheckFault("keras", "CrossEntropyOfProbabilities", "large values", "logits around 50"),
    CheckFault("torch", "LogarithmPlusEpsilon", "large values", "logits around 50"),
    CheckFault("mxnet", "LogarithmPlusEpsilon", "large values", "logits around 50"),
    CheckFault("keras", "LogarithmPlusEpsilon", "large values", "logits around 50"),
    # several threads, all digits
    CheckFault("torch", "ImagesInBfloat16", "threads", "loss"),
    CheckFault("mxnet", "ImagesInFloat16", "threads", "loss"),
    CheckFault("keras", "ImagesInBfloat16", "threads", "loss"),
    CheckFault("torch", "WeightsTakenInFloat32", "weights in full precision", "weights returned"),
    CheckFault("mxnet", "WeightsTakenInFloat32", "weights in full precision", "weights returned"),
    CheckFault("keras", "WeightsTakenInFloat32", "weights in full precision", "weights returned"),
    CheckFault("torch", "WeightsGivenInFloat32", "weights in full precision", "weights returned"),
    # losses that are not finite, counts
    CheckFault("torch", "NonFiniteStepSkipped", "values not finite", "NaN in a bias"),
    CheckFault("mxnet", "NonFiniteStepSkipped", "values not finite", "NaN in a bias"),
    CheckFault("keras", "NonFiniteStepSkipped", "values not finite", "NaN in a bias"),
    CheckFault("torch", "NonFiniteLossHidden", "values not finite", "NaN in a bias"),
    CheckFault("torch", "SmallestLogitCounted", "counts", "random logits, five images"),
    CheckFault("mxnet", "SmallestLogitCounted", "counts", "random logits, five images"),
    CheckFault("keras", "SmallestLogitCounted", "counts", "random logits, five images"),
    CheckFault("torch", "FirstTwoCounted", "counts", "random logits"),
    CheckFault("torch", "TiesCounted", "counts", "all logits equal"),
    # the worker
    CheckFault("worker", "StartIgnored", "worker", "images 7 to 20 of an order"),
    CheckFault("worker", "FirstLearningRateForAllSteps", "hyperparameters", "sgd, decay"),
    CheckFault("worker", "TrainedInOrder", "batch sizes", "18 images in batches of 4"),
    CheckFault("worker", "ShortBatchDroppedInEvaluation", "worker", "evaluation in batches of 8"),
    CheckFault("worker", "TiesCountedInEvaluation", "counts", "all logits equal, evaluated"),
    CheckFault("worker", "MeanOfBatchMeans", "worker", "evaluation in batches of 8"),
    CheckFault("worker", "CountIgnored", "worker", "evaluation in batches of 8"),
    CheckFault("worker", "TrainLabelsEvaluated", "trainer", "an epoch"),
    CheckFault("worker", "SlotsNeverWritten", "state", "momentum, first training"),
    CheckFault("worker", "EvaluationOverflows", "large values", "logits around 2000, evaluated"),
    # the trainer
    CheckFault("trainer", "OneOrderForAllEpochs", "trainer", "an epoch"),
    CheckFault("trainer", "TenthOfTheLearningRate", "trainer", "an epoch"),
    CheckFault("trainer", "ScheduleIgnored", "trainer", "an epoch"),
    CheckFault("trainer", "ScheduleByEpochRestarted", "trainer", "an epoch"),
    CheckFault("trainer", "MeanOfBatchLosses", "trainer", "an epoch"),
    CheckFault("trainer", "TrainImagesEvaluated", "trainer", "an epoch"),
    CheckFault("trainer", "EvaluatedBeforeTheEpoch", "trainer", "an epoch"),
    CheckFault("trainer", "OptimizerStateLostBetweenEpochs", "trainer", "an epoch"),
    CheckFault("trainer", "InitialWeightsAtEveryEpoch", "trainer", "an epoch"),
)
