"""Ditto: a global model by FedAvg, and for each client a model of its own near it.

Li et al. 2021, "Ditto: Fair and robust federated learning through personalization", algorithm 1
(https://arxiv.org/abs/2012.04221). A client k of a round, which got w_t, trains both on its data:

    w_k = ClientUpdate(k, w_t)                              sent, as in FedAvg
    v_k <- v_k - eta (gradient F_k(v_k) + lambda (v_k - w_t))    kept

v_k starts from the first global weights that the client sees. With lambda = 0 it is local training;
with lambda = 1 / eta, each step begins at w_t.

The plain evaluation, `test/...`, is of w_t; `--eval_personalized` takes the stored v_k, and w_t for
clients that have none yet, which it counts.

Deviations: v_k has the client optimizer, its rate and its epochs, where the paper lets the number
of
its steps differ; it keeps no optimizer state between rounds.
"""

import dataclasses

import tensorflow as tf

from tff_experiments.algorithms import composition, fed_avg, personal_models, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(client_state=True)


@dataclasses.dataclass(frozen=True)
class Hparams(fed_avg.Hparams):
    """Knobs of Ditto."""

    lam: float = 0.1
    """Pull of a client's own model to the global one (lambda)."""

    def __post_init__(self):
        if not self.lam >= 0:
            raise ValueError(f"ditto_lam must be >= 0, got {self.lam}.")


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""
    train_global = fed_avg.client_update(hparams.weighting, ingredients)

    def client_update(model, received, client):
        def pull(gradients, weights, batch):
            del batch
            near = received.weights.trainable
            pulled = lambda g, v, w: g + hparams.lam * (v - w)
            return tf.nest.map_structure(pulled, gradients, weights, near)

        own = personal_models.train(
            model, received, client, optimizer=ingredients.client_optimizer, correct=pull
        )
        model.reset_metrics()  # Those of a round are the global model's.
        return train_global(model, received, client)._replace(state=own)

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            client_state=personal_models.first,
            personalize=personal_models.personalize,
        ),
    )
