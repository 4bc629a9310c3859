"""How an epoch is cut into slices."""

from __future__ import annotations

from itertools import pairwise

from benchmarks.runtime.devices import Kind

# Multiply-adds of one slice of training: about a second here, so that progress is shown and a hang is noticed. Slices
# depend on the job alone, never on a clock, because each slice seeds dropout.
SLICE: dict[Kind, float] = {"cpu": 10e9, "cuda": 10e12, "mps": 0.5e12}


def cut(images: int, batch_size: int, macs: int, device: Kind, first_alone: bool) -> list[tuple[int, int]]:
    """(start, stop) of the slices of one epoch, in whole batches except for the last of the epoch.

    macs: of one image's forward pass; training takes about three times as many. first_alone: the first step
    is a slice by itself, because it compiles and allocates.
    """
    steps = max(1, int(SLICE[device] / (3 * max(macs, 1) * batch_size)))
    edges = [*range(batch_size if first_alone else 0, images, steps * batch_size), images]
    if first_alone:
        edges = [0, *edges]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]
