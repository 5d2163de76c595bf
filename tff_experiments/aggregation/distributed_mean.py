"""The mean under distributed differential privacy: integer noise of each client's own in a modular
secure sum.

    client   x min(1, C / ||x||), padded and rotated, times `scale`; rounded at random, again and
             again until the norm is within the bound that is accounted for; + noise, modulo 2^bits
    server   the sum modulo 2^bits, taken as of -2^(bits-1) .. 2^(bits-1) - 1; / scale, rotated
             back, / the number of clients that are counted on

Kairouz, Liu, Steinke 2021, algorithms 1 and 2 (https://arxiv.org/abs/2102.06387); Agarwal, Kairouz,
Liu 2021 (https://arxiv.org/abs/2110.04995). Scale, noise and bound are `privacy.distributed`'s.

Deviations from `tff.learning.ddp_secure_aggregator`: the ring is of exactly 2^bits (TFF sums
without wrapping and reduces at the server, to whom the carry tells more); the clip is fixed; the
divisor is a constant. The rotation is public, one a round, rounding is drawn from the run's seed:
privacy rests on neither.
"""

import collections
import dataclasses
import math

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments import private_noise
from tff_experiments.aggregation import flat, hadamard, private_mean, rotated_sum
from tff_experiments.privacy import distributed


@dataclasses.dataclass(frozen=True)
class Hparams:
    """What the mechanisms have in common; see `privacy.distributed`."""

    noise_multiplier: float = 1.0
    """Standard deviation of the noise in the sum of all that are expected, over the clip, > 0."""
    clip: float = 0.1
    """L2 norm of an update, at most."""
    bits: int = 16
    """Of the modulus, 8 to 24."""
    beta: float = math.exp(-0.5)
    """Tightness of conditional rounding, in [0, 1)."""
    k_stddevs: float = 4.0
    """Standard deviations of the sum that fit the modulus."""
    expected_dropout: float = 0.0
    """Share of clients for whose noise the others make up."""

    def __post_init__(self):
        if not 8 <= self.bits <= 24:
            raise ValueError(f"bits must be in 8 .. 24, got {self.bits}.")


class DistributedMeanFactory(tff.aggregators.WeightedAggregationFactory):
    """Makes the aggregation process. Weights are neither used nor sent.

    Its measurements, of a coordinate of the mean: `noise_stddev` as planned, and `step`, what 1
    means in it.
    """

    def __init__(self, mechanism: distributed.Distributed):
        """Takes noise, clip, bits and cohort; its `dim` must be that of the updates."""
        self._mechanism = mechanism

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Makes the process for a structure of float tensors; raises TypeError for others,
        ValueError where the mechanism is for vectors of another size.
        """
        layout, dim = flat.Flat(value_type), self._mechanism.dim
        if not dim // 2 < layout.size <= dim:
            raise ValueError(f"the mechanism is for {dim} coordinates, not {layout.size}.")

        @tff.tensorflow.computation(value_type, rotated_sum.SEED)
        def encode(value, seed):
            return self._encode(layout.flatten(value), seed)

        @tff.tensorflow.computation(encode.type_signature.result, rotated_sum.SEED)
        def decode(total, seed):
            mean, measured = self._decode(total, seed)
            return layout.unflatten(tf.cast(mean[: layout.size], layout.dtype)), measured

        @tff.federated_computation
        def initialize():
            first = tff.tensorflow.computation(rotated_sum.first_seed)
            return tff.federated_eval(first, tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            del weight
            sent = tff.federated_map(encode, (value, tff.federated_broadcast(state)))
            total = tff.backends.mapreduce.federated_secure_modular_sum(
                sent, 2**self._mechanism.bits
            )
            next_seed = tff.tensorflow.computation(rotated_sum.next_seed, rotated_sum.SEED)
            mean, measured = tff.federated_map(decode, (total, state))
            return tff.templates.MeasuredProcessOutput(
                tff.federated_map(next_seed, state), mean, measured
            )

        return tff.templates.AggregationProcess(initialize, next_fn)

    def _encode(self, vector: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """A client's integers, int64 [dim] in 0 .. 2^bits - 1."""
        m = self._mechanism
        vector, _ = private_mean.clipped(vector, m.clip)
        padded = tf.pad(vector, [[0, m.dim - vector.shape[0]]])
        rotated = hadamard.rotate(padded[tf.newaxis], seed)[0]
        exact = tf.cast(rotated, tf.float64) * m.scale
        rounded = round_within(exact, m.scaled_l2_norm)
        noise = private_noise.integers(m.noise, m.scaled_local_stddev, m.dim)
        return tf.math.floormod(rounded + noise, 2**m.bits)

    def _decode(self, total: tf.Tensor, seed: tf.Tensor):
        """The mean, float32 [dim], and the measurements."""
        m = self._mechanism
        half = 2 ** (m.bits - 1)
        centred = tf.math.floormod(total + half, 2**m.bits) - half
        rotated = tf.cast(tf.cast(centred, tf.float64) / m.scale, tf.float32)
        summed = hadamard.rotate_back(rotated[tf.newaxis], seed)[0]
        arrivals = float(m.expected_arrivals)
        measured = collections.OrderedDict(
            noise_stddev=tf.constant(m.noise_multiplier * m.clip / arrivals, tf.float32),
            step=tf.constant(1 / (m.scale * arrivals), tf.float32),
        )
        return summed / arrivals, measured


def round_within(exact: tf.Tensor, norm: float) -> tf.Tensor:
    """Rounds at random to integers of the right mean, until their L2 norm is at most `norm`.

    Kairouz, Liu, Steinke 2021, section 4.2. Each try succeeds with a probability of at least
    1 - beta. Squares of integers are exact in float64 up to 2^53.

    Args:
        exact: float64 [dim].
        norm: Above that of `exact`, as `privacy.quantization.rounded_l2_norm` has it.

    Returns:
        int64 [dim].
    """
    seed = tf.random.uniform([1], 0, 2**62, tf.int64)
    below = tf.floor(exact)
    fraction = tf.cast(exact - below, tf.float32)

    def attempt(number):
        seeds = tf.concat([seed, tf.cast([number], tf.int64)], 0)
        up = tf.random.stateless_uniform(tf.shape(exact), seeds, alg="philox") < fraction
        return below + tf.cast(up, tf.float64)

    too_long = lambda number, rounded: tf.reduce_sum(tf.square(rounded)) > norm**2
    again = lambda number, rounded: (number + 1, attempt(number + 1))
    _, rounded = tf.while_loop(too_long, again, (tf.constant(0), attempt(0)))
    return tf.cast(rounded, tf.int64)
