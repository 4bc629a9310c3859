"""Programs from specs, without a framework: groups and blocks, names, the same text each time, refusals."""

from __future__ import annotations

import ast
import itertools
import keyword
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.cli.exit_codes import ExitCode
from benchmarks.cli.group import onespec
from benchmarks.datasets.augmentation import Flip
from benchmarks.porting.source import training
from benchmarks.porting.source.blocks import Blocks, snake, title
from benchmarks.porting.source.code import Call, call, literal, parsed, statement
from benchmarks.porting.source.export import TARGETS, WRITERS, about, flat_orders, ported
from benchmarks.porting.source.forms import RESIZE_WEIGHTS
from benchmarks.porting.source.keras import RESERVED, KerasWriter
from benchmarks.porting.source.names import PYTHON, bound
from benchmarks.porting.source.onnx_model import model
from benchmarks.porting.source.program import Fork, Group, Lacking, identifier, program, select_form
from benchmarks.porting.source.pytorch import PyTorchWriter
from benchmarks.porting.source.side_by_side import page
from benchmarks.porting.weight_import import PIXELS
from benchmarks.runtime.errors import BadInput
from benchmarks.training import checkpoints, lr_schedules
from benchmarks.training.recipes import DEFAULT, RECIPES, Recipe
from frameworks import arrays
from frameworks.arrays import resize_matrix
from frameworks.networks import NETWORKS
from frameworks.spec import (
    GELU,
    Affine,
    Auxiliary,
    AvgPool,
    Concat,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LayerNorm,
    LeakyReLU,
    Network,
    Normalize,
    Pad,
    ReLU,
    Residual,
    Resize,
    Scale,
    Select,
    StochasticDepth,
)
from frameworks.spec.value_checks import METHODS, POSITIONS
from frameworks.training import SGD, Adadelta, Adam, RMSprop, Training

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "ported"
FEW = ("lenet", "lenet5", "resnet18", "resnet50", "googlenet", "mobilenet_v2", "densenet121", "shufflenet_v2_x1_0")
LINES = 45  # of an example


def blocks_of(name: str) -> dict[str, tuple[str, ...]]:
    """The blocks of a network in PyTorch's program, with their arguments."""
    writer = PyTorchWriter()
    root = program(NETWORKS[name](), writer)
    found = Blocks(root, writer.needs_class, title(name)).blocks
    return {block.name: tuple(argument.name for argument in block.arguments) for block in found}


