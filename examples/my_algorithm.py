"""An algorithm of your own: FedAvg whose server averages its last models ("SWA" at the server).

    python scripts/run.py --plugin=examples/my_algorithm.py --algorithm=my_algorithm \
        --my_algorithm_decay=0.9 --task=digits_linear

An algorithm says what a client does (`client_update`: what is sent, and what it weighs) and, if the
server does more than a step of its optimizer, what that is (`server_update`). Everything else
(aggregators, secure sums, attacks, checkpoints, flags) comes from `composition`.
"""

import dataclasses

import tensorflow as tf

from tff_experiments.algorithms import composition, ingredients, local_training, rules

ROOM = "algorithm"
NEEDS = ingredients.Needs()


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs; each becomes a flag, its help the text below it."""

    decay: float = 0.9
    """How much of the average of earlier models stays in a round."""


def build(hparams: Hparams, made_of: ingredients.Ingredients) -> composition.Process:
    """Makes the TFF process."""

    def client_update(model, received, client):
        trained = local_training.train(
            model,
            received.weights,
            client.data,
            optimizer=made_of.client_optimizer,
            hparams=received.hparams,
        )
        weight = tf.cast(trained.num_examples, tf.float32)
        return rules.ClientResult({"delta": rules.Part(trained.delta, weight)})

    def server_update(step, weights, average, means, totals):
        trainable = step(weights.trainable, means["delta"])
        mix = lambda a, x: hparams.decay * a + (1 - hparams.decay) * x
        return weights._replace(trainable=trainable), tf.nest.map_structure(mix, average, trainable)

    def averaged(state):
        return state.global_model_weights._replace(trainable=state.algorithm)

    return composition.build(
        made_of,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            server_state=lambda weights: weights.trainable,  # The average begins with the first.
            evaluated=averaged,
        ),
    )
