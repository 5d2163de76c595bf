"""Sums of clients' vectors, as a client may see them summed: exactly, or under noise.

    none                          sum_i x_i
    gaussian                      sum_i x_i + N(0, (z C)^2), drawn by the server
    discrete_gaussian, skellam    the noise is a share of each client's: `distributed_mean`
    local_gaussian                sum_i (x_i + N(0, (z C)^2)), each seen by the server

The first two are sums of integers modulo a power of two that no sum reaches, so that any secure sum
takes them and nothing is rounded but what a client holds: toward zero, to multiples of `step`,
which lengthens no vector. A client's norm is clipped to C whatever it holds.

Who learns what: under a real secure sum the server has the sum of those who uploaded and nothing
else: exactly (none, gaussian) or noisy (the distributed ones). Under `plain`, and with
`local_gaussian`, it has each client's vector as it is sent.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments import private_noise
from tff_experiments.aggregation import distributed_mean, local_dp, private_mean
from tff_experiments.privacy import distributed, mechanisms

MECHANISMS = ("none", "gaussian", "discrete_gaussian", "skellam", "local_gaussian")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What a client's vector can be."""

    dim: int
    """Its length."""
    l2_norm: float
    """L2 norm, at most: C."""
    largest: float
    """Magnitude of a coordinate, at most."""
    step: float = 1.0
    """Coordinates are multiples of it; others are cut to such in exact sums."""


class Sum:
    """How vectors are summed.

    Attributes:
        bounds: Of the vectors.
        arrivals: Clients that are counted on in a round: the noise and the estimates are for them.
        noise_stddev: Standard deviation of the noise in a coordinate of a round's sum, as planned.
    """

    def __init__(self, bounds: Bounds, mechanism: Any, *, num_clients: int, arrivals: int):
        """Takes what the vectors are.

        Args:
            bounds: Of a client's vector.
            mechanism: Of the privacy room, or None for no noise.
            num_clients: Clients in a round, at most.
            arrivals: Clients that are counted on.
        """
        self.bounds, self.arrivals = bounds, arrivals
        self._mechanism = mechanism
        noise = getattr(mechanism, "noise_multiplier", 0.0) * bounds.l2_norm
        is_local = isinstance(mechanism, mechanisms.LocalGaussian)
        self.noise_stddev = noise * math.sqrt(arrivals) if is_local else noise
        self._most = math.floor(bounds.largest / bounds.step)
        self._modulus = 2 ** (2 * self._most * num_clients + 1).bit_length()

    @property
    def type(self) -> tff.TensorType:
        """Of a client's vector, float64 [dim]."""
        return tff.TensorType(np.float64, [self.bounds.dim])

    def create(self) -> tff.templates.AggregationProcess:
        """Makes the process; its result is the sum, float64 [dim]."""
        m = self._mechanism
        if m is None or isinstance(m, mechanisms.Gaussian):
            return self._exact(m is not None)
        if isinstance(m, distributed.Distributed):
            return self._of_mean(distributed_mean.DistributedMeanFactory(m))
        local = local_dp.LocalMeanFactory(
            self.bounds.l2_norm, m.noise_multiplier, clients_per_round=self.arrivals
        )
        return self._of_mean(local)

    def _exact(self, is_noised: bool) -> tff.templates.AggregationProcess:
        @tff.tensorflow.computation(self.type)
        def to_integers(vector):
            if is_noised:
                vector = tf.cast(private_mean.clipped(vector, self.bounds.l2_norm)[0], tf.float64)
            whole = tf.cast(vector / self.bounds.step, tf.int64)
            return tf.math.floormod(tf.clip_by_value(whole, -self._most, self._most), self._modulus)

        @tff.tensorflow.computation(to_integers.type_signature.result)
        def from_integers(total):
            half = self._modulus // 2
            centred = tf.math.floormod(total + half, self._modulus) - half
            exact = tf.cast(centred, tf.float64) * self.bounds.step
            if not is_noised:
                return exact
            unit = private_noise.normal([self.bounds.dim])
            return exact + self.noise_stddev * tf.cast(unit, tf.float64)

        @tff.federated_computation
        def initialize():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(self.type, tff.CLIENTS)
        )
        def next_fn(state, value):
            sent = tff.federated_map(to_integers, value)
            total = tff.backends.mapreduce.federated_secure_modular_sum(sent, self._modulus)
            return tff.templates.MeasuredProcessOutput(
                state,
                tff.federated_map(from_integers, total),
                tff.federated_value((), tff.SERVER),
            )

        return tff.templates.AggregationProcess(initialize, next_fn)

    def _of_mean(self, factory) -> tff.templates.AggregationProcess:
        inner = factory.create(self.type, tff.TensorType(np.float32))

        @tff.tensorflow.computation(self.type)
        def times_arrivals(mean):
            return mean * float(self.arrivals)

        @tff.federated_computation(
            inner.initialize.type_signature.result, tff.FederatedType(self.type, tff.CLIENTS)
        )
        def next_fn(state, value):
            output = inner.next(state, value, tff.federated_value(1.0, tff.CLIENTS))
            return tff.templates.MeasuredProcessOutput(
                output.state,
                tff.federated_map(times_arrivals, output.result),
                output.measurements,
            )

        return tff.templates.AggregationProcess(inner.initialize, next_fn)
