"""Sums of vectors that clients rotate before, by one random rotation a round, see `hadamard`.

Client and server draw it from a key and the number of the round, which are the state.
"""

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.aggregation import flat, hadamard

SEED = tff.TensorType(np.int64, [2])


class RotatedSumFactory(tff.aggregators.UnweightedAggregationFactory):
    """Makes the aggregation process; its measurements are those of the inner one."""

    def __init__(self, inner: tff.aggregators.UnweightedAggregationFactory, *, block: int):
        """Takes what sums rotated vectors, and the coordinates that are rotated together."""
        self._inner, self._block = inner, block

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Makes the process for a structure of float tensors; raises TypeError for others."""
        layout = flat.Flat(value_type)
        blocks = hadamard.Blocks(layout.size, self._block)

        @tff.tensorflow.computation(value_type, SEED)
        def rotate(value, seed):
            vector = tf.cast(layout.flatten(value), tf.float32)
            return tf.reshape(hadamard.rotate(blocks.cut(vector), seed), [-1])

        @tff.tensorflow.computation(rotate.type_signature.result, SEED)
        def rotate_back(total, seed):
            rotated = tf.reshape(total, [blocks.count, blocks.width])
            vector = blocks.join(hadamard.rotate_back(rotated, seed))
            return layout.unflatten(tf.cast(vector, layout.dtype))

        inner = self._inner.create(rotate.type_signature.result)

        @tff.federated_computation
        def initialize():
            seed = tff.federated_eval(tff.tensorflow.computation(first_seed), tff.SERVER)
            return tff.federated_zip((seed, inner.initialize()))

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, value):
            seed, inner_state = state
            rotated = tff.federated_map(rotate, (value, tff.federated_broadcast(seed)))
            output = inner.next(inner_state, rotated)
            new_seed = tff.federated_map(tff.tensorflow.computation(next_seed, SEED), seed)
            return tff.templates.MeasuredProcessOutput(
                tff.federated_zip((new_seed, output.state)),
                tff.federated_map(rotate_back, (output.result, seed)),
                output.measurements,
            )

        return tff.templates.AggregationProcess(initialize, next_fn)


def first_seed() -> tf.Tensor:
    """A key at random, and the number of the first round, int64 [2]."""
    info = np.iinfo(np.int64)
    key = tf.random.uniform([1], info.min, info.max, tf.int64)
    return tf.concat([key, tf.zeros([1], tf.int64)], 0)


def next_seed(seed: tf.Tensor) -> tf.Tensor:
    """The seed of the round after."""
    return seed + [0, 1]
