"""Federated algorithms, one a file. Each has `Hparams`, `build(hparams, ingredients)` and `NEEDS`,
what it needs and allows (`ingredients.Needs`).
"""

from tff_experiments.algorithms import (
    agnostic_fed_avg,
    fed_adagrad,
    fed_adam,
    fed_avg,
    fed_avgm,
    fed_buff,
    fed_dyn,
    fed_nova,
    fed_prox,
    fed_sgd,
    fed_yogi,
    k_means,
    mime,
    mime_lite,
    q_ffl,
    scaffold,
)

BY_NAME = {
    "agnostic_fed_avg": agnostic_fed_avg,
    "fed_adagrad": fed_adagrad,
    "fed_adam": fed_adam,
    "fed_avg": fed_avg,
    "fed_avgm": fed_avgm,
    "fed_buff": fed_buff,
    "fed_dyn": fed_dyn,
    "fed_nova": fed_nova,
    "fed_prox": fed_prox,
    "fed_sgd": fed_sgd,
    "fed_yogi": fed_yogi,
    "k_means": k_means,
    "mime": mime,
    "mime_lite": mime_lite,
    "q_ffl": q_ffl,
    "scaffold": scaffold,
}
