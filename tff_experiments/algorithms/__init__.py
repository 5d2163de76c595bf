"""Federated algorithms, one a file. Each has `Hparams` and `build(hparams, *, model_fn,
client_optimizer, ...)`.
"""

from tff_experiments.algorithms import fed_avg

BY_NAME = {"fed_avg": fed_avg}
