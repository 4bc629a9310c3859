"""The counts of each network equal the published ones.

Totals and layers are from the articles, the papers, torchvision 0.28, keras.applications and Gluon's model zoo, as
counted with those libraries; multiply-adds are half of what torch's FlopCounterMode counts.
"""

from __future__ import annotations

import re

import pytest

from frameworks.networks import NETWORKS
from frameworks.spec import Conv, Network, Node, Tanh

# name: params, buffers, multiply-adds of one image in evaluation
COUNTS = {
    "lenet": (61_706, 0, 416_520),
    "lenet_relu": (44_426, 0, 281_640),
    "lenet_cifar": (62_006, 0, 651_720),
    "lenet_bn": (44_878, 452, 281_640),
    "lenet5": (60_000 + 850, 0, 325_680 + 840),  # the paper's layers and our head
    "mlp": (6_442, 0, 6_416),
    "cnn": (6_422, 0, 149_300),
    # By hand: 28x3x50 -> 1,400; 22,550; 45,100; 90,100; 6,400x512+512; 512x10+10; at 32x32 twice, then 16x16 twice.
    "rosetta": (3_441_592, 0, 1024 * (1_350 + 22_500) + 256 * (45_000 + 90_000) + 6_400 * 512 + 5_120),
    "alexnet": (60_965_224, 0, 724_406_816),
    "alexnet_single": (62_378_344, 0, 1_135_256_096),
    "alexnet_owt": (61_100_840, 0, 714_188_480),
    "alexnet_fashion": (29_983_434, 0, 921_368_960),
    "alexnet_d2l": (46_764_746, 0, 938_146_176),
    "alexnet_cifar": (26_840_458, 0, 1_099_723_296),
    "zfnet": (62_357_608, 0, 1_168_032_896),
    "zfnet_wide": (107_627_624, 0, 2_476_704_896),
    "vgg11": (132_863_336, 0, 7_609_090_048),
    "vgg13": (133_047_848, 0, 11_308_466_176),
    "vgg16": (138_357_544, 0, 15_470_264_320),
    "vgg19": (143_667_240, 0, 19_632_062_464),
    "vgg11_bn": (132_868_840, 5_504, 7_609_090_048),
    "vgg13_bn": (133_053_736, 5_888, 11_308_466_176),
    "vgg16_bn": (138_365_992, 8_448, 15_470_264_320),
    "vgg19_bn": (143_678_248, 11_008, 19_632_062_464),
    "vgg11_fashion": (128_806_154, 0, 7_547_232_256),
    "vgg_small": (2_018_346, 0, 121_091_072),
    "vgg_d2l": (43_093_322, 0, 512_155_648),
    "vgg_cifar": (9_231_114, 5_504, 152_769_536),
    "nin": (1_992_166, 0, 762_297_352),
    "googlenet": (6_998_552, 0, 1_582_671_872),
    "googlenet_aux": (13_378_280, 0, 1_582_671_872),
    "googlenet_fashion": (5_977_530, 0, 276_066_304),
    "googlenet_bn": (6_624_904, 14_560, 1_498_376_192),
    "inception_v2": (11_285_224, 20_032, 2_032_600_064),
    "inception_v3": (23_834_568, 34_432, 5_713_216_096),
    "inception_v3_aux": (27_161_264, 36_224, 5_713_216_096),
    "resnet18": (11_689_512, 9_600, 1_814_073_344),
    "resnet34": (21_797_672, 17_024, 3_663_761_408),
    "resnet50": (25_557_032, 53_120, 4_089_184_256),
    "resnet101": (44_549_160, 105_344, 7_801_405_440),
    "resnet152": (60_192_808, 151_424, 11_513_626_624),
    "resnet18_fashion": (11_178_378, 7_808, 318_657_536),
    # By hand: convolutions 1,728 + 73,728 + 2x147,456 + 294,912 + 1,179,648 + 2x2,359,296, batch norm 2x2,240 and
    # the last layer 5,120; the convolutions' weights times 1,024, 1,024, 256, 256, 64 and 16 places.
    "resnet9": (
        1_728 + 73_728 + 2 * 147_456 + 294_912 + 1_179_648 + 2 * 2_359_296 + 2 * 2_240 + 5_120,
        2 * 2_240,
        1024 * (1_728 + 73_728) + 256 * (2 * 147_456 + 294_912) + 64 * 1_179_648 + 16 * 2 * 2_359_296 + 5_120,
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_a_network_is_listed_under_its_name(name: str) -> None:
    assert NETWORKS[name]().name == name


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    net = NETWORKS[name]()
    assert (net.params, net.buffers, net.macs) == COUNTS[name]


@pytest.mark.parametrize("name", COUNTS)
def test_the_documentation_states_the_parameters(name: str) -> None:
    stated = 60_000 if name == "lenet5" else COUNTS[name][0]
    assert f"{stated:,} parameters" in (NETWORKS[name].__doc__ or "")


@pytest.mark.parametrize("name", COUNTS)
def test_classes_and_channels_are_arguments(name: str) -> None:
    usual = NETWORKS[name]()
    net = NETWORKS[name](classes=7, channels=2)
    assert (net.classes, net.input) == (7, (2, *usual.input[1:]))
    assert [head.branches[0][-1].output for head in net.heads] == [(7,)] * len(usual.heads)
    first = next(node for _, node in net.walk() if isinstance(node.layer, Conv) or node.parameters)
    assert first.input[0] in (2, 2 * 28 * 28)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_states_its_source_and_the_year(name: str) -> None:
    assert re.search(r"\b(19|20)\d\d\b", NETWORKS[name]().source)


# --- layer by layer ---------------------------------------------------------------------------------------------------

_ALEXNET_DENSE = {"FC6": 37_752_832, "FC7": 16_781_312, "FC8": 4_097_000}
_VGG = {
    **{"1_1": 1_792, "1_2": 36_928, "2_1": 73_856, "2_2": 147_584, "3_1": 295_168, "3_2": 590_080, "3_3": 590_080},
    **{"3_4": 590_080, "4_1": 1_180_160, "4_2": 2_359_808, "4_3": 2_359_808, "4_4": 2_359_808},
    **{f"5_{number}": 2_359_808 for number in (1, 2, 3, 4)},
}
_VGG_DENSE = {"classifier.0": 102_764_544, "classifier.3": 16_781_312, "classifier.6": 4_097_000}
_GOOGLENET = {
    **{"conv2_reduce": 4_160, "conv2": 110_784, "inception3a": 163_696, "inception3b": 388_736},
    **{"inception4a": 376_176, "inception4b": 449_160, "inception4c": 510_104, "inception4d": 605_376},
    **{"inception4e": 868_352, "inception5a": 1_043_456, "inception5b": 1_444_080},
}

# Trained parameters of a layer, including the layers inside it.
LAYERS: dict[str, dict[str, int]] = {
    "lenet": {"C1": 156, "C3": 2_416, "C5": 48_120, "F6": 10_164, "output": 850},
    "lenet_relu": {"C1": 156, "C3": 2_416, "C5": 30_840, "F6": 10_164, "output": 850},
    "lenet_cifar": {"C1": 456, "C3": 2_416, "C5": 48_120, "F6": 10_164, "output": 850},
    "lenet5": {"C1": 156, "S2": 12, "C3": 1_516, "S4": 32, "C5": 48_120, "F6": 10_164, "head": 850},
    "mlp": {"fc1": 6_280, "fc2": 72, "fc3": 90},
    "cnn": {"conv1": 156, "conv2": 906, "fc1": 4_850, "fc2": 510},
    "vgg_cifar": {
        **{"features.0": 1_792, "features.4": 73_856, "features.8": 295_168, "features.11": 590_080},
        **{"features.15": 1_180_160, "features.18": 2_359_808, "features.22": 2_359_808, "features.25": 2_359_808},
        **{"features.1": 128, "features.5": 256, "features.9": 512, "features.12": 512, "features.16": 1_024},
        **{"features.19": 1_024, "features.23": 1_024, "features.26": 1_024, "classifier": 5_130},
    },
    "alexnet": {"C1": 34_944, "C2": 307_456, "C3": 885_120, "C4": 663_936, "C5": 442_624, **_ALEXNET_DENSE},
    "alexnet_single": {"C1": 34_944, "C2": 614_656, "C3": 885_120, "C4": 1_327_488, "C5": 884_992, **_ALEXNET_DENSE},
    "alexnet_cifar": {
        **{"C1": 34_944, "C2": 614_656, "C3": 885_120, "C4": 1_327_488, "C5": 884_992},
        **{"FC6": 18_876_416, "FC7": 4_196_352, "FC8": 20_490},
    },
    "alexnet_fashion": {
        **{"C1": 11_712, "C2": 614_656, "C3": 885_120, "C4": 1_327_488, "C5": 884_992},
        **{"FC6": 26_218_496, "FC8": 40_970},
    },
    "alexnet_d2l": {"FC6": 26_218_496, "FC7": 16_781_312, "FC8": 40_970},
    "zfnet": {"C1": 14_208, "C2": 614_656, "C3": 885_120, "C4": 1_327_488, "C5": 884_992, **_ALEXNET_DENSE},
    "zfnet_wide": {"C3": 1_180_160, "C4": 4_719_616, "C5": 4_719_104, "FC6": 75_501_568},
    "vgg11": dict(zip([f"features.{number}" for number in (0, 3, 6, 8, 11, 13, 16, 18)], [
        _VGG[row] for row in ("1_1", "2_1", "3_1", "3_2", "4_1", "4_2", "5_1", "5_2")
    ])) | _VGG_DENSE,
    "vgg19": dict(zip([f"features.{number}" for number in (0, 2, 5, 7, *range(10, 18, 2), *range(19, 27, 2),
                       *range(28, 36, 2))], _VGG.values())) | _VGG_DENSE,
    "vgg11_fashion": {"features.0": 640, "classifier.0": 102_764_544, "classifier.6": 40_970},
    "vgg_small": {
        **{"features.0": 80, "features.3": 1_168, "features.6": 4_640, "features.8": 9_248, "features.11": 18_496},
        **{"features.13": 36_928, "features.16": 36_928, "features.18": 36_928},
        **{"classifier.0": 1_606_144, "classifier.3": 262_656, "classifier.6": 5_130},
    },
    "nin": {
        **{"conv1.1": 11_712, "conv1.2": 9_312, "conv1.3": 9_312, "conv2.1": 614_656, "conv2.2": 65_792},
        **{"conv2.3": 65_792, "conv3.1": 885_120, "conv3.2": 147_840, "conv3.3": 147_840},
        **{"conv4.1": 34_570, "conv4.2": 110, "conv4.3": 110},
    },
    "googlenet": {"conv1": 9_472, **_GOOGLENET, "fc": 1_025_000},
    "googlenet_fashion": {"conv1": 3_200, **_GOOGLENET, "fc": 10_250},
    "googlenet_aux": {"aux1": 3_188_840, "aux2": 3_190_888},
    "inception_v2": {
        **{"conv1.conv": 9_408, "conv1.bn": 128, "conv2_reduce.conv": 4_096, "conv2_reduce.bn": 128},
        **{"conv2.conv": 110_592, "conv2.bn": 384, "inception3a": 219_072, "inception3b": 260_160},
        **{"inception3c": 385_088, "inception4a": 609_984, "inception4b": 665_344, "inception4c": 914_432},
        **{"inception4d": 1_142_912, "inception4e": 1_449_984, "inception5a": 2_208_896, "inception5b": 2_279_616},
        "fc": 1_025_000,
    },
    "inception_v3_aux": {
        **{"Conv2d_1a_3x3.conv": 864, "Conv2d_2a_3x3.conv": 9_216, "Conv2d_2b_3x3.conv": 18_432},
        **{"Conv2d_3b_1x1.conv": 5_120, "Conv2d_4a_3x3.conv": 138_240, "Mixed_5b": 255_904, "Mixed_5c": 277_472},
        **{"Mixed_5d": 285_152, "Mixed_6a": 1_153_280, "Mixed_6b": 1_297_408, "Mixed_6c": 1_691_008},
        **{"Mixed_6d": 1_691_008, "Mixed_6e": 2_141_952, "AuxLogits": 3_326_696, "Mixed_7a": 1_698_304},
        **{"Mixed_7b": 5_044_608, "Mixed_7c": 6_076_800, "fc": 2_049_000},
    },
}  # fmt: skip


def _inside(net: Network, path: str) -> Node:
    return next(node for _, node in net.walk() if node.path == path)


def _trained(node: Node) -> int:
    return sum(array.size for _, inner in node.walk() for array in inner.parameters if array.trainable)


@pytest.mark.parametrize(
    ("name", "path", "count"), [(name, path, count) for name in LAYERS for path, count in LAYERS[name].items()]
)
def test_a_layers_parameters(name: str, path: str, count: int) -> None:
    assert _trained(_inside(NETWORKS[name](), path)) == count


# Trained parameters of each stage, batch norm with them.
STAGES = {
    "resnet18": (147_968, 525_568, 2_099_712, 8_393_728),
    "resnet34": (221_952, 1_116_416, 6_822_400, 13_114_368),
    "resnet50": (215_808, 1_219_584, 7_098_368, 14_964_736),
    "resnet101": (215_808, 1_219_584, 26_090_496, 14_964_736),
    "resnet152": (215_808, 2_339_840, 40_613_888, 14_964_736),
}


@pytest.mark.parametrize("name", STAGES)
def test_the_stages_of_a_residual_network(name: str) -> None:
    net = NETWORKS[name]()
    stages = [
        sum(_trained(node) for node in net.nodes if node.path.startswith(f"layer{stage}.")) for stage in (1, 2, 3, 4)
    ]
    assert tuple(stages) == STAGES[name]
    assert _trained(_inside(net, "conv1")) + _trained(_inside(net, "bn1")) == 9_536


# --- special cases ----------------------------------------------------------------------------------------------------


def test_lenet5_is_that_of_the_paper_except_the_head() -> None:
    net = NETWORKS["lenet5"]()
    before = [node for node in net.nodes if node.path != "head"]
    assert sum(map(_trained, before)) == 60_000
    seen = [len(node.layer.maps) for _, node in net.walk() if node.layer.kind == "Select"]  # type: ignore[attr-defined]
    assert seen == [3] * 6 + [4] * 9 + [6], "table 1 of the paper"
    assert sum(seen) == 60, "60 kernels in C3"
    squashed = [node.layer for node in net.nodes if isinstance(node.layer, Tanh)]
    assert len(squashed) == 6
    assert {(layer.amplitude, layer.slope) for layer in squashed} == {(1.7159, 2 / 3)}


@pytest.mark.parametrize(
    ("name", "weights"), [("googlenet_aux", [0.3, 0.3]), ("inception_v3_aux", [0.4]), ("googlenet", [])]
)
def test_the_weights_of_auxiliary_losses(name: str, weights: list[float]) -> None:
    assert [head.layer.weight for head in NETWORKS[name]().heads] == weights  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn", "inception_v2"])
def test_ceil_mode_is_resolved(name: str) -> None:
    pools = [node.layer for _, node in NETWORKS[name]().walk() if node.layer.kind == "MaxPool"]
    assert not any(pool.ceil for pool in pools)  # type: ignore[attr-defined]
    assert any(pool.padding == ((0, 1), (0, 1)) for pool in pools)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "change", "params", "macs"),
    [
        ("googlenet_fashion", (1, 224, 224), 5_977_530, 1_502_982_144),
        ("resnet18_fashion", (1, 96, 96), 11_178_378, 318_657_536),
        ("alexnet_cifar", (3, 224, 224), 26_840_458, 1_099_723_296),
    ],
)
def test_on_another_input(name: str, change: tuple[int, int, int], params: int, macs: int) -> None:
    net = NETWORKS[name]().with_input(change)
    assert (net.params, net.macs) == (params, macs)


