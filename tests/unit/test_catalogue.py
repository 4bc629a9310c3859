"""The networks of torchvision and keras.applications have the counts of these libraries.

Trained and running values are those of the libraries' own networks, built without weights: torchvision 0.28.0 on the
meta device of PyTorch 2.13.0, keras.applications of Keras 3.15.1. tests/contract/test_third_parties.py builds them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from frameworks.errors import WeightFileError
from frameworks.networks import NETWORKS
from frameworks.networks.blocks import divisible, shuffle
from frameworks.spec import (
    Add,
    BatchNorm,
    Concat,
    Conv,
    MaxPool,
    Multiply,
    Network,
    Node,
    Pad,
    Residual,
    StochasticDepth,
    from_json,
    sides,
    to_json,
)
from frameworks.weight_files import keras_names, state_dict_names

# name: trained values, running statistics
TORCHVISION = {
    "googlenet_bn_aux": (13_004_888, 15_072),  # googlenet with its auxiliary classifiers
    "squeezenet1_0": (1_248_424, 0),
    "squeezenet1_1": (1_235_496, 0),
    "densenet121": (7_978_856, 83_648),
    "densenet161": (28_681_000, 219_936),
    "densenet169": (14_149_480, 158_400),
    "densenet201": (20_013_928, 229_056),
    "resnext50_32x4d": (25_028_904, 68_224),
    "resnext101_32x8d": (88_791_336, 202_880),
    "resnext101_64x4d": (83_455_272, 202_880),
    "wide_resnet50_2": (68_883_240, 68_224),
    "wide_resnet101_2": (126_886_696, 137_856),
    "mobilenet_v2": (3_504_872, 34_112),
    "mobilenet_v3_small": (2_542_856, 12_112),
    "mobilenet_v3_large": (5_483_032, 24_400),
    "shufflenet_v2_x0_5": (1_366_792, 7_952),
    "shufflenet_v2_x1_0": (2_278_604, 16_180),
    "shufflenet_v2_x1_5": (3_503_624, 23_440),
    "shufflenet_v2_x2_0": (7_393_996, 33_716),
    "mnasnet0_5": (2_218_512, 20_624),
    "mnasnet0_75": (3_170_208, 29_808),
    "mnasnet1_0": (4_383_312, 37_920),
    "mnasnet1_3": (6_282_256, 48_816),
    "efficientnet_b0": (5_288_548, 42_016),
    "efficientnet_b1": (7_794_184, 62_048),
    "efficientnet_b2": (9_109_994, 67_568),
    "efficientnet_b3": (12_233_232, 87_296),
    "efficientnet_b4": (19_341_616, 125_200),
    "efficientnet_b5": (30_389_784, 172_736),
    "efficientnet_b6": (43_040_704, 224_432),
    "efficientnet_b7": (66_347_960, 310_720),
    "efficientnet_v2_s": (21_458_488, 153_872),
    "efficientnet_v2_m": (54_139_356, 292_032),
    "efficientnet_v2_l": (118_515_272, 512_576),
    "regnet_x_400mf": (5_495_976, 37_856),
    "regnet_x_800mf": (7_259_656, 37_312),
    "regnet_x_1_6gf": (9_190_136, 43_504),
    "regnet_x_3_2gf": (15_296_552, 62_560),
    "regnet_x_8gf": (39_572_648, 90_464),
    "regnet_x_16gf": (54_278_536, 111_168),
    "regnet_x_32gf": (107_811_560, 162_016),
    "regnet_y_400mf": (4_344_144, 27_152),
    "regnet_y_800mf": (6_432_512, 30_432),
    "regnet_y_1_6gf": (11_202_430, 52_672),
    "regnet_y_3_2gf": (19_436_338, 66_160),
    "regnet_y_8gf": (39_381_472, 86_528),
    "regnet_y_16gf": (83_590_140, 122_816),
    "regnet_y_32gf": (145_046_770, 158_288),
    "regnet_y_128gf": (644_812_894, 415_072),
    "convnext_tiny": (28_589_128, 0),
    "convnext_small": (50_223_688, 0),
    "convnext_base": (88_591_464, 0),
    "convnext_large": (197_767_336, 0),
}
# keras.applications calls them MobileNet, ResNet50V2, ..., Xception, InceptionResNetV2 and ConvNeXtXLarge.
KERAS = {
    "mobilenet_v1": (4_231_976, 21_888),
    "resnet50_v2": (25_568_360, 45_440),
    "resnet101_v2": (44_577_896, 97_664),
    "resnet152_v2": (60_236_904, 143_744),
    "xception": (22_855_952, 54_528),
    "inception_resnet_v2": (55_813_192, 60_544),
    "efficientnet_v2_b0": (7_139_704, 60_608),
    "efficientnet_v2_b1": (8_141_052, 71_072),
    "efficientnet_v2_b2": (10_096_086, 82_288),
    "efficientnet_v2_b3": (14_358_406, 109_216),
    "convnext_xlarge": (350_196_968, 0),
}
# In neither library. The first: squeeze_excitation adds C^2 / 8 weights and C / 16 + C biases to the blocks of
# torchvision's resnet50 (25,557,032), 3, 4, 6 and 3 with C of 256, 512, 1024 and 2048. The second: only computed here.
OTHERS = {
    "se_resnet50": (
        25_557_032 + sum(n * (c * c // 8 + c // 16 + c) for n, c in zip((3, 4, 6, 3), (256, 512, 1024, 2048))),
        53_120,
    ),
    "shufflenet_v1": (1_865_728, 24_480),
}
COUNTS = TORCHVISION | KERAS | OTHERS


@cache
def spec_of(name: str) -> Network:
    """The network with the sizes of its paper."""
    return NETWORKS[name]()


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    net = spec_of(name)
    assert (net.name, net.params, net.buffers) == (name, *COUNTS[name])
    assert f"{net.params:,} parameters" in (NETWORKS[name].__doc__ or "")
    assert net.source


@pytest.mark.parametrize("name", COUNTS)
def test_classes_channels_and_size_are_arguments(name: str) -> None:
    usual = spec_of(name)
    size = {} if name == "googlenet_bn_aux" else {"size": 160}
    net = NETWORKS[name](classes=7, channels=2, **size)
    assert (net.classes, net.input) == (7, (2, *([160] * 2 if size else usual.input[1:])))
    assert [parameter.name for parameter in net.parameters] == [parameter.name for parameter in usual.parameters]
    first = next(node for _, node in net.walk() if node.parameters)
    assert first.input[0] == 2


@pytest.mark.parametrize("name", COUNTS)
def test_a_network_travels_as_json(name: str) -> None:
    net = spec_of(name)
    assert from_json(to_json(net)) == net


# --- what papers print ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("groups", "millions"), [(1, 143), (2, 140), (3, 137), (4, 133), (8, 137)])
def test_the_complexity_of_shufflenet(groups: int, millions: int) -> None:
    """Zhang et al. 2018, table 1: multiply-adds of the convolutions."""
    net = NETWORKS["shufflenet_v1"](groups=groups)
    assert round((net.macs - net.nodes[-1].macs) / 1e6) == millions


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("se_resnet50", 3_870),  # Hu et al. 2018, table 2: 3.87 GFLOPs
        ("mobilenet_v1", 569),  # Howard et al. 2017, table 4
        ("mobilenet_v2", 300),  # Sandler et al. 2018, table 4
        ("mobilenet_v3_large", 219),  # Howard et al. 2019, table 3
        ("efficientnet_b0", 390),  # Tan and Le 2019, table 2
        ("convnext_tiny", 4_500),  # Liu et al. 2022, table 1
        ("convnext_xlarge", 60_900),
        ("regnet_x_400mf", 400),  # Radosavovic et al. 2020: the names
        ("regnet_x_32gf", 32_000),
        ("regnet_y_16gf", 16_000),
        ("shufflenet_v2_x1_0", 146),  # Ma et al. 2018, table 5
        ("resnext50_32x4d", 4_200),  # Xie et al. 2017, table 1
    ],
)
def test_multiply_adds_are_those_of_the_paper(name: str, millions: int) -> None:
    """Within 4 %: papers round, and some count additions, normalizations or means."""
    assert spec_of(name).macs / 1e6 == pytest.approx(millions, rel=0.04)


WIDTHS = [(8, 8), (8.4, 8), (12, 16), (14.4, 16), (20.8, 24), (27, 32), (26, 24), (10.9, 16), (3, 8)]


@pytest.mark.parametrize(("width", "expected"), WIDTHS)
def test_scaled_widths_are_multiples_of_8_that_lose_at_most_a_tenth(width: float, expected: int) -> None:
    assert divisible(width) == expected


@pytest.mark.parametrize(
    ("name", "width", "params"),
    # keras.applications with alpha, torchvision with width_mult
    [("mobilenet_v1", 0.5, 1_331_592), ("mobilenet_v2", 0.5, 1_968_680), ("mobilenet_v2", 1.4, 6_108_776)],
)
def test_scaled_networks(name: str, width: float, params: int) -> None:
    assert NETWORKS[name](width=width).params == params


def test_shuffled_channels_come_from_the_groups_in_turn() -> None:
    channels = np.arange(12)
    assert list(shuffle("s", 12, 3).maps) == list(channels.reshape(3, 4).T.ravel())


def test_the_stages_of_regnet() -> None:
    """Radosavovic et al. 2020, figure 15: X-400MF has 1, 2, 7 and 12 blocks. The widths are torchvision's."""
    net = NETWORKS["regnet_x_400mf"]()
    blocks = [node for node in net.nodes if isinstance(node.layer, Residual)]
    widths = [node.output[0] for node in blocks]
    assert {width: widths.count(width) for width in widths} == {32: 1, 64: 2, 160: 7, 400: 12}


