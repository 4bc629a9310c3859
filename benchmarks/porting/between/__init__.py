"""Compares two networks from anywhere: `onespec port A B`.

`benchmarks.porting.sources` reads both, `rows` and `alignment` bring their layers side by side, `differences` compares
these with the causes of `causes`, `arrays` compares two sets of weights, `values` finds the first tensor that differs,
and `report` says it.
"""
