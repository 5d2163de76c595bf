"""FedNova: updates divided by the steps that they took, so that who steps more has no more say.

Wang et al. 2020, "Tackling the objective inconsistency problem", equations 7 and 8
(https://arxiv.org/abs/2007.07481). A client's tau_i steps add up gradients with coefficients a_i:

    ||a_i||_1 = tau_i                                                    SGD
              = (tau_i - rho (1 - rho^tau_i) / (1 - rho)) / (1 - rho)    SGD with momentum rho
    d_i     = (w_t - w_i) / ||a_i||_1
    tau_eff = sum_i p_i ||a_i||_1                                        p_i = n_i / n
    w_{t+1} = w_t - tau_eff sum_i p_i d_i

The step goes through the server optimizer (SGD with rate 1 is the paper's). With equal steps for
all it is FedAvg.
"""

import dataclasses

import tensorflow as tf

from tff_experiments.algorithms import composition, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs()
_LARGEST_EXAMPLES = 2.0**20  # Of a client.
# Examples times ||a_i||_1 of a client; quantized in quarters where they are summed securely.
_LARGEST_STEPS = 2.0**30


@dataclasses.dataclass(frozen=True)
class Hparams:
    """FedNova has no knobs."""


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process; raises ValueError unless clients train by SGD, with momentum or not."""
    del hparams
    found = ingredients_lib.hparams_of(ingredients.client_optimizer)
    if not {"learning_rate"} <= set(found) <= {"learning_rate", "momentum"}:
        raise ValueError(
            "--algorithm=fed_nova is defined for clients that train by SGD; use "
            "--client_optimizer=sgd."
        )
    rho = found.get("momentum", 0.0)

    def client_update(model, received, client):
        trained = local_training.train(
            model,
            received.weights,
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
        )
        tau = tf.cast(trained.num_steps, tf.float32)
        norm = (tau - rho * (1 - rho**tau) / (1 - rho)) / (1 - rho)
        examples = tf.cast(trained.num_examples, tf.float32)
        direction = tf.nest.map_structure(lambda x: tf.math.divide_no_nan(x, norm), trained.delta)
        totals = {
            "examples": rules.Total(tf.cast(trained.num_examples, tf.int32), _LARGEST_EXAMPLES),
            "steps": rules.Total(examples * norm, _LARGEST_STEPS),
        }
        return rules.ClientResult({"delta": rules.Part(direction, examples)}, totals)

    def server_update(step, weights, state, means, totals):
        tau_eff = tf.math.divide_no_nan(totals["steps"], tf.cast(totals["examples"], tf.float32))
        update = tf.nest.map_structure(lambda d: tau_eff * d, means["delta"])
        trainable = step(weights.trainable, update)
        return weights._replace(trainable=trainable), state, {"effective_steps": tau_eff}

    return composition.build(
        ingredients, rules.Rules(client_update=client_update, server_update=server_update)
    )
