"""All clients' data in one place: the baseline that says what federation costs.

    w_{t+1} = w_t after the client optimizer's steps over the round's batches

Each example is used once before any is used again, in an order that is shuffled anew each time
(`sampling.stream`). A round has as many examples as a cohort of FedAvg would on average, so that
rounds of both cost the same work; `--centralized_examples_per_round` says otherwise. Its batches
are of `--batch_size`; the last may be smaller.

The client optimizer makes the steps, on its schedule; its momentum begins anew with each round. The
server takes what came for its weights and has no optimizer. Weights that are not trained, such as
batch normalization's averages, stay the first ones, as in FedAvg here.
"""

import dataclasses

import tensorflow as tf

from tff_experiments.algorithms import composition, fed_avg, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(
    supports_secure_sum=False, supports_attacks=False, server_step=False, cohort="pooled"
)


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of centralized training."""

    examples_per_round: int = 0
    """Examples that a round uses; 0 is as many as a cohort would, on average."""

    def __post_init__(self):
        if self.examples_per_round < 0:
            raise ValueError(
                f"centralized_examples_per_round must be >= 0, got {self.examples_per_round}."
            )


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process, whose rounds have one client."""

    def server_update(step, weights, state, means, totals):
        del step, totals
        # As a difference: aggregators clip and round what they take for an update.
        trainable = tf.nest.map_structure(tf.subtract, weights.trainable, means["delta"])
        return weights._replace(trainable=trainable), state

    process = composition.build(
        ingredients,
        rules.Rules(
            client_update=fed_avg.client_update("uniform", ingredients),
            server_update=server_update,
        ),
    )
    process.pooled_examples = hparams.examples_per_round
    return process
