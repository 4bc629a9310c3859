"""Train LeNet in two frameworks from the same weights, compare the results, and predict with the weights in both.

pip install -e .
python examples/minimal.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.api import load_dataset, load_network, predict, run, verification_text, verify


def main(
    first: str = "torch",
    second: str = "mxnet",
    dataset: str = "fashion-mnist",
    epochs: int = 2,
    verified_steps: int = 10,
    out: str = "results",
) -> None:
    # One spec of the network: layers, shapes and counts. No framework is needed to read it.
    lenet = load_network("lenet")
    print(f"{lenet.name}: input {lenet.input}, {lenet.params:,} parameters, {lenet.macs:,} multiply-adds per image")

    # Do both frameworks compute the function that the spec defines?
    verification = verify("lenet", [first, second], steps=verified_steps)
    print("verified: the same function" if verification.same else verification_text(verification))

    # Train in both, interleaved epoch by epoch, on the same images in the same order.
    table = run("lenet", [first, second], dataset=dataset, epochs=epochs, save=True, out=out, quiet=False)
    print(table[["framework", "version", "train_loss", "test_accuracy", "examples_per_second", "status"]].to_string())

    # Predict in both with the weights that the first framework has trained.
    weights = Path(table.attrs["folder"]) / "weights" / f"lenet.{first}.0.npz"
    images = np.load(load_dataset(dataset).test.images, mmap_mode="r")[:100]
    logits = [predict(weights, images, framework) for framework in (first, second)]
    agreement = (logits[0].argmax(1) == logits[1].argmax(1)).mean()
    print(f"{agreement:.0%} of the predicted labels agree; the logits differ by {abs(logits[0] - logits[1]).max():.1g}")


if __name__ == "__main__":
    main()
