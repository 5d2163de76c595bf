"""The sum of float vectors as a secure sum of integers of few bits.

`tff.aggregators.SecureSumFactory` has 32 bits for floats, which takes 64-bit words for any number
of clients. This one has b, and a grid in which 0 is exact:

    L = 2^(b-1) - 1,  step = bound / L,  q = clip(round(x / step), -L, L) + L   in 0 .. 2^b - 2

The bound on coordinates follows the clients' largest, as TFF's does, by a process that estimates a
quantile under secure sums. Clients report by how much their vector was changed, in logarithms, as
a secure sum, too.
"""

import collections
import math
from typing import Literal

import tensorflow as tf
import tensorflow_federated as tff

MIN_BITS, MAX_BITS = 2, 32
_LEAST_LOG = -64.0  # log2 of an error that counts as none.

Rounding = Literal["nearest", "stochastic"]


class QuantizedSumFactory(tff.aggregators.UnweightedAggregationFactory):
    """Makes the aggregation process.

    Its measurements: `bound`, `step` (what 1 means in a coordinate), `clipped_clients` (with a
    coordinate above the bound), `quantization_error` (geometric mean over clients of
    ||q(x) - x|| / ||x||, clipping included; 0 where there is no client).
    """

    def __init__(
        self,
        bound: tff.templates.EstimationProcess,
        *,
        bits: int,
        rounding: Rounding = "nearest",
    ):
        """Chooses the grid.

        Args:
            bound: Estimates the bound on coordinates from each client's largest, float32.
            bits: Of a client's integers, 2 to 32.
            rounding: To the nearest level, or at random to one of two so that the mean is right.
        """
        if not MIN_BITS <= bits <= MAX_BITS:
            raise ValueError(f"bits must be in {MIN_BITS} .. {MAX_BITS}, got {bits}.")
        self._bound, self._bits, self._levels = bound, bits, 2 ** (bits - 1) - 1
        self._rounding = rounding

    def create(self, value_type: tff.Type) -> tff.templates.AggregationProcess:
        """Makes the process for a structure of float tensors."""
        quantize = tff.tensorflow.computation(self._quantize)
        dequantize = tff.tensorflow.computation(self._dequantizer(value_type))
        summarize = tff.tensorflow.computation(self._summarize)

        @tff.federated_computation(
            self._bound.initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
        )
        def next_fn(state, value):
            bound = self._bound.report(state)
            sent = tff.federated_map(quantize, (value, tff.federated_broadcast(bound)))
            bits = lambda x, width: tff.federated_secure_sum_bitwidth(x, width)
            count = bits(tff.federated_value(1, tff.CLIENTS), 1)
            total, clipped = bits(sent["levels"], self._bits), bits(sent["clipped"], 1)
            logs = tff.aggregators.secure_quantized_sum(sent["log_error"], _LEAST_LOG, 0.0)
            return tff.templates.MeasuredProcessOutput(
                self._bound.next(state, sent["largest"]),
                tff.federated_map(dequantize, (total, bound, count)),
                tff.federated_map(summarize, (bound, clipped, logs, count)),
            )

        return tff.templates.AggregationProcess(self._bound.initialize, next_fn)

    def _step(self, bound: tf.Tensor) -> tf.Tensor:
        # float32 has 24 bits, too few to round to 32.
        return tf.cast(bound, tf.float64) / self._levels

    def _quantize(self, value, bound):
        """A client's integers, and what it reports of them."""
        step = self._step(bound)
        exact = [tf.cast(x, tf.float64) for x in tf.nest.flatten(value)]
        levels = [self._round(tf.math.divide_no_nan(x, step)) for x in exact]
        squares = lambda tensors: tf.add_n([tf.reduce_sum(tf.square(x)) for x in tensors])
        error = squares([x - n * step for x, n in zip(exact, levels, strict=True)])
        # Both are squares: half of the logarithm. A vector of zeros is exact.
        log_error = tf.math.log(tf.math.divide_no_nan(error, squares(exact))) / math.log(4.0)
        largest = tf.reduce_max(tf.stack([tf.reduce_max(tf.abs(x)) for x in exact]))
        shifted = [tf.cast(n + self._levels, tf.int64) for n in levels]
        return collections.OrderedDict(
            levels=tf.nest.pack_sequence_as(value, shifted),
            clipped=tf.cast(largest > tf.cast(bound, tf.float64), tf.int32),
            largest=tf.cast(largest, tf.float32),
            log_error=tf.cast(tf.clip_by_value(log_error, _LEAST_LOG, 0.0), tf.float32),
        )

    def _round(self, x: tf.Tensor) -> tf.Tensor:
        if self._rounding == "stochastic":
            rounded = tf.floor(x + tf.random.uniform(tf.shape(x), dtype=tf.float64))
        else:
            rounded = tf.round(x)
        return tf.clip_by_value(rounded, -float(self._levels), float(self._levels))

    def _dequantizer(self, value_type: tff.Type):
        specs = tff.types.type_to_tf_tensor_specs(value_type)
        dtypes = [spec.dtype for spec in tf.nest.flatten(specs)]

        def dequantize(total, bound, count):
            """The sum of the clients' vectors, up to the grid."""
            shift = tf.cast(count, tf.int64) * self._levels
            leaves = [
                tf.cast(tf.cast(x - shift, tf.float64) * self._step(bound), dtype)
                for x, dtype in zip(tf.nest.flatten(total), dtypes, strict=True)
            ]
            return tf.nest.pack_sequence_as(total, leaves)

        return dequantize

    def _summarize(self, bound, clipped, logs, count):
        """The measurements."""
        mean = tf.math.divide_no_nan(logs, tf.cast(count, tf.float32))
        return collections.OrderedDict(
            bound=bound,
            step=self._step(bound),
            clipped_clients=clipped,
            quantization_error=tf.where(count > 0, 2.0**mean, 0.0),
        )
