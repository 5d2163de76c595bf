"""q-FFL: fairness by larger weights for clients with larger losses.

Li et al. 2020, "Fair resource allocation in federated learning", algorithm 2, q-FedAvg
(https://arxiv.org/abs/1905.10497). With L = 1 / client learning rate, F_k a client's mean loss at
w_t, and w_k what its training gave:

    dw_k    = L (w_t - w_k)
    Delta_k = F_k^q dw_k
    h_k     = q F_k^(q-1) ||dw_k||^2 + L F_k^q
    w_{t+1} = w_t - sum_k Delta_k / sum_k h_k

As a weighted mean, a client sends Delta_k / h_k of weight h_k / (L F^q), where F, the last round's
mean of F_k, keeps weights near 1 for the grid of secure sums; it is ln(classes) at first. With
q = 0 it is FedAvg with uniform weights. An aggregator that ignores weights is not fair so.

Deviations: the mean goes through the server optimizer (SGD with rate 1 is the paper's); clients are
sampled as the run says (the paper draws them in proportion to their examples); the model's dropout
is off where F_k is measured; a weight is at most 2^20 - 1, as far as secure sums of it reach.
"""

import dataclasses
import math

import tensorflow as tf

from tff_experiments.algorithms import composition, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(own_weights=True)
# A loss of 0 has no power below 0; one above the largest counts as it in F.
_LEAST_LOSS, _LARGEST_LOSS = 1e-10, 1024.0
_LARGEST_WEIGHT = 2.0**20 - 1


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of q-FFL."""

    q: float = 1.0
    """Fairness: 0 is FedAvg, larger ones look at the clients with the largest losses."""

    def __post_init__(self):
        if not self.q >= 0:
            raise ValueError(f"q_ffl_q must be >= 0, got {self.q}.")


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process; raises ValueError unless clients train by plain SGD, for L is of it."""
    ingredients_lib.check_plain_sgd("q_ffl", ingredients)
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
        share = 1 + q * lipschitz * squares / loss  # h_k / (L F_k^q)
        weight = tf.minimum((loss / received.server) ** q * share, _LARGEST_WEIGHT)
        value = tf.nest.map_structure(lambda x: x / share, trained.delta)
        totals = {
            "losses": rules.Total(loss, _LARGEST_LOSS),
            "clients": rules.Total(tf.constant(1), 1),
        }
        return rules.ClientResult({"delta": rules.Part(value, weight)}, totals)

    def server_update(step, weights, usual, means, totals):
        new, _ = rules.apply_delta(step, weights, (), means, totals)
        mean = totals["losses"] / tf.cast(totals["clients"], tf.float32)
        some = totals["clients"] > 0
        return new, tf.where(some, tf.maximum(mean, _LEAST_LOSS), usual)

    first = math.log(max(ingredients.num_classes, 2))
    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            server_state=lambda weights: tf.constant(first, tf.float32),
            broadcast=lambda weights, usual: usual,
        ),
    )
