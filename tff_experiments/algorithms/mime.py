"""Mime: MimeLite with the clients' gradients corrected as in SVRG.

Karimireddy et al. 2021, algorithm 1 (https://arxiv.org/abs/2008.03606), see `mime_lite`:

    y_i <- y_i - eta U(g_i(y_i; b) - g_i(w_t; b) + c, s),   c = mean of the full gradients

Deviation: the paper's c is that of the round's own clients at w_t, which they would have to send
before they train. Here c is that of the last round that had examples, at its model; before there is
one, gradients are not corrected. Where a model has dropout, the two gradients of a batch draw their
own masks.
"""

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from tff_experiments.algorithms import composition, fed_avg, local_training, mime_lite, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs()


@dataclasses.dataclass(frozen=True)
class Hparams(fed_avg.Hparams):
    """Knobs of Mime."""


class Server(NamedTuple):
    """The server's state, of which clients get all."""

    base: Any  # s, of the base optimizer.
    gradient: Any  # c; mirrors the trainable weights.
    has_gradient: Any  # 0.0 before the first round, then 1.0.


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""

    def client_update(model, received, client):
        variables = rules.Weights.from_model(model).trainable
        base, c, has_gradient = received.server

        def at_start(batch):
            """The batch's gradient at w_t; weights and metrics stay as they are."""
            held = [*tf.nest.flatten(variables), *model.local_variables]
            now = [tf.identity(v) for v in held]
            tf.nest.map_structure(lambda v, w: v.assign(w), variables, received.weights.trainable)
            with tf.GradientTape() as tape:
                loss = model.forward_pass(batch, training=True).loss
            gradients = tape.gradient(loss, variables)
            tf.nest.map_structure(lambda v, value: v.assign(value), held, now)
            return gradients

        def correct(gradients, weights, batch):
            del weights
            reduce = lambda g, g_t, mean: g - has_gradient * (g_t - mean)
            return tf.nest.map_structure(reduce, gradients, at_start(batch), c)

        gradient, examples = local_training.full_gradient(model, received.weights, client.data)
        model.reset_metrics()
        trained = local_training.train(
            model,
            received.weights,
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
            correct=correct,
            state=base,
        )
        weight = local_training.example_weight(hparams.weighting, trained)
        parts = {
            "delta": rules.Part(trained.delta, weight),
            "gradient": rules.Part(gradient, weight),
        }
        return rules.ClientResult(parts, mime_lite.clients_with(examples))

    def server_update(step, weights, state, means, totals):
        base = mime_lite.next_state(
            ingredients.client_optimizer, state.base, weights, means["gradient"]
        )
        trainable = step(weights.trainable, means["delta"])
        new = Server(base, means["gradient"], tf.constant(1.0))
        return weights._replace(trainable=trainable), mime_lite.unless_empty(totals, new, state)

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            server_state=lambda weights: Server(
                mime_lite.first_state(ingredients.client_optimizer, weights),
                rules.zeros(weights.trainable),
                tf.constant(0.0),
            ),
            broadcast=lambda weights, state: state,
        ),
    )
