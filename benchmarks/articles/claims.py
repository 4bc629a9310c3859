"""What the articles state about their networks, beside what is counted from the specs: `benchmarks.summary --audit`.

The articles' figures are written down here; ours are counted each time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from typing import TypeAlias

from benchmarks.reporting.network_diagrams import padded
from benchmarks.reporting.tables import Row, markdown, table
from frameworks.networks import NETWORKS
from frameworks.spec import (
    AvgPool,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Network,
    Node,
    ReLU,
    Tanh,
    pair,
    times,
)

Figure: TypeAlias = "int | str | tuple[int, ...]"

_POOLS = (MaxPool, AvgPool, GlobalAvgPool)


@dataclass(frozen=True)
class Claim:
    """A figure of an article, as it stands there and as a value, and the same counted here."""

    article: str
    about: str
    printed: str
    stated: Figure
    ours: Figure
    why: str = ""  # they differ

    @property
    def agrees(self) -> bool:
        return self.stated == self.ours


def claims() -> list[Claim]:
    """Every figure, by article and in reading order."""
    return [*_article_000(), *_article_001(), *_article_002(), *_article_003(), *_article_004()]


def report(form: str) -> str:
    """All figures as a table, markdown or json."""
    found = claims()
    if form == "json":
        return "[\n" + ",\n".join(json.dumps(_as_json(claim), ensure_ascii=False) for claim in found) + "\n]"
    body = [_row(claim) for claim in found]
    wrong = sum(not claim.agrees for claim in found)
    lead = (
        f"{len(found)} figures: {len(found) - wrong} agree with the specs; {wrong} do not, each for the reason given."
    )
    if form == "table":
        return f"{table(_HEAD, body)}\n\n{lead}"
    return f"# What the articles state, and what is counted\n\n{_ABOUT}\n\n{lead}\n\n{markdown(_HEAD, body)}"


_ABOUT = """\
Written by `python -m benchmarks.summary --audit --out results/audit.md`. The articles: 000 LeNet; 001 from LeNet to
ResNet; 002 AlexNet, VGG, NiN and GoogLeNet on Fashion-MNIST; 003 AlexNet layer by layer; 004 LeNet in Gluon. "Printed"
is the figure as it stands there; "counted" is computed from the network's spec."""
_HEAD = ("article", "about", "printed", "counted", "verdict", "reason")


def _row(claim: Claim) -> Row:
    verdict = "agrees" if claim.agrees else "differs"
    return (claim.article, claim.about, claim.printed, _shown(claim.ours), verdict, claim.why)


def _as_json(claim: Claim) -> dict[str, object]:
    keys = ("article", "about", "printed", "stated", "ours", "agrees", "why")
    return {key: getattr(claim, key) for key in keys}


def _shown(figure: Figure) -> str:
    if isinstance(figure, int):
        return f"{figure:,}"
    return figure if isinstance(figure, str) else ", ".join(map(str, figure))


# --- counted from the specs -------------------------------------------------------------------------------------------


@cache
def _net(name: str) -> Network:
    """A network by name; lenet_relu@32 is lenet_relu on 32 x 32 pictures."""
    name, _, side = name.partition("@")
    net = NETWORKS[name]()
    return net.with_input((net.input[0], int(side), int(side))) if side else net


def _node(name: str, path: str) -> Node:
    return next(node for _, node in _net(name).walk() if node.path == path)


def _layers(name: str, *kinds: type[Layer]) -> list[Node]:
    return [node for _, node in _net(name).walk() if isinstance(node.layer, kinds)]


def _parameters(name: str, *paths: str) -> int:
    """Trained parameters of layers."""
    return sum(array.size for path in paths for array in _node(name, path).parameters if array.trainable)


def _output(name: str, path: str) -> str:
    return times(_node(name, path).output)


def _values(name: str, path: str) -> int:
    """How many values a layer gives: its nodes."""
    return prod(_node(name, path).output)


def _inputs(name: str, path: str) -> int:
    return prod(_node(name, path).input)


