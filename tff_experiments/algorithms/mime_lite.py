"""MimeLite: clients step as the server's optimizer would, with its state, which they do not change.

Karimireddy et al. 2021, "Breaking the centralized barrier for cross-device federated learning",
algorithm 1 (https://arxiv.org/abs/2008.03606). The base optimizer (U, V), here the client
optimizer, has the server's state s:

    y_i     <- y_i - eta U(g_i(y_i), s)                 at clients, s fixed
    w_{t+1}  = mean of y_i
    s       <- V(mean of the full gradients at w_t, s)  at the server

As `tff.learning.algorithms.build_weighted_mime_lite`. The means are weighted by `weighting` (the
paper: uniform), that of y_i goes through the server optimizer (SGD with rate 1 is the paper's). A
round without examples leaves s as it was.
"""

import dataclasses

import tensorflow as tf

from tff_experiments.algorithms import composition, fed_avg, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs()


@dataclasses.dataclass(frozen=True)
class Hparams(fed_avg.Hparams):
    """Knobs of MimeLite."""


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""

    def client_update(model, received, client):
        gradient, examples = local_training.full_gradient(model, received.weights, client.data)
        model.reset_metrics()
        trained = local_training.train(
            model,
            received.weights,
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
            state=received.server,
        )
        weight = local_training.example_weight(hparams.weighting, trained)
        parts = {
            "delta": rules.Part(trained.delta, weight),
            "gradient": rules.Part(gradient, weight),
        }
        return rules.ClientResult(parts, clients_with(examples))

    def server_update(step, weights, state, means, totals):
        new = next_state(ingredients.client_optimizer, state, weights, means["gradient"])
        trainable = step(weights.trainable, means["delta"])
        return weights._replace(trainable=trainable), unless_empty(totals, new, state)

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            server_state=lambda weights: first_state(ingredients.client_optimizer, weights),
            broadcast=lambda weights, state: state,
        ),
    )


def first_state(optimizer, weights: rules.Weights):
    """The base optimizer's state, of a tuple of weights as in clients' loops."""
    flat = tf.nest.flatten(weights.trainable)
    return optimizer.initialize(tuple(tf.TensorSpec(x.shape, x.dtype) for x in flat))


def next_state(optimizer, state, weights: rules.Weights, gradient):
    """V: the base optimizer's state after a gradient."""
    flat = lambda structure: tuple(tf.nest.flatten(structure))
    new, _ = optimizer.next(state, flat(weights.trainable), flat(gradient))
    return new


def clients_with(examples: tf.Tensor) -> dict[str, rules.Total]:
    """Counts the clients that have examples."""
    return {"clients": rules.Total(tf.cast(examples > 0, tf.int32), 1)}


def unless_empty(totals, new, old):
    """The new state; after a round without examples, whose mean gradient is none, the old one."""
    some = totals["clients"] > 0
    return tf.nest.map_structure(lambda n, o: tf.where(some, n, o), new, old)
