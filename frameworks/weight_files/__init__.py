"""Files of weights in a framework's own format.

Each format has two modules, which `frameworks/registry.py` names by the ending of the file:

- a script that an interpreter with the framework runs, `python state_dict.py weights.pth arrays.npz`, which copies the
  arrays into an `.npz` under the names and in the layouts of the file;
- a module whose `canonical(network, arrays)` gives them the network's names and layouts.
"""
