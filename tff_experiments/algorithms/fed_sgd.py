"""FedSGD: one gradient a round, of all of a client's examples at the server's weights.

McMahan et al. 2017, section 2 (https://arxiv.org/abs/1602.05629):

    g_k     = gradient of F_k at w_t
    w_{t+1} = ServerOptimizer(w_t, sum_k n_k / n g_k)

The learning rate is the server's; the clients' is not used. As
`tff.learning.algorithms.build_fed_sgd`.
"""

import dataclasses
from typing import Literal

import tensorflow as tf

from tff_experiments.algorithms import composition, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs()


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of FedSGD."""

    weighting: Literal["examples", "uniform"] = "examples"
    """Whether a client counts as many times as it has examples, or once."""


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""

    def client_update(model, received, client):
        gradient, examples = local_training.full_gradient(model, received.weights, client.data)
        weight = tf.cast(examples, tf.float32)
        if hparams.weighting == "uniform":
            weight = tf.cast(examples > 0, tf.float32)
        return rules.ClientResult({"delta": rules.Part(gradient, weight)})

    return composition.build(ingredients, rules.Rules(client_update=client_update))
