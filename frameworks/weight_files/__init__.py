"""Files of weights in a framework's own format.

Each format has two modules, which `frameworks/registry.py` names by the usual ending of such files:

- a script that an interpreter with the framework runs, `python state_dict.py weights.pth FOLDER`. It copies the arrays
  into FOLDER/arrays.npz under the names and in the layouts of the file, and writes FOLDER/about.json: `notes`, lines
  that say what it left out or converted, and what else the other module needs;
- a module whose `converted(network, arrays, about)` gives them the network's names and layouts, with its own notes.
"""