def check_style(folder: Path) -> None:
    """Ruff has nothing to say of the files."""
    pytest.importorskip("ruff")
    ruff, options = [sys.executable, "-m", "ruff"], ["--isolated", "--line-length", "120", str(folder)]
    for command in (["format", "--diff", *options], ["check", "--select", "E,F,W,I", *options]):
        done = subprocess.run([*ruff, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


# --- groups and blocks ------------------------------------------------------------------------------------------------


def test_names_make_groups() -> None:
    root = program(NETWORKS["resnet18"](), PyTorchWriter())
    assert [item.name for item in root.items if isinstance(item, Group)] == ["layer1", "layer2", "layer3", "layer4"]
    layer1 = next(item for item in root.items if isinstance(item, Group))
    assert [item.name for item in layer1.items if isinstance(item, Group)] == ["0", "1"]
    first = layer1.items[0]
    assert isinstance(first, Group) and isinstance(first.items[0], Fork)
    assert len(first.items) == 2, "the activation behind a sum belongs to its block"


def test_one_block_serves_sums_with_and_without_a_projection() -> None:
    assert blocks_of("resnet18")["BasicBlock"] == ("in_channels", "out_channels", "stride")
    assert blocks_of("resnet50")["Bottleneck"] == ("in_channels", "hidden_channels", "stride")


def test_a_value_is_an_expression_of_an_argument_before_it() -> None:
    source = ported(NETWORKS["resnet50"](), "torch").source
    assert "nn.Conv2d(hidden_channels, 4 * hidden_channels, 1, bias=False)" in source
    assert "if in_channels != 4 * hidden_channels:" in source


def test_blocks_of_googlenet_have_the_columns_of_its_table() -> None:
    columns = ("in_channels", "conv_1x1", "conv_3x3_reduce", "conv_3x3", "conv_5x5_reduce", "conv_5x5", "pool_proj")
    assert blocks_of("googlenet") == {"Inception": columns}


def test_blocks_that_grow_evenly_are_a_loop() -> None:
    assert "*[DenseLayer(256 + 32 * i) for i in range(24)]" in ported(NETWORKS["densenet121"](), "torch").source


def test_a_network_without_repetitions_has_no_block() -> None:
    assert blocks_of("lenet") == {}
    assert "keras.Sequential(" in ported(NETWORKS["lenet"](), "keras").source


def test_a_skip_that_only_some_blocks_have_is_a_condition() -> None:
    def block(number: int, maps: int, out: int) -> list[object]:
        body = [Conv("a", maps, 1), ReLU(), Conv("b", out, 3, padding=1)]
        if maps == out:
            return [Residual(f"block{number}", body)]
        return [Conv(f"block{number}.a", maps, 1), ReLU(), Conv(f"block{number}.b", out, 3, padding=1)]

    layers = [layer for number, way in enumerate([(4, 4), (4, 8), (8, 8)]) for layer in block(number, *way)]
    network = Network("some", (4, 8, 8), [*layers, Flatten(), Dense("fc", 3)])  # type: ignore[list-item]
    source = ported(network, "torch").source
    assert source.count("class ") == 2
    assert "self.skip = in_channels == out_channels" in source
    assert "return x + y if self.skip else y" in source


def test_a_nameless_mean_is_in_no_group() -> None:
    """Also not in the last block of a stage, which is then another block than the first."""

    def block(number: int) -> list[Layer]:
        body = [
            Conv(f"layer1.{number}.conv1", 8, 3, padding=1),
            ReLU(),
            Conv(f"layer1.{number}.conv2", 8, 3, padding=1),
        ]
        return [Residual("", body), ReLU()]

    ending: list[Layer] = [AvgPool("", 4, 4), Flatten(), Dropout(), Dense("linear", 10)]
    network = Network("net", (8, 16, 16), [*block(0), *block(1), *ending])
    source = ported(network, "torch").source
    assert "self.layer1 = nn.Sequential(BasicBlock(), BasicBlock())" in source
    assert "torch.flatten(self.pool(self.layer1(x)), 1)" in source
    with_mean = replace(network, layers=(*block(0), *block(1), GlobalAvgPool(), *ending[1:]))
    assert "self.layer1(x).mean((2, 3))" in ported(with_mean, "torch").source


# --- names and text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [("1x1", "Conv", "conv_1x1"), ("0", "BatchNorm", "norm_0"), ("train", "Conv", "train_"), ("a-b", "Conv", "a_b")],
)
def test_identifiers(name: str, kind: str, expected: str) -> None:
    assert identifier(name, kind) == expected and expected.isidentifier()


@pytest.mark.parametrize(
    ("name", "class_name", "function"),
    [("lenet_bn", "LeNetBN", "le_net_bn"), ("resnet18", "ResNet18", "res_net18"), ("my_net", "MyNet", "my_net")],
)
def test_names_of_classes(name: str, class_name: str, function: str) -> None:
    assert (title(name), snake(title(name))) == (class_name, function)
    assert snake("ConvNormReLU6") == "conv_norm_relu6"


@pytest.mark.parametrize("text", ["f(a, [b, c], d=g(1, 2))", "x + y", "[a, b]", "a(b)[c]", "f(x) + g(y)"])
def test_a_parsed_expression_prints_the_same(text: str) -> None:
    assert str(parsed(text)) == text
    assert isinstance(parsed(text), Call) is (text in ("f(a, [b, c], d=g(1, 2))", "[a, b]"))


def test_long_calls_are_divided() -> None:
    made = call("f", *["argument_of_some_length"] * 4, keyword=1e-5)
    assert statement("x = ", made, 4)[1] == "        " + ", ".join(["argument_of_some_length"] * 4) + ", keyword=1e-5"
    assert [literal(value) for value in (1e-5, 0.001, (1, 2), (3,), True)] == [
        "1e-5",
        "0.001",
        "(1, 2)",
        "(3,)",
        "True",
    ]


def test_selections() -> None:
    assert select_form(Select("a", (2, 3)), 6) == ("slice", {"begin": 2, "end": 4})
    assert select_form(Select("a", (0, 3, 1, 4, 2, 5)), 6) == ("shuffle", {"groups": 2})
    assert select_form(Select("a", (0, 1, None, None)), 2) == ("zeros", {"count": 2})
    assert select_form(Select("a", (5, 0)), 6) == ("list", {"maps": (5, 0)})
    assert select_form(Select("a", (0, None, 1)), 2) == ("gap", {"begin": 1, "count": 1})
    assert select_form(Select("a", (0, None, None)), 2) == ("pad", {"begin": 0, "end": 1, "before": 0, "after": 2})
    assert select_form(Select("a", (None, 0, 1, None)), 2) == (
        "pad",
        {"begin": 0, "end": None, "before": 1, "after": 1},
    )
    assert select_form(Select("a", (None, 1, None, 0)), 2) == ("places", {"maps": (2, 1, 2, 0)})


def test_zeros_at_both_sides_are_the_padding_of_a_framework() -> None:
    network = Network("net", (2, 4, 4), [Select("a", (None, 0, 1, None, None)), Flatten(), Dense("fc", 2)])
    texts = {
        "torch": "F.pad(x, (0, 0, 0, 0, 1, 2))",
        "gluon": "pad_channels(F, x, 1, 2)",  # MXNet pads no channels
        "keras": "ops.pad(inputs, ((0, 0), (0, 0), (0, 0), (1, 2)))",
        "flax": "jnp.pad(x, ((0, 0), (0, 0), (0, 0), (1, 2)))",
    }
    for target, text in texts.items():
        assert text in ported(network, target).source


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("target", WRITERS)
def test_the_text_is_the_same_each_time_and_formatted(target: str, name: str, tmp_path: Path) -> None:
    made = ported(NETWORKS[name](), target)
    assert made.source == ported(NETWORKS[name](), target).source
    tree = ast.parse(made.source)
    assert made.entry in {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not imported & {"onespec", "benchmarks", "frameworks"}
    (tmp_path / "net.py").write_text(made.source, encoding="utf-8")
    check_style(tmp_path)


@pytest.mark.parametrize("target", WRITERS)
def test_the_examples_are_current_and_short(target: str) -> None:
    path = EXAMPLES / f"lenet_{target}.py"
    text = path.read_text(encoding="utf-8")
    assert text == ported(NETWORKS["lenet"](), target).source, f"onespec port lenet --to {target} -o {EXAMPLES}"
    assert text.count("\n") <= LINES


@pytest.mark.parametrize("target", WRITERS)
def test_names_and_sources_of_a_user_s_network_give_valid_python(target: str) -> None:
    layers = [Conv("1x1", 2, 1), ReLU("class"), Flatten("train"), Dense("self.x", 2)]
    source = "mine ''' \"\"\" \\u\n" + "long " * 40
    for name in ("3a.b-c", "class", "np", "layers"):
        made = ported(Network(name, (1, 4, 4), layers, source=source), target, origin='"""')
        tree = ast.parse(made.source)
        assert made.entry.isidentifier() and not keyword.iskeyword(made.entry)
        assert made.entry in {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}
        assert max(map(len, made.source.splitlines())) <= 120


def with_names(name: str, words: Sequence[str]) -> Network:
    """A network that has the words as names of blocks, layers, joins and heads, and layers that need helpers."""

    def blocks(word: str, number: int) -> list[Layer]:
        wide = [[Conv(word, 2 + number, 1), GELU()], [Conv("another", 2, 1), LeakyReLU(slope=0.3)]]
        body: list[Layer] = [Concat(f"{word}.0", wide), Conv(f"{word}.{word}", 3, 1), Affine("drop")]
        return [Residual(f"{word}{number}", [*body, StochasticDepth(rate=0.1)]), Resize("", 6 + number, 5)]

    layers: list[Layer] = [Normalize("scaled"), Select("between", (None, 0, 1))]
    layers += [layer for word in words for number in range(2) for layer in blocks(f"{word}_", number)]
    layers += [layer for word in words for number in range(2) for layer in blocks(word, number + 2)]
    layers += [Auxiliary(word, [GlobalAvgPool(), Flatten(), Dense(word, 2)]) for word in words]
    return Network(name, (2, 5, 4), [*layers, GELU(), GlobalAvgPool(), Flatten(), Dense("classes", 2)])


def reserved(target: str) -> frozenset[str]:
    writer = WRITERS[target]()
    return RESERVED if isinstance(writer, KerasWriter) else writer.reserved


def names_bound_by(function: ast.FunctionDef) -> set[str]:
    """The arguments and variables of a function."""
    inside = [node for node in ast.walk(function) if node is not function]
    variables = {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return variables | {node.arg for node in inside if isinstance(node, ast.arg)}


def assert_names_are_apart(source: str, own: set[str]) -> None:
    """Nothing is bound twice outside of functions, and no function of the network hides what is bound there.

    own: the classes and functions of the network.
    """
    tree = ast.parse(source)
    outer: list[str] = []
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            outer += [each.asname or each.name for each in node.names]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            outer.append(node.name)
    assert sorted(outer) == sorted(set(outer))
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in own:
            functions = [each for each in ast.walk(node) if isinstance(each, ast.FunctionDef)]
            assert not set(outer) & set().union(*map(names_bound_by, functions)) - {"F"}  # F: an argument in Gluon
            for function in functions:
                stored = [
                    each.attr
                    for line in function.body
                    for each in (line.targets if isinstance(line, ast.Assign) else [])
                    if isinstance(each, ast.Attribute)
                ]
                assert sorted(stored) == sorted(set(stored))


@pytest.mark.parametrize("target", WRITERS)
def test_no_name_of_a_network_hides_another(target: str) -> None:
    """Each name that a source of the framework can define or import, as the network's and as its parts'."""
    taken = reserved(target)
    assert {"load_weights", "train", "np", "len", "class"} < taken
    words = [*sorted(taken - PYTHON), "len", "list", "class"]
    for name in words:
        made = ported(Network(name, (1, 2, 2), [Flatten(), Dense("fc", 2)]), target, recipe=DEFAULT)
        assert made.entry not in taken
        assert_names_are_apart(made.source, {made.entry})
    for some in (words[first : first + 4] for first in range(0, len(words), 4)):
        made = ported(with_names(some[0], some), target)
        assert_names_are_apart(made.source, set(bound(made.source) - taken))


@pytest.mark.parametrize("target", WRITERS)
def test_all_names_that_a_training_binds_are_reserved(target: str) -> None:
    for name in ("lenet", "lenet_bn"):
        for recipe in (RECIPE, *RECIPES.values(), replace(RECIPE, training=Training(Adam(0.9, 0.99, 1e-4, 0.1, True)))):
            if not recipe.augmentations and not recipe.test_in_training_mode:
                made = ported(NETWORKS[name](), target, recipe=recipe)
                assert bound(made.source) - {made.entry} <= reserved(target)


# --- training ---------------------------------------------------------------------------------------------------------

SCHEDULES: list[lr_schedules.Schedule] = [
    *(lr_schedules.Step(2), lr_schedules.MultiStep((1, 3), 0.5), lr_schedules.Cosine(), lr_schedules.Cosine(0.1)),
    *(lr_schedules.Polynomial(), lr_schedules.Polynomial(2.0, 0.1), lr_schedules.Exponential(0.9)),
    *(lr_schedules.Exponential(0.9, 1.5), lr_schedules.Exponential(0.9, 2.4, True), lr_schedules.OneCycle(0.3, 0.1)),
    *(lr_schedules.WarmUp(2), lr_schedules.WarmUp(2, lr_schedules.Step(3), 0.1)),
    *(lr_schedules.WarmUpBefore(2), lr_schedules.WarmUpBefore(1, lr_schedules.MultiStep((2,)), 0.2)),
]
ALL_PARTS = Training(SGD(0.9, True, 5e-4), label_smoothing=0.1)
RECIPE = Recipe("mnist", 5, 64, ALL_PARTS, 0.05, lr_schedule=lr_schedules.WarmUp(1, lr_schedules.Cosine(0.1), 0.1))


def training_text(target: str, recipe: Recipe, net: str = "lenet_bn") -> str:
    source = ported(NETWORKS[net](), target, recipe=recipe).source
    loader = source[source.index("def load_weights") :]
    return loader[loader.index("\n\n\n") + 3 :]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_learning_rates_are_those_of_the_schedule(schedule: lr_schedules.Schedule) -> None:
    text = training.learning_rates(replace(RECIPE, lr=0.2, lr_schedule=schedule))
    names: dict[str, Any] = {"np": np}
    exec(text, names)
    np.testing.assert_allclose(names["learning_rates"](5, 7), 0.2 * schedule.factors(5, 7), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "recipe", [RECIPE, replace(RECIPE, training=Training(Adam(weight_decay=0.1)))], ids=["sgd", "adam"]
)
@pytest.mark.parametrize("target", WRITERS)
def test_training_is_short_and_formatted(target: str, recipe: Recipe, tmp_path: Path) -> None:
    assert training_text(target, recipe).count("\n") <= training.LONGEST
    for name in ("resnet18", "googlenet_bn_aux"):
        source = ported(NETWORKS[name](), target, recipe=recipe).source
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
    check_style(tmp_path)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"training": Training(RMSprop())}, "RMSprop"),
        ({"training": Training(Adadelta())}, "Adadelta"),
        ({"training": Training(SGD(decoupled=True))}, "SGD with decoupled weight decay"),
        ({"training": Training(SGD(0.9, lr_in_velocity=True))}, "lr_in_velocity"),
        ({"training": Training(Adam(epsilon_hat=True))}, "epsilon_hat"),
        ({"training": Training(clip_norm=1.0)}, "clip_norm"),
        ({"training": Training(average=0.9)}, "average"),
        ({"training": Training(lr_factors=(("*", 0.1),))}, "lr_factors"),
        ({"augmentations": (Flip(),)}, "augmentations"),
        ({"permutation": 0}, "permutation"),
        ({"side": 64}, "side"),
        ({"test_in_training_mode": True}, "test_in_training_mode"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_loop_lacks_is_refused_by_name(changes: dict[str, Any], part: str) -> None:
    message = f"--with-training: the recipe of lenet has {part}, for which the loop has no code"
    with pytest.raises(BadInput, match=f"^{re.escape(message)}$"):
        ported(NETWORKS["lenet"](), "torch", recipe=replace(RECIPE, **changes))


def test_every_default_recipe_has_a_loop() -> None:
    for name in (*RECIPES, "resnet18"):
        training.refuse(name, RECIPES.get(name, DEFAULT))


def test_training_begins_at_the_initial_weights_of_the_recipe(tmp_path: Path) -> None:
    words = ["port", "-q", "lenet", "--to", "torch", "--with-training", "-o", str(tmp_path)]
    result = CliRunner().invoke(onespec, words, prog_name="onespec")
    assert result.exit_code == ExitCode.OK, result.output
    network = NETWORKS["lenet"]()
    with np.load(tmp_path / "lenet_torch.npz") as file:
        for name, array in arrays.initial(network, 0, RECIPES["lenet"].initial).items():
            np.testing.assert_array_equal(file[name], array.astype(np.float32))
    source = (tmp_path / "lenet_torch.py").read_text(encoding="utf-8")
    assert "x / 255" in source and "Pixels go in from 0 to 255." in source
    assert "torch.optim.SGD(model.parameters(), lr=0.9)" in source


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lenet_bn", "resnet18", "densenet121", "mobilenet_v2", "convnext_tiny"])
@pytest.mark.parametrize("target", WRITERS)
def test_every_array_is_written_once(target: str, name: str) -> None:
    network = NETWORKS[name]()
    weights = {p.name: np.broadcast_to(np.float32(0), p.shape) for p in network.parameters}
    own = ported(network, target, weights).weights
    sizes = sum(array.size for key, array in own.items() if not key.endswith("num_batches_tracked"))
    assert sizes == network.params + network.buffers


def test_torchvision_s_names_are_those_of_the_state_dict() -> None:
    network = NETWORKS["resnet18"]()
    weights = {p.name: np.broadcast_to(np.float32(0), p.shape) for p in network.parameters}
    assert "layer2.0.downsample.1.running_mean" in ported(network, "torch", weights).weights


def test_rows_behind_a_flatten_have_the_framework_s_order() -> None:
    network = Network("flat", (2, 1, 3), [Flatten("flat"), Dense("fc", 1)])
    weights = {"fc.weight": np.arange(6.0)[None], "fc.bias": np.zeros(1)}
    assert ported(network, "torch", weights).weights["fc.weight"].ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert ported(network, "flax", weights).weights["fc.kernel"].ravel().tolist() == [0, 3, 1, 4, 2, 5]
    assert set(flat_orders(network, "flax")) == {"fc.weight"}


# --- side by side -----------------------------------------------------------------------------------------------------


def side_by_side(network: Network, targets: Sequence[str] = tuple(WRITERS)) -> tuple[ElementTree.Element, str]:
    """The page as a tree and as text; it must be well-formed."""
    text = page(network, targets, {target: ported(network, target).source for target in targets})
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>")), text


def lines(cell: ElementTree.Element) -> list[str]:
    """The lines of source in a cell, without comments."""
    return ["".join(code.itertext()) for code in cell.iter("code") if code.get("class") is None]


def test_lines_of_a_page_are_those_of_the_sources() -> None:
    """LeNet has no blocks, so the sources have every layer with its values."""
    network = NETWORKS["lenet"]()
    tree, _ = side_by_side(network)
    body = [row for row in tree.iter("tr") if row.find("td") is not None]
    assert len(body) == len(network.layers)
    shapes = ["".join(small.itertext()) for small in tree.iter("small")]
    assert shapes[0] == "6\N{MULTIPLICATION SIGN}28\N{MULTIPLICATION SIGN}28" and shapes[-1] == "10"
    for number, target in enumerate(WRITERS):
        source = ported(network, target).source
        made = [
            line.removesuffix("(x)").removeprefix("x = ") for row in body for line in lines(row.findall("td")[number])
        ]
        assert [line for line in made if "C1" in line or "output" in line], made
        for line in made:
            if "self." in line or "layers." in line:
                assert line in source, line


@pytest.mark.parametrize("name", ["resnet18", "googlenet_bn_aux", "mobilenet_v3_small", "cifar_dpn26"])
def test_a_page_has_a_cell_for_each_layer_and_framework(name: str) -> None:
    network = NETWORKS[name]()
    tree, _ = side_by_side(network)
    body = [row for row in tree.iter("tr") if row.find("td") is not None]
    assert len(body) == len(list(network.walk()))
    for row in body:
        assert [cell.get("data-name") for cell in row.findall("td")] == ["PyTorch", "MXNet Gluon", "Keras", "Flax"]
    paths = {"".join(row.find("th").itertext()).split()[0] for row in body}  # type: ignore[union-attr]
    assert {node.path for _, node in network.walk() if node.parameters} <= paths
    for number in range(len(WRITERS)):
        assert sum(bool(lines(row.findall("td")[number])) for row in body) > len(body) / 2


def test_a_page_loads_nothing_and_escapes_names() -> None:
    hostile = "<script>alert('1')</script> & \"so\" \x1b[31m \x00"
    network = Network(hostile, (1, 4, 4), [Conv("<b>", 2, 1), ReLU(), Flatten("a&b"), Dense("fc", 2)], source=hostile)
    tree, text = side_by_side(network)
    assert not [each for each in tree.iter() if each.tag in ("script", "link", "img", "iframe", "b")]
    assert "alert('1')" not in text and "http" not in text and "url(" not in text
    assert any("<b>" in "".join(row.itertext()) for row in tree.iter("th"))


def test_a_layer_that_one_framework_lacks_is_said_in_its_cell() -> None:
    layers = [LayerNorm("norm", gamma=False), Flatten(), Dense("fc", 3)]
    tree = ElementTree.fromstring(page(Network("net", (1, 8, 8), layers), ["torch", "flax"], {}))
    text = "".join(tree.itertext())
    assert "torch: no source for norm (LayerNorm): it has beta and no gamma" in text
    assert "self.norm = nnx.LayerNorm(1, epsilon=1e-5, use_scale=False, rngs=rngs)" in text


def test_the_command_writes_a_page(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        onespec, ["port", "-q", "lenet", "--side-by-side", "-o", str(tmp_path)], prog_name="onespec"
    )
    assert result.exit_code == ExitCode.OK, result.output
    assert result.stdout.split() == [str(tmp_path / "lenet_side_by_side.html")]
    words = ["port", "-q", "lenet", "--to", "onnx,flax", "--side-by-side", "-o", str(tmp_path)]
    assert CliRunner().invoke(onespec, words, prog_name="onespec").exit_code == ExitCode.OK
    text = (tmp_path / "lenet_side_by_side.html").read_text(encoding="utf-8")
    assert "lenet in Flax</title>" in text


# --- resizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("method", METHODS)
def test_a_source_has_the_spec_s_matrices(method: str, positions: str) -> None:
    """Also where a position is in the middle of two pixels, and for a single pixel."""
    names: dict[str, Any] = {"np": np}
    exec(RESIZE_WEIGHTS, names)
    for size, to in itertools.product(range(1, 45), repeat=2):
        expected = resize_matrix(Resize("", to, to, method, positions), size, to)
        found = names["resize_weights"](size, to, method, positions)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13, err_msg=f"{size} to {to}")
        if method == "nearest":
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("size", "layer", "text"),
    [
        (9, Resize("a", 7, 7), 'F.interpolate(x, (7, 7), mode="bilinear", align_corners=False)'),
        (9, Resize("a", 7, 7, "nearest"), 'F.interpolate(x, (7, 7), mode="nearest-exact")'),
        (26, Resize("a", 52, 52, "nearest", "asymmetric"), 'F.interpolate(x, (52, 52), mode="nearest")'),
        # 11 / 22 of 26 pixels are 13, in float32 one less
        (26, Resize("a", 22, 22, "nearest", "asymmetric"), 'resize(x, (22, 22), "nearest", "asymmetric")'),
        (9, Resize("a", 7, 7, positions="asymmetric"), 'resize(x, (7, 7), "linear", "asymmetric")'),
    ],
)
def test_pytorch_s_own_interpolation_is_used_where_it_is_the_spec_s(size: int, layer: Resize, text: str) -> None:
    source = ported(Network("net", (1, size, size), [layer, Flatten(), Dense("fc", 2)]), "torch").source
    assert text in source
    assert ("def resize" in source) == text.startswith("resize")


