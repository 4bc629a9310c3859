"""Which images are for training and which are for testing: from names, or by a seeded division."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Literal

import numpy as np

from benchmarks.runtime.errors import BadInput

Part = Literal["train", "test"]

WORDS: dict[str, str] = {
    "train": "train", "training": "train",
    "test": "test", "testing": "test", "t10k": "test",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
}  # fmt: skip


def part_of_name(name: str) -> str | None:
    """`train`, `test` or `validation` if one of these, in any usual spelling, is a word of the name."""
    words = [WORDS[word] for word in re.split(r"[^a-z0-9]+", name.lower()) if word in WORDS]
    return words[0] if words else None


def parts_of(names: Sequence[str | None], where: str) -> tuple[dict[str, Part], list[str]]:
    """Which of `train`, `test` and `validation` are used as which part, and notes for the user.

    names: the results of `part_of_name`. An empty mapping: nothing is divided yet. Validation images are the test
    images if there are no others. Raises BadInput, which starts with `where`, if only some names say what they are for.
    """
    present = set(names)
    if present <= {None}:
        return {}, []
    if None in present:
        raise BadInput(f"{where}: some of its parts are named train, test or validation and others are not")
    if "train" not in present:
        raise BadInput(f"{where}: has {' and '.join(sorted(filter(None, present)))} images but no training images")
    if "test" in present:
        notes = ["the validation images are not used"] if "validation" in present else []
        return {"train": "train", "test": "test"}, notes
    return {"train": "train", **({"validation": "test"} if "validation" in present else {})}, []


def divided(classes: np.ndarray, contents: Sequence[Hashable], fraction: float, seed: int) -> np.ndarray:
    """A seeded division: True for test images, the given fraction of each class, rounded, and at least one.

    classes: the number of each image's class. contents: the identity of each image's content; images with equal content
    are on the same side. A class whose images all have the same content is for training.
    """
    chosen = np.zeros(len(classes), bool)
    for number in np.unique(classes):
        groups: Mapping[Hashable, list[int]] = defaultdict(list)
        for index in np.flatnonzero(classes == number).tolist():
            groups[contents[index]].append(index)
        total = sum(map(len, groups.values()))
        stream = np.random.default_rng([seed, zlib.crc32(b"split"), int(number)])
        taken = 0
        order = stream.permutation(len(groups))[:-1]  # one is left for training
        for group in (list(groups.values())[place] for place in order):
            if taken and taken + len(group) > max(1, round(fraction * total)):
                break
            chosen[group] = True
            taken += len(group)
    return chosen


def stored_order(count: int, seed: int, part: Part) -> np.ndarray:
    """The order in which the images of a part are stored: shuffled, so that the first ones are a random sample."""
    return np.random.default_rng([seed, zlib.crc32(part.encode())]).permutation(count)
