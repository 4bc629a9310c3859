"""Scripts that turn a framework's own file of weights into an `.npz`, run by an interpreter that has the framework.

    python state_dict.py weights.pth arrays.npz

The arrays keep the names and layouts of the file. `frameworks/registry.py` names the endings that each reads.
"""
