"""A model that a client keeps for itself from round to round."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tff_experiments.algorithms import local_training, rules


class Personal(NamedTuple):
    """A client's own model, v_k."""

    trainable: Any  # As the model's, 0 before the client's first round.
    non_trainable: Any
    rounds: Any  # In which it was trained, int32 [].


def first(weights: rules.Weights) -> Personal:
    """The state of a client that has no model yet.

    Args:
        weights: As `tf.TensorSpec`s.

    Returns:
        Zeros, numpy.
    """
    return Personal(*map(rules.zeros, (weights.trainable, weights.non_trainable)), np.int32(0))


def start(kept: Personal, weights: rules.Weights) -> rules.Weights:
    """The client's own model, or the one that it was sent where it has none yet."""
    own = rules.Weights(kept.trainable, kept.non_trainable)
    choose = lambda mine, theirs: tf.where(kept.rounds > 0, mine, theirs)
    return tf.nest.map_structure(choose, own, weights)


def train(model, received: rules.Received, client: rules.Client, **kwargs) -> Personal:
    """Trains the client's own model, `kwargs` as of `local_training.train`; gives its new state."""
    begun = start(client.state, received.weights)
    local_training.train(model, begun, client.data, hparams=received.hparams, **kwargs)
    trained = local_training.values(model)
    return Personal(trained.trainable, trained.non_trainable, client.state.rounds + 1)


def personalize(model, received: rules.Received, client: rules.Client) -> rules.Weights:
    """The stored model; the one that the client was sent where it has none."""
    del model
    return start(client.state, received.weights)
