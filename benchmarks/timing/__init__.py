"""Measurement on a noisy machine: turns and launches, honest clocks, rooflines, and the statistics of samples.

Read `launch`, then `statistics`, and docs/statistics.md; `benchmarks.speed` and `benchmarks.compare` are the commands.
"""
