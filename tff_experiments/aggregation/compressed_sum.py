"""Sums of vectors that clients send compressed.

    message_i = encode(x_i),    sum = sum_i decode(message_i)

A message is made of tensors of fixed sizes, in as many bits as a network would carry: `uplink_bits`
is their size, and the runtime's `bytes/uplink_per_client`, which adds the client's weight and
metrics, agrees.
"""

import collections
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.aggregation import flat


class Codec(Protocol):
    """How vectors of one size are compressed."""

    def encode(self, vector: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """A client's message for float32 [size]; may draw at random."""

    def decode(self, message: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """What the server makes of a message, float32 [size]; draws nothing."""


class CompressedSumFactory(tff.aggregators.UnweightedAggregationFactory):
    """Makes the aggregation process.

    Its measurements, means over clients and 0 without any: `uplink_bits` (of the message), `nmse`
    (||decode(encode(x)) - x||^2 / ||x||^2).
    """

    def __init__(self, make_codec: Callable[[int], Codec]):
        """Takes what makes the codec for vectors of a size."""
        self._make_codec = make_codec

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Makes the process for a structure of float tensors; raises TypeError for others."""
        layout = flat.Flat(value_type)
        codec = self._make_codec(layout.size)

        @tff.tensorflow.computation(value_type)
        def encode(value):
            vector = tf.cast(layout.flatten(value), tf.float32)
            message = collections.OrderedDict(codec.encode(vector))
            return message, _relative_error(codec.decode(message), vector)

        sent_type = encode.type_signature.result
        bits = num_bits(sent_type[0])

        @tff.tensorflow.computation
        def zero():
            return tf.zeros([layout.size]), tf.constant(0.0), tf.constant(0)

        @tff.tensorflow.computation(zero.type_signature.result, sent_type)
        def accumulate(accumulator, sent):
            total, error, count = accumulator
            return total + codec.decode(sent[0]), error + sent[1], count + 1

        @tff.tensorflow.computation(zero.type_signature.result, zero.type_signature.result)
        def merge(first, second):
            return tuple(a + b for a, b in zip(first, second, strict=True))

        @tff.tensorflow.computation(zero.type_signature.result)
        def report(accumulator):
            total, error, count = accumulator
            measurements = collections.OrderedDict(
                uplink_bits=tf.where(count > 0, tf.constant(bits, tf.int64), 0),
                nmse=tf.math.divide_no_nan(error, tf.cast(count, tf.float32)),
            )
            return layout.unflatten(tf.cast(total, layout.dtype)), measurements

        @tff.federated_computation
        def initialize():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(value_type, tff.CLIENTS)
        )
        def next_fn(state, value):
            sent = tff.federated_map(encode, value)
            result = tff.federated_aggregate(sent, zero(), accumulate, merge, report)
            return tff.templates.MeasuredProcessOutput(state, result[0], result[1])

        return tff.templates.AggregationProcess(initialize, next_fn)


def _relative_error(decoded: tf.Tensor, vector: tf.Tensor) -> tf.Tensor:
    # Not `**`: a power is thirty times as slow as a square.
    square = lambda x: tf.reduce_sum(tf.square(x))
    return tf.math.divide_no_nan(square(decoded - vector), square(vector))


def num_bits(message_type: tff.Type) -> int:
    """Bits of a message of that type."""
    size = lambda leaf: leaf.dtype.itemsize * int(np.prod(leaf.shape, dtype=np.int64))
    return 8 * sum(size(leaf) for leaf in tff.structure.flatten(message_type))