def test_a_repetition_of_pixels_is_a_framework_s_own_layer() -> None:
    network = Network("net", (1, 4, 4), [Resize("a", 8, 8, "nearest"), Flatten(), Dense("fc", 2)])
    texts = {
        "torch": 'F.interpolate(x, (8, 8), mode="nearest-exact")',
        "gluon": 'F.UpSampling(x, scale=2, sample_type="nearest")',
        "keras": 'layers.UpSampling2D(2, name="a")',
        "flax": 'jax.image.resize(x, (x.shape[0], 8, 8, 1), "nearest", antialias=False)',
    }
    for target, text in texts.items():
        assert text in ported(network, target).source


BYTES, NOTHING = "Pixels go in from 0 to 255.", "No layer scales the pixels."


@pytest.mark.parametrize(
    ("front", "line"),
    [
        *((pixels, NOTHING if name == "raw" else BYTES) for name, pixels in PIXELS.items()),
        *((recipe.pixels, BYTES if recipe.pixels else NOTHING) for recipe in (*RECIPES.values(), DEFAULT)),
        *(((Scale(factor=1 / size),), BYTES) for size in (127.5, 128, 255, 256)),
        *(((Scale(factor=factor),), "") for factor in (2.0, 1.0, 1 / 16, 1 / 65535, 0.0, -1 / 255)),
        ((Normalize(mean=(33.3,), std=(78.6,)),), BYTES),
        ((Pad("pad", 1), Normalize(mean=(128.0,))), BYTES),
        *(((Normalize(mean=(mean,), std=(std,)),), "") for mean, std in [(0.13, 0.31), (0.5, 0.5), (0.0, 1.0)]),
        ((Normalize(mean=(103.9, 116.8, 0.5)),), ""),
        ((Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)), Scale()), ""),
        ((ReLU(), Conv("conv", 3, 1), Scale()), NOTHING),
    ],
)
def test_a_docstring_has_the_range_of_the_pixels_where_the_constants_show_it(
    front: tuple[Layer, ...], line: str
) -> None:
    network = Network("net", (3, 4, 4), [*front, Flatten(), Dense("fc", 2)])
    for target in TARGETS:
        lines = about(network, target).lines
        assert [each for each in lines if each in (BYTES, NOTHING)] == [line] * bool(line)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_layer_that_a_writer_lacks_is_named() -> None:
    nested = Network(
        "a", (1, 4, 4), [Residual("r", [Auxiliary("h", [Flatten(), Dense("d", 2)])]), Flatten(), Dense("o", 2)]
    )
    for target in WRITERS:
        with pytest.raises(Lacking, match=rf"^{target}: no source for r\.h \(Auxiliary\)$"):
            ported(nested, target)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("torch", "aux1 = self.aux1(x) if self.training else None"),
        ("gluon", "aux1 = self.aux1(x) if autograd.is_training() else None"),
        ("keras", "return keras.Model(inputs, [x, aux1, aux2]"),
        ("flax", "aux1 = None if self.deterministic else self.aux1(x)"),
    ],
)
def test_auxiliary_classifiers_are_for_training(target: str, text: str) -> None:
    assert text in ported(NETWORKS["googlenet_bn_aux"](), target).source


