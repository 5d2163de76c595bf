"""FedBuff: a server that takes updates as they come, and steps when its buffer is full.

Nguyen et al. 2022, "Federated learning with buffered asynchronous aggregation", algorithm 1
(https://arxiv.org/abs/2106.06639). Client k starts from the server's model w_{t-tau}, tau steps old
when its update arrives; K updates fill the buffer:

    Delta_k = w_{t-tau} - ClientUpdate(k, w_{t-tau})
    w_{t+1} = w_t - eta_g (1/K) sum_k s(tau_k) Delta_k,      s(tau) = (1 + tau)^(-1/2)

K is `--clients_per_round`, a round is a step of the server. Who fills the buffer, and from which
model each client starts, is simulated from the delays of `--delay_model` (`clients.buffered`).
With no delays and `concurrency` = K it is FedAvg.

Deviations: the mean may be weighted by examples, as FedAvg's; the paper's is
`--fed_buff_weighting=uniform`. The sum is divided by the weights without s, as in the paper; its
authors' FLSim divides s by its value at an average staleness, which is a factor of eta_g. The
server keeps max_staleness + 1 models, and staler updates are not counted; the paper has no limit. A
client trains at the learning rate, and in the order of its examples, of the round in which its
update arrives, not of that in which it left.

The simulation broadcasts all these models; a client would download one, and as such it is counted.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from tff_experiments.algorithms import composition, fed_avg, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(cohort="buffered")
VERSION = "version"  # Of the extras: how many steps ago the server's model was the client's.


@dataclasses.dataclass(frozen=True)
class Hparams(fed_avg.Hparams):
    """Knobs of FedBuff."""

    concurrency: int = 20
    """Clients in training at any time."""
    max_staleness: int = 10
    """Updates of an older model are not counted; the server keeps so many models."""
    staleness_exponent: float = 0.5
    """An update of staleness tau is multiplied by (1 + tau)^-exponent."""

    def __post_init__(self):
        for name, least in (("concurrency", 1), ("max_staleness", 0), ("staleness_exponent", 0)):
            if not getattr(self, name) >= least:
                raise ValueError(f"fed_buff_{name} must be >= {least}, got {getattr(self, name)}.")


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process."""

    def client_update(model, received, client):
        tau = client.extras[VERSION]
        trained = local_training.train(
            model,
            received.weights._replace(trainable=version(received, tau)),
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
        )
        s = tf.pow(1 + tf.cast(tau, tf.float32), -hparams.staleness_exponent)
        delta = tf.nest.map_structure(lambda x: x * s, trained.delta)
        weight = local_training.example_weight(hparams.weighting, trained)
        return rules.ClientResult({"delta": rules.Part(delta, weight)})

    def server_update(step, weights, past, means, totals):
        new, _ = rules.apply_delta(step, weights, (), means, totals)
        return new, pushed(weights, past)

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            server_state=lambda weights: first_past(weights, hparams.max_staleness),
            broadcast=lambda weights, past: past,
            extras={VERSION: np.int32},
            buffer=rules.Buffer(hparams.concurrency, hparams.max_staleness),
            downloaded=lambda received: [received.weights, received.hparams],
            passed=pushed,
        ),
    )


def first_past(weights: rules.Weights, num: int):
    """Room for the `num` models before the server's, [num, ...] each, the newest first."""
    stack = lambda x: tf.repeat(x[tf.newaxis], num, axis=0)
    return tf.nest.map_structure(stack, weights.trainable)


def pushed(weights: rules.Weights, past):
    """The models before the server's once that is one of them."""
    push = lambda x, old: tf.concat([x[tf.newaxis], old], axis=0)[: old.shape[0]]
    return tf.nest.map_structure(push, weights.trainable, past)


def version(received: rules.Received, tau: tf.Tensor):
    """The trainable weights of `tau` steps ago; a `tau` that is not kept is an error."""

    def choose(current, past):
        if past.shape[0] == 0:
            return current
        return tf.where(tau > 0, tf.gather(past, tf.maximum(tau - 1, 0)), current)

    return tf.nest.map_structure(choose, received.weights.trainable, received.server)
