"""The server's part of a round: the optimizer's step as scheduled, and nothing at all after a mean
that is not finite.
"""

import collections
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.algorithms import rules as rules_lib


def scheduled(optimizer: tff.learning.optimizers.Optimizer, schedule, round_num) -> Any:
    """The optimizer's hyperparameters, its learning rate times the schedule's factor."""
    first = optimizer.initialize(tf.TensorSpec([], tf.float32))
    # TFF's optimizers take numbers or tensors, but no mixture of them.
    hparams = collections.OrderedDict(
        (name, tf.convert_to_tensor(value)) for name, value in optimizer.get_hparams(first).items()
    )
    if "learning_rate" in hparams:
        hparams["learning_rate"] *= schedule(round_num)
    return hparams


class Step:
    """One step; `state` is what the step left."""

    def __init__(self, optimizer: tff.learning.optimizers.Optimizer, state: Any, hparams: Any):
        """Takes the optimizer, its state, and this round's hyperparameters."""
        self._optimizer = optimizer
        self.state = optimizer.set_hparams(state, hparams)

    def __call__(self, trainable: Any, gradient: Any) -> Any:
        """The new weights."""
        self.state, new = self._optimizer.next(self.state, trainable, gradient)
        return new


def build(optimizer: tff.learning.optimizers.Optimizer, schedule, rules: rules_lib.Rules):
    """Makes the server's update: (weights, round_num, algorithm's state, optimizer's state, means,
    totals, 0) -> {weights, round_num, algorithm, finalizer, metrics}.
    """

    @tf.function
    def update(weights, round_num, algorithm, finalizer, means, totals, nothing):
        step = Step(optimizer, finalizer, scheduled(optimizer, schedule, round_num + 1))
        new_weights, new_algorithm, *measured = rules.server_update(
            step, weights, algorithm, means, totals
        )
        rejected = tf.logical_not(all_finite((means, totals)))
        passed = rules.passed(weights, algorithm)
        choose = lambda new, old: tf.nest.map_structure(
            lambda n, o: tf.where(rejected, o, n), new, old
        )
        return collections.OrderedDict(
            weights=choose(new_weights, weights),
            round_num=round_num + 1 + nothing,
            algorithm=choose(new_algorithm, passed),
            finalizer=choose(step.state, finalizer),
            metrics=collections.OrderedDict(
                update_non_finite=tf.cast(rejected, tf.int32), **(measured[0] if measured else {})
            ),
        )

    return update


def all_finite(structure: Any) -> tf.Tensor:
    """Whether all floats of a structure are finite, bool []."""
    floats = [x for x in tf.nest.flatten(structure) if x.dtype.is_floating]
    if not floats:
        return tf.constant(True)
    return tf.reduce_all(tf.stack([tf.reduce_all(tf.math.is_finite(x)) for x in floats]))
