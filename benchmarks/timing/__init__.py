"""Timing on a noisy machine: launches, budget, sanity checks, rooflines, and the statistics of samples.

Read `speed_run`, then `launches` and `statistics`, and docs/statistics.md. The commands are `benchmarks.speed` and
`benchmarks.compare`; the measuring loop is `benchmarks.runtime.interleaving`.
"""
