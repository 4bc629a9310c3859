"""The process of a shard on a node: a command of onespec, which ends with the engine's process that started it.

    python -m benchmarks.distribution.shard_process PID run --plan plan.json --shard 3/16

PID: of the process that started it. A scheduler that loses a node may run the shard elsewhere; then no process of the
first attempt may be writing.
"""

from __future__ import annotations

import runpy
import signal
import sys

from frameworks.parent_watch import end_with_parent

if __name__ == "__main__":
    end_with_parent(sys.stdin.fileno(), int(sys.argv.pop(1)))
    # Slurm announces a time limit to every process of a job by this signal, which would end Python at once.
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    runpy.run_module(f"benchmarks.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
