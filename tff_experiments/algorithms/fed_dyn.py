"""FedDyn: a dynamic regularizer that makes the clients' optima agree with the server's.

Acar et al. 2021, algorithm 1 (https://arxiv.org/abs/2111.04263). Client k keeps l_k, its gradient
at its last model, the server h; both are 0 at first. m clients in all, P of them in the round:

    w_k   = argmin_w F_k(w) - <l_k, w> + alpha / 2 ||w - w_t||^2      by the client optimizer
    l_k  <- l_k - alpha (w_k - w_t)
    h    <- h - alpha / m sum over P of (w_k - w_t)
    w_{t+1} = mean over P of w_k - h / alpha

The mean goes through the server optimizer (SGD with rate 1 is the paper's). h is the mean of the
l_k only if the aggregator loses nothing of w_k - w_t: as for SCAFFOLD, those that clip are refused,
and what is above `secure_mean`'s bound on coordinates is lost.
"""

import dataclasses

import tensorflow as tf

from tff_experiments.algorithms import composition, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(client_state=True, exact_mean=True)
_map = tf.nest.map_structure


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of FedDyn."""

    alpha: float = 0.01
    """Weight of the regularizer."""

    def __post_init__(self):
        if not self.alpha > 0:
            raise ValueError(f"fed_dyn_alpha must be > 0, got {self.alpha}.")


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""
    alpha = hparams.alpha

    def client_update(model, received, client):
        start, l_k = received.weights.trainable, client.state
        trained = local_training.train(
            model,
            received.weights,
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
            correct=lambda gradients, weights, batch: _map(
                lambda g, own, w, w_t: g - own + alpha * (w - w_t), gradients, l_k, weights, start
            ),
        )
        return rules.ClientResult(
            {"delta": rules.Part(trained.delta, tf.constant(1.0))},
            {"clients": rules.Total(tf.constant(1), 1)},
            _map(lambda own, d: own + alpha * d, l_k, trained.delta),
        )

    def server_update(step, weights, h, means, totals):
        share = tf.cast(totals["clients"], tf.float32) / ingredients.num_clients
        h = _map(lambda old, d: old + alpha * share * d, h, means["delta"])
        mean = step(weights.trainable, means["delta"])
        # A round without clients has no mean to correct.
        some = tf.cast(totals["clients"] > 0, tf.float32)
        return weights._replace(trainable=_map(lambda w, x: w - some * x / alpha, mean, h)), h

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            server_state=lambda weights: rules.zeros(weights.trainable),
            client_state=lambda specs: rules.zeros(specs.trainable),
        ),
    )