def _window(name: str, path: str) -> str:
    layer = _node(name, path).layer
    assert isinstance(layer, (Conv, MaxPool, AvgPool)), f"{path} has no window"
    return times(pair(layer.kernel))


def _stride(name: str, path: str) -> int:
    layer = _node(name, path).layer
    assert isinstance(layer, (Conv, MaxPool, AvgPool)), f"{path} has no stride"
    return pair(layer.stride)[0]


def _steps(name: str, path: str) -> str:
    """Window, stride and padding: 5x5/1/2."""
    layer = _node(name, path).layer
    assert isinstance(layer, (Conv, MaxPool, AvgPool)), f"{path} has no window"
    return f"{_window(name, path)}/{_stride(name, path)}/{padded(layer.padding)}"


def _kernel(name: str, path: str) -> str:
    """A convolution's window and the maps that each kernel sees: 5x5x48."""
    _, maps, *window = _node(name, path).parameter("weight").shape
    return times((*window, maps))


def _maps(name: str) -> tuple[int, ...]:
    """Maps that each convolution gives, in reading order."""
    return tuple(node.output[0] for node in _layers(name, Conv))


def _module(path: str) -> tuple[int, ...]:
    """The maps that a module of googlenet_fashion takes, and those that its convolutions give."""
    node = _node("googlenet_fashion", path)
    return (node.input[0], *(inner.output[0] for _, inner in node.walk() if isinstance(inner.layer, Conv)))


def _depth(name: str, *kinds: type[Layer]) -> int:
    """Layers of these kinds on the longest way through the network."""

    def longest(nodes: Iterable[Node]) -> int:
        return sum(
            isinstance(node.layer, kinds) + max((longest(branch) for branch in node.branches), default=0)
            for node in nodes
        )

    return longest(_net(name).nodes)


def _dense_share(name: str) -> str:
    dense = sum(array.size for node in _layers(name, Dense) for array in node.parameters)
    return f"{dense / _net(name).params:.1%} in {name}"


# --- the articles -----------------------------------------------------------------------------------------------------


