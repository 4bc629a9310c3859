"""`python -m benchmarks.compare`: see `benchmarks.reporting.run_comparison`."""

from __future__ import annotations

import sys

from benchmarks.reporting.run_comparison import main

if __name__ == "__main__":
    sys.exit(main())
