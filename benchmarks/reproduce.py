"""`python -m benchmarks.reproduce`: see `benchmarks.articles.experiment_run`."""

from __future__ import annotations

import sys

from benchmarks.articles.experiment_run import main

if __name__ == "__main__":
    sys.exit(main())
