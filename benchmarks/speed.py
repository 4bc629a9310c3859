"""`python -m benchmarks.speed`: see `benchmarks.timing.speed_run`."""

from __future__ import annotations

import sys

from benchmarks.timing.speed_run import main

if __name__ == "__main__":
    sys.exit(main())
