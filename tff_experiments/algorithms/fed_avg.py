"""FedAvg: clients train locally, the server applies the weighted mean of their updates.

McMahan et al. 2017, algorithm 1 (https://arxiv.org/abs/1602.05629):

    w_k     = ClientUpdate(k, w_t)                  some epochs of the client optimizer
    w_{t+1} = ServerOptimizer(w_t, - sum_k n_k / n (w_k - w_t))

Server SGD with learning rate 1 and no momentum is the paper's. The bits are those of
`tff.learning.algorithms.build_weighted_fed_avg`.
"""

import dataclasses
from typing import Literal

from tff_experiments.algorithms import composition, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs()


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of FedAvg."""

    weighting: Literal["examples", "uniform"] = "examples"
    """What a client's update weighs: its number of examples, or 1."""


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""
    return composition.build(
        ingredients, rules.Rules(client_update=client_update(hparams.weighting, ingredients))
    )


def client_update(weighting: str, ingredients: ingredients_lib.Ingredients, correct=None):
    """What clients do: train from the server's weights, and send how far they came.

    Args:
        weighting: As in `Hparams`.
        ingredients: Gives the optimizer.
        correct: (received, client) -> what corrects gradients, see `local_training.train`; None
            corrects nothing.
    """

    def update(model, received, client):
        trained = local_training.train(
            model,
            received.weights,
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
            correct=correct and correct(received, client),
        )
        weight = local_training.example_weight(weighting, trained)
        return rules.ClientResult({"delta": rules.Part(trained.delta, weight)})

    return update
