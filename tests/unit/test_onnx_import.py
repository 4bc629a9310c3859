"""ONNX files become networks of the spec that compute the same. The files are made here, by onnx itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.porting import network_import, spec_source
from benchmarks.porting.network_import import Imported
from benchmarks.runtime import networks
from benchmarks.runtime.errors import BadInput
from frameworks.arrays import Array
from frameworks.spec import BatchNorm, Conv, Dense, Flatten, MaxPool, Network, Normalize, Residual, Scale, Select

onnx = pytest.importorskip("onnx")
make = onnx.helper.make_node
CHANCE = np.random.default_rng(0)


def drawn(*shape: int) -> Array:
    return CHANCE.normal(size=shape).astype(np.float32)


def saved(
    folder: Path,
    nodes: Sequence[Any],
    arrays: dict[str, Any],
    input: Sequence[Any] = ("N", 3, 8, 8),
    outputs: Sequence[str] = ("y",),
) -> Path:
    """A file with these nodes from `x` to `y`; arrays are float32 unless they are whole numbers."""
    single = onnx.TensorProto.FLOAT
    initializers = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    values = [onnx.helper.make_tensor_value_info(name, single, None) for name in outputs]
    image = onnx.helper.make_tensor_value_info("x", single, list(input))
    graph = onnx.helper.make_graph(list(nodes), "net", [image], values, initializers)
    opset = [onnx.helper.make_opsetid("", 18)]
    path = folder / "net.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def checked(path: Path, **options: Any) -> Imported:
    """The import, after the comparison of logits and of the printed file."""
    result = network_import.imported(str(path), None, {}, print, **options)
    comparison = network_import.compared(result)
    assert comparison.agrees, comparison
    assert comparison.difference <= 1e-7 * max(comparison.scale, 1)
    file = path.with_suffix(".py")
    file.write_text(spec_source.text(result.network), encoding="utf-8")
    assert networks.network(f"{file}:{result.network.name}").sha256 == result.network.sha256
    return result


def kinds(network: Network) -> list[str]:
    return [node.layer.kind for _, node in network.walk()]


HEAD = (
    make("GlobalAveragePool", ["h"], ["g"]),
    make("Flatten", ["g"], ["f"]),
    make("Gemm", ["f", "fc.weight"], ["y"], transB=1),
)


def test_a_network_of_pytorchs_exporter(tmp_path: Path) -> None:
    """Names of a state_dict, a shape that is computed, Gemm with a transposed weight, log-softmax."""
    arrays = {
        "conv1.weight": drawn(6, 3, 3, 3),
        "conv1.bias": drawn(6),
        "fc.weight": drawn(10, 6 * 16),
        "fc.bias": drawn(10),
    }
    arrays |= {"bn.weight": drawn(6), "bn.bias": drawn(6), "bn.mean": drawn(6), "bn.var": abs(drawn(6))}
    nodes = [
        make("Conv", ["x", "conv1.weight", "conv1.bias"], ["a"], name="/conv1/Conv", pads=[1, 1, 1, 1]),
        make(
            "BatchNormalization", ["a", "bn.weight", "bn.bias", "bn.mean", "bn.var"], ["b"], epsilon=1e-3, momentum=0.9
        ),
        make("Relu", ["b"], ["c"]),
        make("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
        make("Shape", ["d"], ["shape"]),
        make("Constant", [], ["zero"], value=onnx.numpy_helper.from_array(np.array([0]))),
        make("Gather", ["shape", "zero"], ["batch"]),
        make("Constant", [], ["rest"], value=onnx.numpy_helper.from_array(np.array([-1]))),
        make("Concat", ["batch", "rest"], ["wanted"], axis=0),
        make("Reshape", ["d", "wanted"], ["e"]),
        make("Gemm", ["e", "fc.weight", "fc.bias"], ["f"], transB=1, name="/fc/Gemm"),
        make("LogSoftmax", ["f"], ["y"], axis=1),
    ]
    result = checked(saved(tmp_path, nodes, arrays))
    assert [node.path for node in result.network.nodes if node.parameters] == ["conv1", "bn", "fc"]
    assert kinds(result.network) == ["Conv", "BatchNorm", "ReLU", "MaxPool", "Flatten", "Dense"]
    norm = result.network.layers[1]
    assert isinstance(norm, BatchNorm) and (norm.eps, norm.momentum) == (1e-3, 0.1)
    assert result.notes == ("the final softmax is cut off: the network gives logits",)
    assert np.array_equal(result.weights["conv1.weight"], arrays["conv1.weight"])


def test_a_network_with_its_channels_last(tmp_path: Path) -> None:
    """Transpositions disappear; the dense layer's weight is that of the other order; a bias is added after it."""
    arrays = {"kernel": drawn(4, 3, 3, 3), "w": drawn(8 * 6 * 4, 10), "b": drawn(10)}
    nodes = [
        make("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        make("Conv", ["t", "kernel"], ["a"], name="first", auto_pad="SAME_UPPER"),
        make("Transpose", ["a"], ["u"], perm=[0, 2, 3, 1]),
        make("Relu", ["u"], ["r"]),
        make("Flatten", ["r"], ["f"]),
        make("MatMul", ["f", "w"], ["m"], name="dense"),
        make("Add", ["m", "b"], ["y"]),
    ]
    result = checked(saved(tmp_path, nodes, arrays, input=["N", 8, 6, 3]))
    assert kinds(result.network) == ["Conv", "ReLU", "Flatten", "Dense"]
    assert result.network.input == (3, 8, 6)
    assert any(note.startswith("no batch normalization") for note in result.notes)


@pytest.mark.parametrize(("auto_pad", "sides"), [("SAME_UPPER", (0, 1)), ("SAME_LOWER", (1, 0))])
def test_automatic_padding(tmp_path: Path, auto_pad: str, sides: tuple[int, int]) -> None:
    arrays = {"k": drawn(4, 3, 3, 3), "fc.weight": drawn(10, 4)}
    nodes = [make("Conv", ["x", "k"], ["h"], strides=[2, 2], auto_pad=auto_pad, name="c"), *HEAD]
    result = checked(saved(tmp_path, nodes, arrays))
    (conv,) = (layer for layer in result.network.layers if isinstance(layer, Conv))
    assert conv.padding == (sides, sides)


def test_branches(tmp_path: Path) -> None:
    """A residual sum, a concatenation, squeeze and excitation, a shuffle, constants for each channel."""
    arrays: dict[str, Any] = {
        "a.weight": drawn(4, 3, 1, 1),
        "b.weight": drawn(4, 4, 3, 3),
        "s.weight": drawn(4, 4, 1, 1),
    }
    arrays |= {"fc.weight": drawn(10, 8), "mean": drawn(1, 3, 1, 1), "std": abs(drawn(1, 3, 1, 1)) + 1}
    arrays |= {
        "five": np.array([0, 2, 4, 8, 8]),
        "four": np.array([0, 8, 8, 8]),
        "two": np.float32(2),
        "axes": np.array([2, 3]),
    }
    nodes = [
        make("Sub", ["x", "mean"], ["n"]),
        make("Div", ["n", "std"], ["o"]),
        make("Mul", ["o", "two"], ["p"]),
        make("Conv", ["p", "a.weight"], ["q"]),
        make("Conv", ["q", "b.weight"], ["r"], pads=[1, 1, 1, 1]),
        make("Add", ["r", "q"], ["s"]),
        make("ReduceMean", ["s", "axes"], ["t"], keepdims=1),
        make("Conv", ["t", "s.weight"], ["u"]),
        make("HardSigmoid", ["u"], ["v"], alpha=1 / 6),
        make("Mul", ["s", "v"], ["w"]),
        make("Concat", ["w", "q"], ["z"], axis=1),
        make("Reshape", ["z", "five"], ["z1"]),
        make("Transpose", ["z1"], ["z2"], perm=[0, 2, 1, 3, 4]),
        make("Reshape", ["z2", "four"], ["h"]),
        *HEAD,
    ]
    result = checked(saved(tmp_path, nodes, arrays))
    found = kinds(result.network)
    assert {"Residual", "Multiply", "Concat", "Select", "HardSigmoid"} <= set(found)
    assert [each for each in result.network.layers if isinstance(each, Residual)] == []
    selections = [node.layer for _, node in result.network.walk() if isinstance(node.layer, Select)]
    assert [each.maps for each in selections] == [(0, 4, 1, 5, 2, 6, 3, 7)]
    assert [type(layer) for layer in result.network.layers[:3]] == [Normalize, Normalize, Scale]


def test_pools(tmp_path: Path) -> None:
    nodes = [
        make("MaxPool", ["x"], ["a"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        make("AveragePool", ["a"], ["b"], kernel_shape=[2, 2], pads=[1, 1, 1, 1]),
        make("LRN", ["b"], ["h"], size=3),
        *HEAD,
    ]
    result = checked(saved(tmp_path, nodes, {"fc.weight": drawn(10, 3)}))
    assert kinds(result.network)[:3] == ["MaxPool", "AvgPool", "LocalResponseNorm"]
    assert isinstance(result.network.layers[0], MaxPool)


def test_a_batch_that_the_file_fixes(tmp_path: Path) -> None:
    nodes = [make("Reshape", ["x", "shape"], ["f"]), make("Gemm", ["f", "fc.weight"], ["y"], transB=1)]
    result = checked(
        saved(tmp_path, nodes, {"shape": np.array([1, 192]), "fc.weight": drawn(10, 192)}, input=[1, 3, 8, 8])
    )
    assert [type(layer) for layer in result.network.layers] == [Flatten, Dense]


REFUSED = {
    "operator": ([make("Sin", ["x"], ["h"], name="wave"), *HEAD], "no layer for ONNX Sin (wave)"),
    "softmax": ([make("Softmax", ["x"], ["h"], name="s"), *HEAD], "no layer for ONNX Softmax (s)"),
    "difference": (
        [make("Relu", ["x"], ["r"]), make("Sub", ["x", "r"], ["h"], name="d"), *HEAD],
        "ONNX Sub (d): a difference",
    ),
    "batch": ([make("Transpose", ["x"], ["h"], perm=[1, 0, 2, 3], name="t"), *HEAD], "it mixes the images of a batch"),
    "image": ([make("Relu", ["x"], ["y"])], "its output is 3x8x8; a classifier gives one row of logits"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path: Path, case: str) -> None:
    nodes, message = REFUSED[case]
    path = saved(
        tmp_path, nodes, {"fc.weight": drawn(10, 3)}, input=[3, 3, 8, 8] if case == "batch" else ["N", 3, 8, 8]
    )
    with pytest.raises(BadInput) as caught:
        network_import.imported(str(path), None, {}, print)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        network_import.imported(str(tmp_path / "no.onnx"), None, {}, print)
    (tmp_path / "text.onnx").write_text("no model", encoding="utf-8")
    with pytest.raises(BadInput, match="not an ONNX file"):
        network_import.imported(str(tmp_path / "text.onnx"), None, {}, print)
    path = saved(tmp_path, [make("Relu", ["x"], ["h"]), *HEAD], {"fc.weight": drawn(10, 3)}, input=["N", 3, "H", "W"])
    with pytest.raises(BadInput, match=r"its input is 3x\?x\?; give --input C,H,W that fits"):
        network_import.imported(str(path), None, {}, print)
    assert network_import.imported(str(path), (3, 5, 7), {}, print).network.input == (3, 5, 7)
