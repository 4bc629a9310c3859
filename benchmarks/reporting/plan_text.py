"""A plan as text: one row for each network."""

from __future__ import annotations

from benchmarks.records.plans import Plan
from benchmarks.reporting import tables
from benchmarks.reporting.number_formats import count, counted, mebibytes

HEAD = ("network", "data set", "groups", "memory of a group (MiB)", "multiply-adds of a group")


def text(plan: Plan, width: int | None) -> str:
    """The networks with the estimates of their groups, and the downloads. width: of the terminal; None: no limit."""
    rows = []
    for net, network in plan.networks.items():
        groups = [group for group in plan.groups if group.net == net]
        memory, work = (max(getattr(group, name) for group in groups) for name in ("memory", "multiply_adds"))
        rows.append((net, network.dataset, count(len(groups)), mebibytes(memory / 2**20), f"{work:.2e}"))
    downloads = [f"{name} {data.download_megabytes} MB" for name, data in plan.data.items() if data.download_megabytes]
    frameworks = [f"{label} {framework.version or ''}".strip() for label, framework in plan.frameworks.items()]
    amount = f"{counted(len(plan.groups), 'group')} of {', '.join(frameworks)}"
    line = f"{amount}. Data to download: {', '.join(downloads) or 'none'}."
    return f"{tables.fitted(HEAD, rows, width)}\n\n{tables.wrapped(line, width)}"
