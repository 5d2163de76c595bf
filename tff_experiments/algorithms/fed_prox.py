"""FedProx: FedAvg with a proximal term in the clients' loss.

Li et al. 2020, "Federated optimization in heterogeneous networks", equation 2
(https://arxiv.org/abs/1812.06127):

    min_w  F_k(w) + mu / 2 ||w - w_t||^2

With mu = 0 it is FedAvg. Deviations: clients are averaged by `weighting` (the paper samples by
examples and averages uniformly), and make the run's epochs (the paper: as many as they can).
`tff.learning.algorithms.build_weighted_fed_prox` of TFF 0.87 adds the term with the other sign,
mu (w_t - w) to the gradient, and pushes clients away from w_t: it is not used here.
"""

import dataclasses

import tensorflow as tf

from tff_experiments.algorithms import composition, fed_avg, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs()


@dataclasses.dataclass(frozen=True)
class Hparams(fed_avg.Hparams):
    """Knobs of FedProx."""

    mu: float = 0.01
    """Weight of the proximal term."""

    def __post_init__(self):
        if not self.mu >= 0:
            raise ValueError(f"fed_prox_mu must be >= 0, got {self.mu}.")


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""

    def correct(received, client):
        del client
        pull = lambda g, w, w_t: g + hparams.mu * (w - w_t)
        return lambda gradients, weights, batch: tf.nest.map_structure(
            pull, gradients, weights, received.weights.trainable
        )

    update = fed_avg.client_update(hparams.weighting, ingredients, correct if hparams.mu else None)
    return composition.build(ingredients, rules.Rules(client_update=update))
