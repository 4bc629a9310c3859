"""Bare training loops that the adapters are compared with: as an expert would write them for one framework.

Each file is a script of one framework, run by that framework's interpreter in a worker, like an adapter; `benchmarks`
imports none of them. `Bare` is the loop of an expert: data in memory, no work per sample, the framework's compiled
graph where its documentation teaches one. `Fit`, of Keras, is `model.fit`. `Article`, where there is one, is the loop
of article 000, with a data loader that turns every image into a tensor. `python -m research.baselines.compare` measures
them. A framework without a file here has a row that says so.
"""
