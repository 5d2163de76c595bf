"""q-FFL: fairness by larger weights for clients with larger losses.

Li et al. 2020, "Fair resource allocation in federated learning", algorithm 2, q-FedAvg
(https://arxiv.org/abs/1905.10497). With L = 1 / client learning rate, F_k a client's mean loss at
w_t, and w_k what its training gave:

    dw_k    = L (w_t - w_k)
    Delta_k = F_k^q dw_k
    h_k     = q F_k^(q-1) ||dw_k||^2 + L F_k^q
    w_{t+1} = w_t - sum_k Delta_k / sum_k h_k

As a weighted mean, which any aggregator takes, a client sends Delta_k / h_k of weight h_k / L. With
q = 0 it is FedAvg with uniform weights.

Deviations: the mean goes through the server optimizer (SGD with rate 1 is the paper's); clients are
sampled as the run says (the paper draws them in proportion to their examples); the model's dropout
is off where F_k is measured.
"""

import dataclasses

import tensorflow as tf

from tff_experiments.algorithms import composition, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(
    own_weights=True,
)
# A loss of 0 has no power below 0.
_LEAST_LOSS = 1e-10


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of q-FFL."""

    q: float = 1.0
    """Fairness: 0 is FedAvg, larger ones look at the clients with the largest losses."""

    def __post_init__(self):
        if not self.q >= 0:
            raise ValueError(f"q_ffl_q must be >= 0, got {self.q}.")


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process; raises ValueError for a client optimizer without a learning rate."""
    q = hparams.q

    def client_update(model, received, client):
        loss = local_training.mean_loss(model, received.weights, client.data) + _LEAST_LOSS
        trained = local_training.train(
            model,
            received.weights,
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
        )
        lipschitz = 1 / received.hparams["learning_rate"]
        squares = tf.add_n([tf.reduce_sum(x**2) for x in tf.nest.flatten(trained.delta)])
        weight = loss**q + q * loss ** (q - 1) * lipschitz * squares  # h_k / L
        value = tf.nest.map_structure(lambda x: x * (loss**q / weight), trained.delta)
        return rules.ClientResult({"delta": rules.Part(value, weight)})

    return composition.build(ingredients, rules.Rules(client_update=client_update))
