"""SCAFFOLD: controls that take the clients' drift out of their gradients.

Karimireddy et al. 2020, algorithm 1 (https://arxiv.org/abs/1910.06378). Server control c, client
controls c_i, all 0 at first; K local steps of rate eta_l:

    y_i   <- y_i - eta_l (g_i(y_i) - c_i + c)
    c_i+   = gradient of f_i at x                          option I
           = c_i - c + (x - y_i) / (K eta_l)               option II
    x     <- x + eta_g mean of (y_i - x)
    c     <- c + |S| / N mean of (c_i+ - c_i)

eta_g is the server's learning rate. The client's control stays with it; its change is summed, so
that it may be summed securely. |S| are the clients that were in the sum, N all of the data set's.

c is the mean of the c_i only if the aggregator loses nothing of their changes: what is clipped or
left out is missing in c for good, and x ends beside the optimum. So aggregators that clip are
refused, `secure_mean` unless its clipping and zeroing are off (its `clipped_clients` counts what is
above its bound on coordinates all the same); others that are no mean are warned of.

Deviations: a client without examples changes no control.
"""

import dataclasses
from typing import Literal

import tensorflow as tf

from tff_experiments.algorithms import composition, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(client_state=True, exact_mean=True)
_map = tf.nest.map_structure


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of SCAFFOLD."""

    option: Literal["1", "2"] = "2"
    """How clients renew their controls: a further pass over their data, or from the way made."""


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process; raises ValueError unless clients train by plain SGD."""
    ingredients_lib.check_plain_sgd("scaffold", ingredients)

    def client_update(model, received, client):
        c, c_i = received.server, client.state
        renewed = c_i
        if hparams.option == "1":
            renewed, _ = local_training.full_gradient(model, received.weights, client.data)
            model.reset_metrics()
        trained = local_training.train(
            model,
            received.weights,
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
            correct=lambda gradients, weights, batch: _map(
                lambda g, own, all_: g - own + all_, gradients, c_i, c
            ),
        )
        if hparams.option == "2":
            way = tf.cast(trained.num_steps, tf.float32) * received.hparams["learning_rate"]
            per_step = lambda x: tf.math.divide_no_nan(x, way)
            renewed = _map(lambda own, all_, d: own - all_ + per_step(d), c_i, c, trained.delta)
        renewed = _map(lambda new, own: tf.where(trained.num_steps > 0, new, own), renewed, c_i)
        one = tf.constant(1.0)
        parts = {
            "delta": rules.Part(trained.delta, one),
            "control": rules.Part(_map(tf.subtract, renewed, c_i), one),
        }
        return rules.ClientResult(parts, {"clients": rules.Total(tf.constant(1), 1)}, renewed)

    def server_update(step, weights, c, means, totals):
        share = tf.cast(totals["clients"], tf.float32) / ingredients.num_clients
        trainable = step(weights.trainable, means["delta"])
        c = _map(lambda all_, change: all_ + share * change, c, means["control"])
        return weights._replace(trainable=trainable), c

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            server_state=lambda weights: rules.zeros(weights.trainable),
            broadcast=lambda weights, c: c,
            client_state=lambda specs: rules.zeros(specs.trainable),
        ),
    )
