"""Scripts that read networks of other programs, each run by the interpreter of a framework.

They import nothing of this package and write data only: a graph as JSON, arrays as `.npz`.
"""
