"""The networks for 32 x 32 images and of tutorials: counts, shapes and names.

The parameters of pytorch-cifar's networks are those of its code, as counted from the modules' attributes; other counts
are those that the source prints or, where none is printed, those of the sum in the comment beside it.
"""

from __future__ import annotations

import pytest

from frameworks.networks import NETWORKS
from frameworks.spec import BatchNorm, Conv, Dense, Network, Node, Select

# name: parameters, multiply-adds of one image in evaluation
COUNTS = {
    # He et al. 2015, table 6, prints 0.27, 0.46, 0.66, 0.85 and 1.7 million; the exact sum is tested below.
    "cifar_resnet20": (269_722, 40_551_040),
    "cifar_resnet32": (464_154, 68_862_592),
    "cifar_resnet44": (658_586, 97_174_144),
    "cifar_resnet56": (853_018, 125_485_696),
    "cifar_resnet110": (1_727_962, 252_887_680),
    # kuangliu/pytorch-cifar
    "cifar_resnet18": (11_173_962, 555_422_720),
    "cifar_resnet50": (23_520_842, 1_297_829_888),
    "cifar_resnet101": (42_512_970, 2_509_983_744),
    "cifar_preact_resnet18": (11_171_146, 555_422_720),
    "cifar_senet18": (11_260_354, 555_509_760),
    "cifar_resnext29_2x64d": (9_128_778, 1_409_492_992),
    "cifar_resnext29_32x4d": (4_774_218, 772_483_072),
    "cifar_regnet_x_200mf": (2_321_946, 223_317_600),
    "cifar_regnet_x_400mf": (4_779_338, 466_161_408),
    "cifar_regnet_y_400mf": (5_714_362, 467_089_152),
    "cifar_vgg13": (9_416_010, 228_267_008),
    "cifar_vgg16": (14_728_266, 313_201_664),
    "cifar_vgg19": (20_040_522, 398_136_320),
    "cifar_googlenet": (6_166_250, 1_521_756_160),
    "cifar_densenet121": (6_956_298, 888_350_720),
    "cifar_dpn26": (11_574_842, 665_050_880),
    "cifar_dpn92": (34_236_634, 2_042_422_272),
    "cifar_dla": (16_291_386, 1_030_935_552),
    "cifar_simple_dla": (15_142_970, 913_495_040),
    "cifar_pnasnet_a": (130_646, 28_037_856),
    "cifar_pnasnet_b": (451_626, 74_474_752),
    "cifar_mobilenet": (3_217_226, 46_354_432),
    "cifar_mobilenet_v2": (2_296_922, 91_154_944),
    "cifar_shufflenet_g2": (887_582, 39_614_080),
    "cifar_shufflenet_v2_1": (1_263_854, 45_002_112),
    "cifar_efficientnet_b0": (3_599_686 - 1_088, 30_331_392),  # pytorch-cifar has 1,088 that nothing uses
    # Table 1 of the paper: windows and maps; 96 (27 + 2x864), 192 (864 + 3x1,728 + 192), 1,920 and a bias for each map.
    "all_cnn_c": (1_369_738, 270_798_336),
    # cifar10_full for Caffe: 14,592 30,880 15,456; 460,992 37,056 37,056; 331,968 37,056 1,930
    "nin_cifar": (966_986, 222_486_528),
    "caffe_lenet": (431_080, 2_293_000),
    "caffenet": (60_965_224, 724_406_816),
    # Tutorials: what `summary()` of the framework prints, and 320 + 18,496 + 1,179,776 + 1,290.
    "pytorch_mnist": (1_199_882, 11_992_448),
    "keras_mnist": (34_826, 2_440_960),
    "tensorflow_cifar": (122_570, 4_548_608),
    "gluon_mnist": (431_080, 2_293_000),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    net = NETWORKS[name]()
    assert net.name == name
    assert (net.params, net.macs) == COUNTS[name]
    assert f"{net.params:,} parameters" in (NETWORKS[name].__doc__ or "")


@pytest.mark.parametrize("name", COUNTS)
def test_classes_and_channels_are_arguments(name: str) -> None:
    usual = NETWORKS[name]()
    net = NETWORKS[name](classes=7, channels=2)
    assert (net.classes, net.input) == (7, (2, *usual.input[1:]))


@pytest.mark.parametrize(("name", "blocks"), [(f"cifar_resnet{6 * n + 2}", n) for n in (3, 5, 7, 9, 18)])
def test_the_paper_s_residual_networks(name: str, blocks: int) -> None:
    net = NETWORKS[name]()
    convolutions = 3 * 16 + 2 * blocks * 16**2 + 16 * 32 + (2 * blocks - 1) * 32**2 + 32 * 64
    convolutions += (2 * blocks - 1) * 64**2
    normalizations = 2 * (16 + 2 * blocks * (16 + 32 + 64))
    assert net.params == 9 * convolutions + normalizations + 650
    weighted = [node for _, node in net.walk() if isinstance(node.layer, (Conv, Dense))]
    assert len(weighted) == 6 * blocks + 2, "option A: no convolution in the shortcuts"


# --- the shapes that the code of pytorch-cifar gives ------------------------------------------------------------------

SHAPES = {
    "cifar_resnet18": {"layer1.1": (64, 32, 32), "layer2.1": (128, 16, 16), "layer4.1": (512, 4, 4)},
    "cifar_resnet50": {"layer1.2": (256, 32, 32), "layer4.2": (2048, 4, 4)},
    "cifar_preact_resnet18": {"layer1.1": (64, 32, 32), "layer4.1": (512, 4, 4)},
    "cifar_senet18": {"layer4.0.fc1": (32, 1, 1), "layer4.1": (512, 4, 4)},
    "cifar_resnext29_2x64d": {"layer1.2": (256, 32, 32), "layer3.2": (1024, 8, 8)},
    "cifar_regnet_y_400mf": {"layer1.0.se.se1": (16, 1, 1), "layer2.1": (64, 32, 32), "layer4.11": (384, 8, 8)},
    "cifar_googlenet": {"a3": (256, 32, 32), "b3": (480, 32, 32), "e4": (832, 16, 16), "b5": (1024, 8, 8)},
    "cifar_densenet121": {"dense1.5": (256, 32, 32), "trans1.conv": (128, 32, 32), "dense4.15": (1024, 4, 4)},
    "cifar_dpn26": {"layer1.0": (288, 32, 32), "layer1.1": (304, 32, 32), "layer4.1": (2432, 4, 4)},
    "cifar_dpn92": {"layer3.19": (1024 + 21 * 24, 8, 8), "layer4.2": (2048 + 4 * 128, 4, 4)},
    "cifar_dla": {"layer4.level_1.root.conv": (128, 16, 16), "layer6.root.conv": (512, 4, 4)},
    "cifar_simple_dla": {"layer4.right_tree.root.conv": (128, 16, 16), "layer6.root.conv": (512, 4, 4)},
    "cifar_pnasnet_a": {"layer1.5": (44, 32, 32), "layer2": (88, 16, 16), "layer5.5": (176, 8, 8)},
    "cifar_pnasnet_b": {"layer1.5": (64, 32, 32), "layer2.conv2": (64, 16, 16), "layer5.5.conv2": (128, 8, 8)},
    "cifar_mobilenet": {"layers.0.conv2": (64, 32, 32), "layers.12.conv2": (1024, 2, 2)},
    "cifar_mobilenet_v2": {"layers.1": (24, 32, 32), "layers.3.conv3": (32, 16, 16), "conv2": (1280, 4, 4)},
    "cifar_shufflenet_g2": {"layer1.0": (200, 16, 16), "layer1.0.conv1": (44, 32, 32), "layer3.3": (800, 4, 4)},
    "cifar_shufflenet_v2_1": {"layer1.0": (116, 16, 16), "layer3.3": (464, 4, 4), "conv2": (1024, 4, 4)},
    "cifar_efficientnet_b0": {"layers.0.se.se1": (8, 1, 1), "layers.2": (24, 16, 16), "layers.15.conv3": (320, 2, 2)},
}


@pytest.mark.parametrize(("name", "path", "shape"), [(net, *row) for net in SHAPES for row in SHAPES[net].items()])
def test_a_shape_inside(name: str, path: str, shape: tuple[int, ...]) -> None:
    assert _inside(NETWORKS[name](), path).output == shape


NAMES = {
    "cifar_resnet18": ["conv1.weight", "bn1.gamma", "layer2.0.shortcut.1.running_mean", "linear.bias"],
    "cifar_preact_resnet18": ["layer1.0.bn1.beta", "layer2.0.bn1.beta", "layer2.0.shortcut.0.weight"],
    "cifar_senet18": ["layer3.1.fc1.bias", "layer3.1.fc2.weight"],
    "cifar_regnet_y_400mf": ["layer4.11.se.se2.bias", "layer4.0.conv3.weight"],
    "cifar_vgg16": ["features.0.bias", "features.41.gamma", "classifier.weight"],
    "cifar_googlenet": ["pre_layers.1.gamma", "a3.b2.3.weight", "b5.b3.7.gamma", "e4.b4.1.bias"],
    "cifar_densenet121": ["dense4.15.conv2.weight", "trans3.bn.gamma", "bn.beta"],
    "cifar_dpn92": ["layer3.19.conv2.weight", "layer4.0.shortcut.1.beta"],
    "cifar_dla": ["base.0.weight", "layer4.prev_root.conv1.weight", "layer5.level_1.right_node.bn2.gamma"],
    "cifar_simple_dla": ["layer5.left_tree.right_tree.conv1.weight", "layer5.left_tree.root.bn.beta"],
    "cifar_pnasnet_b": ["layer2.sep_conv3.conv1.weight", "layer2.bn1.gamma", "layer5.5.bn2.gamma"],
    "cifar_mobilenet_v2": ["layers.0.shortcut.0.weight", "layers.16.conv2.weight", "conv2.weight"],
    "cifar_shufflenet_v2_1": ["layer1.0.conv5.weight", "layer2.7.bn3.gamma"],
    "cifar_efficientnet_b0": ["layers.0.se.se1.bias", "layers.15.bn3.running_var"],
}


@pytest.mark.parametrize("name", NAMES)
def test_parameters_have_pytorch_cifar_s_names(name: str) -> None:
    assert set(NAMES[name]) <= {parameter.name for parameter in NETWORKS[name]().parameters}


# --- graphs that nesting expresses ------------------------------------------------------------------------------------


def test_the_joined_channels_of_a_dual_path_block() -> None:
    """cat(x[:d] + y[:d], x[d:], y[d:]) for x with 32 and y with 16 channels beyond d = 256."""
    block = _inside(NETWORKS["cifar_dpn26"](), "layer1.1")
    result, given = (_maps(branch[-1]) for branch in block.branches)
    assert len(result) == len(given) == 256 + 32 + 16
    assert result[:256] == given[:256] == tuple(range(256)), "sum"
    assert (result[256:288], given[256:288]) == ((None,) * 32, tuple(range(256, 288))), "the input's"
    assert (result[288:], given[288:]) == (tuple(range(256, 272)), (None,) * 16), "the result's"


@pytest.mark.parametrize(
    ("name", "path", "first", "maps"),
    [
        ("cifar_shufflenet_g2", "layer1.1.shuffle1", (0, 25, 1, 26), 50),
        ("cifar_shufflenet_v2_1", "layer1.1.shuffle", (0, 58, 1, 59), 116),
    ],
)
def test_a_shuffle_takes_one_channel_of_each_group_in_turn(
    name: str, path: str, first: tuple[int, ...], maps: int
) -> None:
    shuffle = _maps(_inside(NETWORKS[name](), path))
    assert shuffle[:4] == first
    assert sorted(number for number in shuffle if number is not None) == list(range(maps))


def test_a_node_of_dla_joins_four_results() -> None:
    root = _inside(NETWORKS["cifar_dla"](), "layer5.root.conv")
    assert root.input == (4 * 256, 8, 8)
    assert _inside(NETWORKS["cifar_simple_dla"](), "layer5.root.conv").input == (2 * 256, 8, 8)


def test_a_projection_of_a_preactivated_block_takes_the_normalized_input() -> None:
    net = NETWORKS["cifar_preact_resnet18"]()
    paths = [node.path for node in net.nodes]
    assert paths[paths.index("layer2.0") - 2 :][:3] == ["layer2.0.bn1", "layer2.0.bn1_relu", "layer2.0"]
    assert isinstance(_inside(net, "layer2.1").branches[0][0].layer, BatchNorm)


def _inside(net: Network, path: str) -> Node:
    return next(node for _, node in net.walk() if node.path == path)


def _maps(node: Node) -> tuple[int | None, ...]:
    assert isinstance(node.layer, Select)
    return node.layer.maps