def drop_rates(name: str) -> list[float]:
    return [node.layer.rate for _, node in spec_of(name).walk() if isinstance(node.layer, StochasticDepth)]


@pytest.mark.parametrize(
    ("name", "last", "count"),
    [
        ("efficientnet_b0", 0.2 * 14 / 16, 9),  # the last block, of 16, widens: it has no shortcut
        ("efficientnet_v2_s", 0.2 * 39 / 40, 34),
        ("convnext_tiny", 0.1, 17),  # the first block has none
        ("convnext_base", 0.5, 35),
    ],
)
def test_stochastic_depth_grows_with_the_depth(name: str, last: float, count: int) -> None:
    rates = drop_rates(name)
    assert rates == sorted(set(rates))
    assert (len(rates), rates[-1]) == (count, pytest.approx(last))


# --- padding ----------------------------------------------------------------------------------------------------------


def halving(net: Network) -> dict[str, Node]:
    """Windows with stride 2 that are larger than one pixel."""
    return {
        node.path: node
        for _, node in net.walk()
        if isinstance(node.layer, (Conv, MaxPool)) and node.layer.stride == 2 and node.layer.kernel != 1
    }


@pytest.mark.parametrize("size", [299, 160, 200])
def test_the_pools_of_xception_have_the_padding_of_same(size: int) -> None:
    """ceil(size / 2) windows, with the odd zero at the bottom and the right."""
    pools = [node for node in halving(NETWORKS["xception"](size=size)).values() if isinstance(node.layer, MaxPool)]
    assert len(pools) == 4
    for node in pools:
        side = node.input[1]
        assert node.output[1:] == (-(-side // 2),) * 2
        assert sides(node.layer.padding) == (((1, 1),) * 2 if side % 2 else ((0, 1),) * 2)


@pytest.mark.parametrize("name", ["efficientnet_v2_b0", "efficientnet_v2_b3"])
def test_the_windows_of_keras_forms_have_the_padding_of_same(name: str) -> None:
    nodes = halving(spec_of(name))
    assert len(nodes) == 5
    for node in nodes.values():
        assert isinstance(node.layer, Conv)
        side = node.input[1]
        assert sides(node.layer.padding) == (((1, 1),) * 2 if side % 2 else ((0, 1),) * 2)
        assert node.output[1] == -(-side // 2)


def test_mobilenet_v1_pads_the_bottom_and_the_right() -> None:
    nodes = halving(NETWORKS["mobilenet_v1"]())
    assert len(nodes) == 5
    assert {sides(node.layer.padding) for node in nodes.values() if isinstance(node.layer, Conv)} == {((0, 1), (0, 1))}


def test_the_first_pool_of_resnet_v2_is_padded_with_zeros() -> None:
    """Nothing has been rectified before it, so minus infinity would give other results."""
    _, pad, pool = NETWORKS["resnet50_v2"]().nodes[:3]
    assert isinstance(pad.layer, Pad)
    assert (pad.layer.value, pad.layer.padding) == (0.0, 1)
    assert isinstance(pool.layer, MaxPool)
    assert pool.layer.padding == 0


# --- constants of batch normalization ---------------------------------------------------------------------------------

# By family: eps and momentum, where they are not the usual 1e-5 and 0.1.
CONSTANTS = {
    "mobilenet_v3": (1e-3, 0.01),
    "mnasnet": (1e-5, 1 - 0.9997),
    "efficientnet_b[5-7]": (1e-3, 0.01),
    "efficientnet_v2": (1e-3, 0.1),
    "googlenet_bn_aux": (1e-3, 0.1),
    "mobilenet_v1|xception|inception_resnet_v2": (1e-3, 0.01),
    "resnet[0-9]+_v2": (1.001e-5, 0.01),
}


@pytest.mark.parametrize("name", COUNTS)
def test_the_constants_of_batch_normalization(name: str) -> None:
    expected = next((values for family, values in CONSTANTS.items() if re.match(family, name)), (1e-5, 0.1))
    norms = [node.layer for _, node in spec_of(name).walk() if isinstance(node.layer, BatchNorm)]
    assert {(norm.eps, norm.momentum) for norm in norms} <= {expected}


# --- names of arrays in files -----------------------------------------------------------------------------------------


def test_a_layer_scale_and_dense_layers_of_a_state_dict_fit_the_spec() -> None:
    """torchvision has ConvNeXt's layer scale as C x 1 x 1 and its 1 x 1 convolutions as dense layers."""
    net = spec_of("convnext_tiny")
    state = {
        "features.1.0.layer_scale": np.ones((96, 1, 1)),
        "features.1.0.block.3.weight": np.ones((384, 96)),
        "features.1.0.block.2.weight": np.ones(96),
    }
    shapes = {name: array.shape for name, array in state_dict_names.canonical(net, state).items()}
    assert shapes == {
        "features.1.0.layer_scale.gamma": (96,),
        "features.1.0.block.3.weight": (384, 96, 1, 1),
        "features.1.0.block.2.gamma": (96,),
    }


def test_arrays_of_another_size_remain_as_they_are() -> None:
    state = {"features.1.0.block.3.weight": np.ones((96, 384)), "features.1.0.layer_scale": np.ones((1, 96))}
    arrays = state_dict_names.canonical(spec_of("convnext_tiny"), state)
    assert [array.shape for array in arrays.values()] == [(96, 384), (1, 96)]


def test_the_names_in_published_files_of_densenet() -> None:
    state = {"features.denseblock1.denselayer2.norm.1.weight": np.ones(96)}
    arrays = state_dict_names.canonical(NETWORKS["densenet121"](), state)
    assert list(arrays) == ["features.denseblock1.denselayer2.norm1.gamma"]


@pytest.mark.parametrize("join", [Add, Concat, Multiply, lambda name, chains: Residual(name, *chains)])
def test_a_file_of_keras_does_not_name_branches(join: Callable[..., Add]) -> None:
    """Layers side by side are assigned by their shapes, and refused if these are equal."""
    net = Network("n", (2, 4, 4), [join("j", [[Conv("a", 3, 3, padding=1)], [Conv("b", 3, 1)]])])
    large, small = np.ones((3, 3, 2, 3)), np.ones((1, 1, 2, 3))
    biases = {f"layers/{name}/vars/1": np.ones(3) for name in ("conv2d", "conv2d_1")}
    arrays = keras_names.canonical(net, {"layers/conv2d/vars/0": small, "layers/conv2d_1/vars/0": large, **biases})
    assert arrays["j.a.weight"].shape == (3, 2, 3, 3)
    net = Network("n", (2, 4, 4), [join("j", [[Conv("a", 3, 1)], [Conv("b", 3, 1)]])])
    with pytest.raises(WeightFileError, match=r"which of its layers is j\.a and which j\.b"):
        keras_names.canonical(net, {"layers/conv2d/vars/0": small, "layers/conv2d_1/vars/0": small, **biases})
