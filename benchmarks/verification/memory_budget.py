"""The memory of a verification: how much a network takes, and how many processes compute at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from threading import Condition

from benchmarks.verification.cases import Case
from frameworks.spec import Network

GIB = 1 << 30
MOST = 5 * GIB  # for all networks in work; workers at rest and this process take about 2 GiB beside them
FRACTION = 0.4  # of the machine's memory, if that is less
# Arrays of the size of all parameters: weights, gradients, and copies on the way to a file. In float64, Keras takes 4
# on VGG-16 and MXNet 14, because it queues the updates of all arrays with their intermediate results.
COPIES = 12
# Outputs of all layers in training: the outputs, their gradients, and what each layer saves for its backward pass.
OUTPUTS = 5


def memory_of(case: Case, precision: str) -> int:
    """An estimate of the bytes that a process takes for a case, without the framework itself."""
    return memory_of_network(case.network, case.batch_size, precision)


def memory_of_network(network: Network, batch_size: int, precision: str) -> int:
    """The same for a network and a number of images per step."""
    values = sum(prod(node.output) for _, node in network.walk())
    bytes_per_value = 8 if precision == "float64" else 4
    return bytes_per_value * (COPIES * network.params + OUTPUTS * batch_size * values)


class MemoryBudget:
    """Lets computations begin while their estimates fit into `limit` bytes together; a larger one runs alone."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: list[int] = []
        self._changed = Condition()

    @staticmethod
    def of_machine() -> MemoryBudget:
        """`MOST`, or a fraction of this machine's memory."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return MemoryBudget(min(MOST, int(FRACTION * memory)))

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are left, and hold them."""
        with self._changed:
            self._changed.wait_for(lambda: not self._held or sum(self._held) + size <= self.limit)
            self._held.append(size)
        try:
            yield
        finally:
            with self._changed:
                self._held.remove(size)
                self._changed.notify_all()
