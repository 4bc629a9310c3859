"""What the adapters are held against: LeNet's training as an expert would write it for one framework, and no other use.

Each file is a script of one framework, run by that framework's interpreter through the worker like an adapter; nothing
here is imported by the rest of `benchmarks`. `Bare` is the loop of an expert: data in memory, no work per sample, the
framework's compiled graph where its documentation teaches one. `Article`, where there is one, is the loop of article
000: a data loader that turns every picture into a tensor. `python -m research.baselines.compare` measures them.
"""
