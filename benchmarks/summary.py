"""`python -m benchmarks.summary`: see `benchmarks.reporting.network_summary`."""

from __future__ import annotations

import sys

from benchmarks.reporting.network_summary import main

if __name__ == "__main__":
    sys.exit(main())