def test_alexnet_cifar_for_a_thousand_classes() -> None:
    assert NETWORKS["alexnet_cifar"](classes=1000).params == 28_868_968


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("alexnet_owt", ["features.0.weight", "features.10.bias", "classifier.1.weight", "classifier.6.bias"]),
        ("vgg16", ["features.28.weight", "classifier.0.weight", "classifier.3.bias", "classifier.6.weight"]),
        ("vgg11_bn", ["features.0.weight", "features.1.gamma", "features.26.running_var", "classifier.6.weight"]),
        ("resnet18", ["conv1.weight", "layer2.0.downsample.0.weight", "layer2.0.downsample.1.gamma", "fc.bias"]),
        ("resnet50", ["layer1.0.conv3.weight", "layer1.0.downsample.1.running_mean", "layer4.2.bn3.beta"]),
        ("googlenet_bn", ["conv1.conv.weight", "inception3a.branch1.bn.gamma", "inception5b.branch4.1.conv.weight"]),
        ("inception_v3", ["Mixed_6b.branch7x7dbl_5.conv.weight", "Mixed_7c.branch3x3dbl_3b.bn.beta", "fc.weight"]),
        ("inception_v3_aux", ["AuxLogits.conv0.conv.weight", "AuxLogits.conv1.bn.gamma", "AuxLogits.fc.bias"]),
    ],
)
def test_parameters_have_torchvisions_names(name: str, paths: list[str]) -> None:
    assert set(paths) <= {parameter.name for parameter in NETWORKS[name]().parameters}
