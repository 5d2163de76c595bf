"""The mean of clipped updates with noise of the server's: what central DP aggregators share.

    (sum_i x_i min(1, C / ||x_i||) + z C n_t) / clients,      n_t of `correlated_noise`

All clients count the same, and the sum is divided by a constant, the cohort as it is planned: the
number of those who came would tell of one. The clip C is fixed, or follows a quantile of the norms
(Andrew et al. 2021, algorithm 1, https://arxiv.org/abs/1905.03871):

    b = (sum_i (1[||x_i|| <= C] - 1/2) + sigma_b N(0, 1)) / clients + 1/2
    C <- C exp(-rate (b - quantile))

As `tff.aggregators.DifferentiallyPrivateFactory`, but for where the noise comes from.
"""

import collections
from typing import NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments import private_noise
from tff_experiments.aggregation import correlated_noise, flat


class Clipping(NamedTuple):
    """How the clip follows the norms; not at all at a rate of 0."""

    first: float
    quantile: float = 0.5
    rate: float = 0.0
    count_stddev: float = 0.0  # sigma_b.


class PrivateMeanFactory(tff.aggregators.WeightedAggregationFactory):
    """Makes the aggregation process. Weights are neither used nor sent.

    Its measurements: `clip`, and `noise_stddev`, of a coordinate of the mean.
    """

    def __init__(
        self,
        clipping: Clipping,
        noise_multiplier: float,
        noise: correlated_noise.Noise,
        *,
        clients_per_round: float,
    ):
        """Takes C, z, n_t, and the number that the sum is divided by."""
        self._clipping, self._z, self._noise = clipping, noise_multiplier, noise
        self._clients = float(clients_per_round)

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Makes the process for a structure of float tensors; raises TypeError for others."""
        layout = flat.Flat(value_type)

        @tff.tensorflow.computation
        def first():
            return self._first(layout.size)

        state_type = first.type_signature.result

        @tff.tensorflow.computation(value_type, state_type["clip"])
        def clip(value, norm):
            vector, is_below = clipped(layout.flatten(value), norm)
            return vector, tf.cast(is_below, tf.float32) - 0.5

        @tff.tensorflow.computation(state_type, *clip.type_signature.result)
        def finish(state, total, bits):
            new, mean, measured = self._finish(state, total, bits)
            return new, layout.unflatten(tf.cast(mean, layout.dtype)), measured

        @tff.federated_computation
        def initialize():
            return tff.federated_eval(first, tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            del weight
            norm = tff.federated_map(tff.tensorflow.computation(_clip, state_type), state)
            sent = tff.federated_map(clip, (value, tff.federated_broadcast(norm)))
            sums = (tff.federated_sum(sent[0]), tff.federated_sum(sent[1]))
            new, mean, measured = tff.federated_map(finish, (state, *sums))
            return tff.templates.MeasuredProcessOutput(new, mean, measured)

        return tff.templates.AggregationProcess(initialize, next_fn)

    def _first(self, size: int):
        noise = self._noise.first(size) if self._z else ()
        return collections.OrderedDict(clip=tf.constant(self._clipping.first), noise=noise)

    def _finish(self, state, total, bits):
        norm, noise_state = state["clip"], state["noise"]
        stddev = self._z * norm
        if self._z:
            noise_state, unit = self._noise.next(noise_state, total.shape[0])
            total = tf.cast(total, tf.float32) + stddev * unit
        new = collections.OrderedDict(clip=self._next_clip(norm, bits), noise=noise_state)
        measured = collections.OrderedDict(clip=norm, noise_stddev=stddev / self._clients)
        return new, total / self._clients, measured

    def _next_clip(self, norm, bits):
        if not self._clipping.rate:
            return norm
        bits += self._clipping.count_stddev * private_noise.normal([])
        below = tf.clip_by_value(bits / self._clients + 0.5, 0.0, 1.0)
        return norm * tf.exp(-self._clipping.rate * (below - self._clipping.quantile))


def _clip(state):
    return state["clip"]


def clipped(vector: tf.Tensor, norm) -> tuple[tf.Tensor, tf.Tensor]:
    """A vector shortened to a norm, float32, and whether it was within it."""
    # The sum of squares overflows float32 where a coordinate is above 1e19.
    exact = tf.cast(vector, tf.float64)
    length, norm = tf.norm(exact), tf.cast(norm, tf.float64)
    is_below = length <= norm
    factor = tf.where(is_below, tf.constant(1.0, tf.float64), tf.math.divide_no_nan(norm, length))
    return tf.cast(exact * factor, tf.float32), is_below
