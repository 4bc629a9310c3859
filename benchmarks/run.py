"""`python -m benchmarks.run`: see `benchmarks.training.runner`."""

from __future__ import annotations

import sys

from benchmarks.training.runner import main

if __name__ == "__main__":
    sys.exit(main())
