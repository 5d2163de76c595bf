"""Agnostic FedAvg: the model for the worst mixture of domains.

Mohri et al. 2019, "Agnostic federated learning" (https://arxiv.org/abs/1902.00146), equation 3, as
FedAvg after Ro et al. 2021 (https://arxiv.org/abs/2104.02748):

    min_w max_lambda  sum_d lambda_d L_d(w)                  L_d: mean loss on domain d

    a_d       = lambda_d / n_d                               n_d: examples of d in a round, so far
    w_k       = some epochs on  sum_i a_d(i) l_i / sum_i a_d(i)   over a batch's examples i
    w_{t+1}   = mean of w_k, weighted by  b_k = sum_i a_d(i)      over the client's examples
    lambda_d <- lambda_d exp(gamma L_d(w_t)) / normalization      (exponentiated gradient)

A domain is a range of labels: domain = label * domains // classes. With one domain it is FedAvg.

Deviations: n_d is the mean over the last `window` rounds, which is 1 for all before the first, and
stays what it was where all of these lack the domain; a domain without examples in a round keeps its
lambda_d, and the others share what they had; a batch's loss is divided by its own weights, so that
the client learning rate means what it does in FedAvg; the model's dropout is off where L_d is
measured; b_k is multiplied by the round's clients, which changes no mean, so that it is near 1 on
the grid of secure sums.
"""

import dataclasses
from typing import NamedTuple

import tensorflow as tf

from tff_experiments.algorithms import composition, local_training, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(own_weights=True)
# No client's examples or summed loss in a domain is above it.
_LARGEST = float(2**20)


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of agnostic FedAvg."""

    domains: int = 2
    """Domains: equal ranges of the labels."""
    gamma: float = 0.1
    """Learning rate of the domains' weights; 0 leaves them equal."""
    window: int = 10
    """Rounds over which the examples of domains are averaged."""

    def __post_init__(self):
        for name, least in (("domains", 1), ("gamma", 0), ("window", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(
                    f"agnostic_fed_avg_{name} must be >= {least}, got {getattr(self, name)}."
                )


class Domains(NamedTuple):
    """The server's state of the domains."""

    weights: tf.Tensor  # lambda, float32 [domains], sums to 1.
    counts: tf.Tensor  # Examples in each of the last rounds, float32 [window, domains].


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process; raises ValueError where there are more domains than labels."""
    k, classes = hparams.domains, ingredients.num_classes
    if k > classes:
        raise ValueError(f"agnostic_fed_avg_domains must be <= {classes}, the labels, got {k}.")
    domain_of = lambda labels: tf.cast(labels, tf.int32) * k // classes

    def client_update(model, received, client):
        scales = received.server
        losses, counts = _domain_losses(model, received, client, domain_of)
        trained = local_training.train(
            model,
            received.weights,
            client.data,
            optimizer=ingredients.client_optimizer,
            hparams=received.hparams,
            loss_of=lambda batch, output: _weighted_loss(batch, output, scales),
        )
        weight = tf.reduce_sum(scales * tf.cast(counts, tf.float32))
        weight *= float(ingredients.clients_per_round)
        totals = {
            "losses": rules.Total(losses, _LARGEST),
            "counts": rules.Total(counts, _LARGEST),
        }
        return rules.ClientResult({"delta": rules.Part(trained.delta, weight)}, totals)

    def _domain_losses(model, received, client, domain_of):
        weights = rules.Weights.from_model(model)
        tf.nest.map_structure(lambda v, value: v.assign(value), weights, received.weights)
        losses, counts = tf.zeros([k]), tf.zeros([k], tf.int32)
        for x, y in iter(client.data):
            domain = domain_of(y)
            loss = ingredients.per_example_loss(y, model.predict_on_batch(x, training=False))
            losses += tf.math.unsorted_segment_sum(loss, domain, k)
            counts += tf.math.unsorted_segment_sum(tf.ones_like(domain), domain, k)
        return losses, counts

    def _weighted_loss(batch, output, scales):
        _, labels = batch
        scale = tf.gather(scales, domain_of(labels))
        loss = ingredients.per_example_loss(labels, output.predictions)
        return tf.math.divide_no_nan(tf.reduce_sum(scale * loss), tf.reduce_sum(scale))

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=lambda *args: _server_update(*args, gamma=hparams.gamma),
            server_state=lambda weights: Domains(
                tf.fill([k], 1.0 / k), tf.ones([hparams.window, k])
            ),
            broadcast=lambda weights, state: tf.math.divide_no_nan(
                state.weights, tf.reduce_mean(state.counts, 0)
            ),
        ),
    )


def _server_update(step, weights, state, means, totals, *, gamma):
    trainable = step(weights.trainable, means["delta"])
    counts = tf.cast(totals["counts"], tf.float32)
    losses = tf.math.divide_no_nan(totals["losses"], counts)
    there = counts > 0
    raised = tf.where(there, tf.exp(gamma * (losses - tf.reduce_max(losses))), 0.0) * state.weights
    shared = tf.reduce_sum(tf.where(there, state.weights, 0.0))
    raised *= tf.math.divide_no_nan(shared, tf.reduce_sum(raised))
    window = tf.concat([state.counts[1:], counts[tf.newaxis]], 0)
    # A round without clients says nothing; nor does a window without a domain, of that.
    known = tf.reduce_any(there) & (tf.reduce_sum(window, 0) > 0)
    window = tf.where(known, window, state.counts)
    new = Domains(tf.where(there, raised, state.weights), window)
    metrics = {
        "worst_domain_loss": tf.reduce_max(losses),
        "largest_domain_weight": tf.reduce_max(new.weights),
        "smallest_domain_weight": tf.reduce_min(new.weights),
    }
    return weights._replace(trainable=trainable), new, metrics