def _article_000() -> list[Claim]:
    claim = partial(Claim, "000")
    c1, s2, c3, s4 = (_node("lenet", path) for path in ("C1", "S2", "C3", "S4"))
    return [
        claim("LeNet, convolutions", "2", 2, len(_layers("lenet", Conv))),
        claim("LeNet, dense layers", "3", 3, len(_layers("lenet", Dense))),
        claim("LeNet C1, window", "5x5", "5x5", _window("lenet", "C1")),
        claim("LeNet C3, window", "5x5", "5x5", _window("lenet", "C3")),
        claim(
            *("LeNet S2, window", "4x4, stride 2", "4x4", _window("lenet", "S2")),
            why="the article's code has 2x2; 4x4 with stride 2 would give 13x13, not 14x14",
        ),
        claim("LeNet S2, values divided by", "4", 4, prod(s2.input) // prod(s2.output)),
        claim("LeNet S2, height divided by", "2", 2, s2.input[1] // s2.output[1]),
        claim("LeNet S4, height divided by", "2", 2, s4.input[1] // s4.output[1]),
        claim("LeNet C1, rows lost", "0", 0, c1.input[1] - c1.output[1]),
        claim("LeNet C3, rows lost", "4", 4, c3.input[1] - c3.output[1]),
        claim("LeNet, maps", "6, 16", (6, 16), _maps("lenet")),
        claim("LeNet C5, inputs", "16 * 5 * 5", 400, _inputs("lenet", "C5")),
        claim("LeNet F6, inputs", "120", 120, _inputs("lenet", "F6")),
        claim("LeNet output, inputs", "84", 84, _inputs("lenet", "output")),
    ]


def _article_001() -> list[Claim]:
    claim = partial(Claim, "001")
    vgg = [len(_layers(name, Conv, Dense)) for name in ("vgg11", "vgg13", "vgg16", "vgg19")]
    whole = [node.parameter("weight").shape[1] == node.input[0] for node in _layers("alexnet", Conv)]
    between = [name for name in NETWORKS if _pool_between_dense(name)]
    squashed = [node.path.partition("_")[0] for node in _layers("lenet5", Tanh)]
    smaller = _net("alexnet").params / _net("googlenet").params
    grown = _net("inception_v3").params / _net("inception_v2").params
    blocks = [node for _, node in _net("googlenet").walk() if not isinstance(node.layer, (ReLU, Dropout, Flatten))]
    first = next(name for name in ("googlenet", "inception_v2") if _reduces(name))
    return [
        claim(
            *("AlexNet, convolutions whose kernels see all maps before them", "all 5", 5, sum(whole)),
            why="C2, C4 and C5 are in two groups, one a GPU, as the article's own table has them",
        ),
        claim(
            *("pools between dense layers, in all networks here", "usual", "usual", ", ".join(between) or "none"),
            why="pools stand between convolutions, and before the first dense layer",
        ),
        claim(
            *("parameters in dense layers", "most", "most", ", ".join(map(_dense_share, _SHARES))),
            why="true of AlexNet and VGG; Inception and residual networks have one dense layer",
        ),
        *_alexnet_001(),
        claim(
            "ZFNet C1, stride instead of AlexNet's",
            "2 for 4",
            (2, 4),
            (_stride("zfnet", "C1"), _stride("alexnet", "C1")),
        ),
        claim(
            *("ZFNet C2, stride (only C1 and C3 to C5 are said to change)", "1", 1, _stride("zfnet", "C2")),
            why="C2 strides by 2 as well; AlexNet with only C1 and C3 to C5 changed would be ten times as large",
        ),
        claim(
            *("ZFNet C3 to C5, maps", "512,512,1024", (512, 512, 1024), _maps("zfnet")[2:]),
            why="the paper's figure 3 keeps AlexNet's 384, 384, 256; its wide variant has 512, 1024, 512 (zfnet_wide)",
        ),
        claim("AlexNet, layers with weights", "8", 8, len(_layers("alexnet", Conv, Dense))),
        claim(
            *("VGG, layers with weights", "16-19", "16 to 19", f"{min(vgg)} to {max(vgg)}"),
            why="networks A, with 11, and B, with 13, belong to the family",
        ),
        claim("VGG, layers of the network trained first", "11", 11, min(vgg)),
        claim("GoogLeNet, layers with weights on the longest way", "22", 22, _depth("googlenet", Conv, Dense)),
        claim("GoogLeNet, the same with pools", "27", 27, _depth("googlenet", Conv, Dense, *_POOLS)),
        claim(
            *("GoogLeNet, building blocks", "about 100", 100, len(blocks)),
            why="the paper's estimate, which it says depends on what is counted; here all but activations and dropout",
        ),
        claim(
            *("GoogLeNet, parameters against AlexNet's", "1/12", "1/12", f"1/{smaller:.1f}"),
            why="the paper's claim; the networks as their tables have them are not that far apart",
        ),
        claim("GoogLeNet, dense layers", "1", 1, len(_layers("googlenet", Dense))),
        claim(
            *("the first Inception with 1x1 reductions", "Inception v2", "inception_v2", first),
            why="they are in the first, of 2014; v2 brought batch normalisation and two 3x3 for a 5x5",
        ),
        claim(
            *("Inception v3, parameters against v2's", "fewer", "fewer", f"{grown:.2f} times"),
            why="v3 spares multiply-adds by factorised windows, and is larger",
        ),
        *_lenets_001(),
        claim(
            *("LeNet-5, squashing after", "the pools", "S2, S4", ", ".join(squashed)),
            why="the paper squashes after every layer up to F6",
        ),
    ]


_SHARES = ("alexnet", "vgg16", "googlenet", "resnet50")


def _alexnet_001() -> list[Claim]:
    claim = partial(Claim, "001")
    claims = []
    for path, nodes, values, written, count in (
        ("C1", "55x55x48x2=290400", 290_400, "11x11x3x96+96=34848", 34_848),
        ("C2", "27x27x128x2=186624", 186_624, "(5x5x48x128+128)x2=307456", 307_456),
        ("C3", "13x13x192x2=64896", 64_896, "3x3x256x384+384=885120", 885_120),
        ("C4", "13x13x192x2=64896", 64_896, "(3x3x192x192+192)x2=663936", 663_936),
        ("C5", "13x13x128x2=43264", 43_264, "(3x3x192x128+128)x2=442624", 442_624),
        ("FC6", "4096", 4_096, "(6x6x128x2)x4096+4096=37752832", 37_752_832),
        ("FC7", "4096", 4_096, "4096x4096+4096=16781312", 16_781_312),
        ("FC8", "1000", 1_000, "4096x1000+1000=4097000", 4_097_000),
    ):
        why = "34,848 is the product without the 96 biases that the formula adds" if path == "C1" else ""
        claims.append(claim(f"AlexNet {path}, nodes", nodes, values, _values("alexnet", path)))
        claims.append(claim(f"AlexNet {path}, parameters", written, count, _parameters("alexnet", path), why))
    total = sum(claim.stated for claim in claims[1::2] if isinstance(claim.stated, int))
    why = "the 96 biases of C1 again"
    return [*claims, claim("AlexNet, parameters", f"sum of the table: {total}", total, _net("alexnet").params, why)]


def _lenets_001() -> list[Claim]:
    claims = []
    for name, net, paths in (
        ("LeNet for CIFAR-10", "lenet_cifar", ("C1", "S2", "C3", "S4", "C5", "F6", "output")),
        ("LeNet-5", "lenet5", ("C1", "S2", "C3", "S4", "C5", "F6", "head")),
    ):
        for path, printed in zip(paths, ("6*28*28", "6*14*14", "16*10*10", "16*5*5")):
            stated = printed.replace("*", "x")
            claims.append(Claim("001", f"{name} {path}, output", printed, stated, _output(net, path)))
        for path, units in zip(paths[4:], (120, 84, 10)):
            claims.append(Claim("001", f"{name} {path}, units", str(units), units, _values(net, path)))
    return claims


def _pool_between_dense(name: str) -> bool:
    kinds = [isinstance(node.layer, Dense) for node in _net(name).nodes if isinstance(node.layer, (Dense, *_POOLS))]
    return True in kinds and False in kinds[kinds.index(True) : len(kinds) - kinds[::-1].index(True)]


def _reduces(name: str) -> bool:
    """Whether a network has 1 x 1 convolutions that make fewer maps of more."""
    return any(_window(name, node.path) == "1x1" and node.output[0] < node.input[0] for node in _layers(name, Conv))


def _article_002() -> list[Claim]:
    claim = partial(Claim, "002")
    commented = "the second hidden layer is commented out in the article's code; alexnet_d2l has it"
    alexnet, small = "alexnet_fashion", "vgg_small"
    claims = [
        claim("AlexNet, layers with weights", "8", 8, len(_layers(alexnet, Conv, Dense)), commented),
        claim("AlexNet with both hidden layers, layers with weights", "8", 8, len(_layers("alexnet_d2l", Conv, Dense))),
        claim("AlexNet, convolutions", "5", 5, len(_layers(alexnet, Conv))),
        claim("AlexNet, hidden dense layers", "2", 2, len(_layers(alexnet, Dense)) - 1, commented),
        claim(
            *("AlexNet C1, height of the output", "S(24-18/4+)=5x", "5x", str(_node(alexnet, "C1").output[1])),
            why="misread when scanned: (224-11)/4+1, rounded down",
        ),
        claim("AlexNet, convolutions' maps", "96, 256, 384, 384, 256", (96, 256, 384, 384, 256), _maps(alexnet)),
        claim("AlexNet FC6, inputs", "256*5*5, 6400", 6_400, _inputs(alexnet, "FC6")),
        claim("AlexNet FC8, inputs", "4096", 4_096, _inputs(alexnet, "FC8")),
        claim("VGG-11, height after five pools", "224/32 = 7", 7, _node("vgg11_fashion", "pool5").output[1]),
    ]
    for block, printed in enumerate(("64, 112, 112", "128, 56, 56", "256, 28, 28", "512, 14, 14", "512, 7, 7"), 1):
        ours = _output("vgg11_fashion", f"pool{block}")
        claims.append(claim(f"VGG-11 block {block}, output", printed, printed.replace(", ", "x"), ours))
    for path, stated in (
        *(("C1", "11x11/4/0"), ("P1", "3x3/2/0"), ("C2", "5x5/1/2"), ("P2", "3x3/2/0"), ("C3", "3x3/1/1")),
        *(("C4", "3x3/1/1"), ("C5", "3x3/1/1"), ("P5", "3x3/2/0")),
    ):
        claims.append(claim(f"AlexNet {path}, window/stride/padding", stated, stated, _steps(alexnet, path)))
    claims += [
        claim("VGG-11, output", "10", 10, _net("vgg11_fashion").classes),
        claim("VGG-11 with ratio 8, maps", "8 to 64", (8, 16, 32, 32, 64, 64, 64, 64), _maps(small)),
        claim("VGG-11 with ratio 8, first dense inputs", "3136", 3_136, _inputs(small, "classifier.0")),
        claim("VGG-11 with ratio 8, second dense inputs", "512", 512, _inputs(small, "classifier.3")),
        claim("VGG-11 with ratio 8, third dense inputs", "512", 512, _inputs(small, "classifier.6")),
    ]
    for path, printed in (
        *(("conv1.3", "96, 54, 54"), ("pool1", "96, 26, 26"), ("conv2.3", "256, 26, 26"), ("pool2", "256, 12, 12")),
        *(("conv3.3", "384, 12, 12"), ("pool3", "384, 5, 5"), ("conv4.3", "10, 5, 5"), ("mean", "10, 1, 1")),
    ):
        claims.append(claim(f"NiN {path}, output", printed, printed.replace(", ", "x"), _output("nin", path)))
    claims.append(
        claim(
            *("GoogLeNet 3a, input and maps", "192/64, 64/64, (96, 128/128), (16, 32/32)", "192/64, 64/64, ..."),
            _shown(_module("inception3a")),
            why="misread when scanned: 192, 64, (96, 128), (16, 32), 32",
        )
    )
    for row, widths in (
        ("3b", (256, 128, 128, 192, 32, 96, 64)),
        ("4a", (480, 192, 96, 208, 16, 48, 64)),
        ("4b", (512, 160, 112, 224, 24, 64, 64)),
        ("4c", (512, 128, 128, 256, 24, 64, 64)),
        ("4d", (512, 112, 144, 288, 32, 64, 64)),
        ("4e", (528, 256, 160, 320, 32, 128, 128)),
        ("5a", (832, 256, 160, 320, 32, 128, 128)),
        ("5b", (832, 384, 192, 384, 48, 128, 128)),
    ):
        maps = _module(f"inception{row}")
        claims.append(claim(f"GoogLeNet {row}, input and maps", _shown(widths), widths, maps))
    return [*claims, claim("GoogLeNet fc, inputs", "1024", 1_024, _inputs("googlenet_fashion", "fc"))]


def _article_003() -> list[Claim]:
    claim = partial(Claim, "003")
    net = "alexnet_single"
    two_gpus = "counted for two groups, where the text's kernel and output are those of one"
    claims = [
        claim("AlexNet, layers with weights", "8", 8, len(_layers(net, Conv, Dense))),
        claim("AlexNet, convolutions", "5", 5, len(_layers(net, Conv))),
        claim("AlexNet, dense layers", "3", 3, len(_layers(net, Dense))),
    ]
    for path, printed, stated in (
        *(("C1", "55*55*96", "96x55x55"), ("P1", "27*27*96", "96x27x27"), ("C2", "27*27*256", "256x27x27")),
        *(("P2", "13*13*256", "256x13x13"), ("C3", "13*13*384", "384x13x13"), ("C4", "13*13*384", "384x13x13")),
        *(("C5", "13*13*256", "256x13x13"), ("P5", "6*6*256", "256x6x6")),
        *(("FC6", "1*1*4096", "4096"), ("FC7", "1*1*4096", "4096")),
    ):
        claims.append(claim(f"AlexNet {path}, output", printed, stated, _output(net, path)))
    for path, steps in (
        *(("C1", "11x11/4/0"), ("P1", "3x3/2/0"), ("C2", "5x5/1/2"), ("P2", "3x3/2/0"), ("C3", "3x3/1/1")),
        *(("C4", "3x3/1/1"), ("C5", "3x3/1/1"), ("P5", "3x3/2/0")),
    ):
        claims.append(claim(f"AlexNet {path}, window/stride/padding", steps, steps, _steps(net, path)))
    for path, kernel, why in (
        ("C1", "11*11*3", ""),
        ("C2", "5*5*48", "48 is for two GPUs; the text's count, (5x5x96+1)x256, and its code are for one"),
        *(("C3", "3*3*256", ""), ("C4", "3*3*384", ""), ("C5", "3*3*384", "")),
    ):
        claims.append(claim(f"AlexNet {path}, kernel", kernel, kernel.replace("*", "x"), _kernel(net, path), why))
    counts = []
    for path, printed, count, why in (
        ("C1", "(11x11x3+1)x96=34944", 34_944, ""),
        ("C2", "(5x5x96+1)x256=614656", 614_656, ""),
        ("C3", "(3x3x256+1)x384=885120", 885_120, ""),
        ("C4", "(3x3x192+1)x192x2=663936", 663_936, two_gpus),
        ("C5", "(3x3x192+1)x128x2=442624", 442_624, two_gpus),
        ("FC6", "(6x6x256+1)x4096=37752832", 37_752_832, ""),
        ("FC7", "(4096+1)x4096=16781312", 16_781_312, ""),
        ("FC8", "1000x4096=4096000", 4_096_000, "without the 1,000 biases, which every other row counts"),
    ):
        claims.append(claim(f"AlexNet {path}, parameters", printed, count, _parameters(net, path), why))
        counts.append(count)
    total = sum(counts)
    return [
        *claims,
        claim(
            *("AlexNet, parameters", f"sum of the text: {total}", total, _net(net).params),
            why="C4 and C5 are counted for two groups and the biases of FC8 are left out; all in two groups: alexnet",
        ),
        claim(
            *("AlexNet FC6, stride", "0", "stride 0", f"{_node(net, 'FC6').layer.kind}, no stride"),
            why="the text's own formula divides by a stride of 1; a dense layer has none",
        ),
        claim("AlexNet code on 224x224, C1 output", "55*55*96", "96x55x55", _output("alexnet_cifar", "C1")),
        claim("AlexNet code, FC6 inputs", "256*6*6", 9_216, _inputs("alexnet_cifar", "FC6")),
        claim(
            *("AlexNet code, FC6 units", "4096 in the text", 4_096, _values("alexnet_cifar", "FC6")),
            why="the text tells of the paper's network; its code has half the hidden units",
        ),
    ]


def _article_004() -> list[Claim]:
    claim = partial(Claim, "004")
    text = "lenet_relu@32"
    claims = [
        claim(
            *("LeNet, input", "(32,32)", "1x32x32", times(_net("lenet_relu").input)),
            why="the text's; the code is given MNIST's 28x28 without padding, so its maps are 24, 12, 8 and 4 wide",
        ),
        claim("LeNet C1, parameters", "(5 * 5 + 1) * 6", 156, _parameters(text, "C1")),
    ]
    for path, steps in (("C1", "5x5/1/0"), ("S2", "2x2/2/0"), ("C3", "5x5/1/0"), ("S4", "2x2/2/0")):
        claims.append(claim(f"LeNet {path}, window/stride/padding", steps, steps, _steps("lenet_relu", path)))
    for path, printed in (("C1", "6 * 28 * 28"), ("S2", "6 *14 * 14"), ("C3", "16 * 10 * 10"), ("S4", "16 *5 * 5")):
        stated = printed.replace(" ", "").replace("*", "x")
        claims.append(claim(f"LeNet on 32x32 {path}, output", printed, stated, _output(text, path)))
    for path, units in (("C5", 120), ("F6", 84), ("output", 10)):
        claims.append(claim(f"LeNet {path}, units", str(units), units, _values("lenet_relu", path)))
    return claims
