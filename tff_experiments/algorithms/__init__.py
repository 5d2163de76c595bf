"""Federated algorithms, one a file. Each has `Hparams`, `build(hparams, ingredients)` and `NEEDS`,
what it needs and allows (`ingredients.Needs`).
"""

from tff_experiments.algorithms import fed_avg

BY_NAME = {"fed_avg": fed_avg}