SHIFTED = """
from frameworks.spec import Dense, Flatten, LayerNorm, Network


def net():
    return Network("net", (1, 8, 8), [LayerNorm("norm", gamma=False), Flatten(), Dense("fc", 3)])
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "lenet --to pytorch -o out",
            "--to pytorch: no 'pytorch'; there are torch, gluon, keras, flax, onnx, spec, and all",
        ),
        ("lenot --to torch -o out", "--net lenot: no such network. Did you mean lenet? `onespec networks` lists all"),
        (
            "shifted.py:net --to keras,torch -o out",
            "torch: no source for norm (LayerNorm): it has beta and no gamma",
        ),
        ("lenet --to torch --weights cnn.npz -o out", "--weights cnn.npz: weights of cnn, not of lenet"),
        ("lenet --to torch --weights no.npz -o out", "no.npz: no such file"),
        (
            "lenet -o out",
            "--to NAME,... or --side-by-side is missing; to compare lenet with another network, name that after it",
        ),
        (
            "lenet --to spec,onnx --with-training -o out",
            "--with-training: --to names none of torch, gluon, keras, flax, which have a training loop",
        ),
    ],
)
def test_wrong_input_is_one_line(arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shifted.py").write_text(SHIFTED, encoding="utf-8")
    cnn = NETWORKS["cnn"]()
    checkpoints.save(tmp_path / "cnn.npz", cnn, arrays.initial(cnn, 0), {})
    result = CliRunner().invoke(onespec, ["port", "-q", *arguments.split()], prog_name="onespec")
    assert (result.exit_code, result.stderr) == (ExitCode.BAD_INPUT, f"{message}\n")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_source_and_weights(tmp_path: Path) -> None:
    lenet = NETWORKS["lenet"]()
    checkpoints.save(tmp_path / "lenet.npz", lenet, arrays.initial(lenet, 0), {})
    words = [
        "port",
        "-q",
        "lenet",
        "--to",
        "torch,keras",
        "--weights",
        str(tmp_path / "lenet.npz"),
        "-o",
        str(tmp_path),
    ]
    result = CliRunner().invoke(onespec, words, prog_name="onespec")
    assert result.exit_code == ExitCode.OK, result.output
    names = ["lenet_torch.py", "lenet_torch.npz", "lenet_keras.py", "lenet_keras.npz"]
    assert result.stdout.split() == [str(tmp_path / name) for name in names]
    with np.load(tmp_path / "lenet_keras.npz") as file:
        assert file["C1/kernel"].shape == (5, 5, 1, 6)


def test_an_onnx_model_has_the_spec_s_names() -> None:
    pytest.importorskip("onnx")
    from benchmarks.porting.source.export import about

    network = NETWORKS["lenet_bn"]()
    proto = model(network, arrays.initial(network, 0), about(network, "onnx"))
    assert {array.name for array in proto.graph.initializer} == {parameter.name for parameter in network.parameters}
    assert [node.op_type for node in proto.graph.node].count("BatchNormalization") == 4
