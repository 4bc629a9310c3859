"""docs/onnx-nodes.md: which of ONNX' tests are layers of the spec, and why the others are not.

python -m tests.third_parties.onnx_table > docs/onnx-nodes.md
"""

from __future__ import annotations

from collections import Counter, defaultdict

import onnx

from tests.third_parties.onnx_cases import GROUPS, node_tests
from tests.third_parties.onnx_nodes import EXPANDED, SEVERAL, translated

HEAD = """\
# ONNX' tests of operators

ONNX publishes tests of its operators: models of one operator, inputs and expected outputs. They were not made by this
project, so they are independent evidence for the spec. `tests/third_parties/onnx_nodes.py` translates a test into
layers from the definition of the operator. `tests/unit/test_onnx_nodes.py` compares the expected outputs with the NumPy
reference, `tests/contract/test_onnx_nodes.py` with every adapter in float32 and float64.

The largest difference is at most 1e-6 of the largest expected value, because ONNX stores outputs in float32, which
rounds each by up to 6e-8, and sums of float32 accumulate several such roundings. One test of a mean gives inputs and
outputs with four digits after the decimal point; there the difference is at most 1e-4.

Where an operator has several outputs, only the first is compared: not the positions of the largest values, masks, and
new running statistics. `Split` is compared in all outputs. Axes that an operator does not treat differently are images
or pixels of the layer's input. A convolution or pool of one dimension has a width of 1.

The adapter of Keras fails in `MaxPool2d_stride_padding_dilation`: it builds a dilated maximum from one operation for
each place of the window, and Keras traces no graph of 4,800 such operations. All other mapped tests pass in all
adapters.

This page is generated: `python -m tests.third_parties.onnx_table > docs/onnx-nodes.md`.
"""

TITLES = {
    "node": "operators (`node`)",
    "pytorch-converted": "modules exported by PyTorch (`pytorch-converted`)",
    "pytorch-operator": "operators exported by PyTorch (`pytorch-operator`)",
}


def page() -> str:
    """The whole page for the installed version of ONNX."""
    tests, (mapped, reasons) = node_tests(), translated()
    lines = [HEAD, f"## Result for ONNX {onnx.__version__}", "", "| tests | exist | mapped |", "| --- | ---: | ---: |"]
    for group in GROUPS:
        names = [name for name, test in tests.items() if test.group == group]
        lines.append(f"| {TITLES[group]} | {len(names):,} | {sum(name in mapped for name in names):,} |")
    lines.append(f"| all | {len(tests):,} | {len(mapped):,} |")

    lines += ["", "## Mapped tests", "", "| operator | tests | mapped | layers |", "| --- | ---: | ---: | --- |"]
    exist = Counter(test.operator for test in tests.values() if not test.expanded)
    by_operator: dict[str, list[str]] = defaultdict(list)
    for name in mapped:
        by_operator[tests[name].operator].append(name)
    for operator, names in sorted(by_operator.items()):
        kinds = sorted({node.layer.kind for name in names for _, node in mapped[name].network.walk()})
        lines.append(f"| {operator} | {exist[operator]} | {len(names)} | {', '.join(kinds)} |")

    lines += ["", "## Tests that are not mapped", "", "| reason | tests | operators |", "| --- | ---: | --- |"]
    by_reason: dict[str, Counter[str]] = defaultdict(Counter)
    for name, reason in reasons.items():
        by_reason[reason][tests[name].operator] += 1
    for reason, operators in sorted(by_reason.items(), key=lambda item: (-item[1].total(), item[0])):
        listed = ", ".join(f"{operator} {count}" for operator, count in sorted(operators.items()))
        lines.append(f"| {reason} | {operators.total()} | {listed if reason not in (EXPANDED, SEVERAL) else ''} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    print(page(), end="")
