"""FedAvgM: FedAvg with momentum at the server.

Hsu et al. 2019 (https://arxiv.org/abs/1909.06335); Reddi et al. 2021, section 2
(https://arxiv.org/abs/2003.00295). With the clients' mean delta as gradient g_t:

    v_t     = beta v_{t-1} + g_t
    w_{t+1} = w_t - eta v_t                      eta: the server's learning rate
"""

import dataclasses

import tensorflow_federated as tff

from tff_experiments.algorithms import composition, fed_avg
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(is_optimizer=True)


@dataclasses.dataclass(frozen=True)
class Hparams(fed_avg.Hparams):
    """Knobs of FedAvgM."""

    beta: float = 0.9
    """Momentum at the server, in [0, 1)."""

    def __post_init__(self):
        if not 0 <= self.beta < 1:
            raise ValueError(f"fed_avgm_beta must be in [0, 1), got {self.beta}.")


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process; raises ValueError where the server's optimizer has momentum, too."""
    eta = ingredients_lib.server_rate("fed_avgm", ingredients)
    optimizer = tff.learning.optimizers.build_sgdm(eta, momentum=hparams.beta or None)
    return fed_avg.build(hparams, dataclasses.replace(ingredients, server_optimizer=optimizer))
