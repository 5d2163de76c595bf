"""Federated algorithms, one a file. Each has `Hparams`, `build(hparams, ingredients)` and `NEEDS`,
what it needs and allows (`ingredients.Needs`).
"""

from tff_experiments.algorithms import agnostic_fed_avg, fed_avg, k_means, q_ffl

BY_NAME = {
    "agnostic_fed_avg": agnostic_fed_avg,
    "fed_avg": fed_avg,
    "k_means": k_means,
    "q_ffl": q_ffl,
}
