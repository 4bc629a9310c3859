"""`python -m benchmarks.data`: see `benchmarks.datasets.registry`."""

from __future__ import annotations

import sys

from benchmarks.datasets.registry import main

if __name__ == "__main__":
    sys.exit(main())
