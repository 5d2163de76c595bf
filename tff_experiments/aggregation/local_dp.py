"""Local differential privacy: each client adds the noise that protects its update alone.

    y_i = x_i min(1, C / ||x_i||) + z C N(0, 1),      mean = sum_i y_i / clients

The server may be anybody, and the noise in the mean of n is sqrt(n) times that of one trusted
server: for comparison. Weights are neither used nor sent; the sum is divided by a constant.
"""

import collections
import dataclasses
from typing import Any

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments import private_noise
from tff_experiments.aggregation import flat, private_mean

METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize
SUPPORTS_SECURE_SUM = False
STACKED = False


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of local differential privacy."""

    noise_multiplier: float = 1.0
    """Standard deviation of a client's noise over the clip, > 0."""
    clip: float = 0.1
    """L2 norm of an update before noise, at most."""

    def __post_init__(self):
        if not self.clip > 0 or not self.noise_multiplier > 0:
            raise ValueError("clip and noise_multiplier must be > 0.")


def privacy(hparams: Hparams) -> dict[str, Any]:
    """What `privacy.plan` has to know."""
    return {"mechanism": "local_gaussian", **dataclasses.asdict(hparams)}


def build(
    hparams: Hparams, mechanism: Any, plan: Any
) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates; arguments as of `dp_fedavg.build`."""
    return LocalMeanFactory(
        hparams.clip, mechanism.noise_multiplier, clients_per_round=plan.clients_per_round
    )


class LocalMeanFactory(tff.aggregators.WeightedAggregationFactory):
    """Makes the aggregation process; its measurement is `noise_stddev`, of a client's."""

    def __init__(self, clip: float, noise_multiplier: float, *, clients_per_round: float):
        """Takes C, z, and the number that the sum is divided by."""
        self._clip, self._stddev = clip, noise_multiplier * clip
        self._clients = float(clients_per_round)

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Makes the process for a structure of float tensors; raises TypeError for others."""
        layout = flat.Flat(value_type)

        @tff.tensorflow.computation(value_type)
        def noised(value):
            vector, _ = private_mean.clipped(layout.flatten(value), self._clip)
            return vector + self._stddev * private_noise.normal([layout.size])

        @tff.tensorflow.computation(noised.type_signature.result)
        def finish(total):
            mean = layout.unflatten(tf.cast(total / self._clients, layout.dtype))
            return mean, collections.OrderedDict(noise_stddev=tf.constant(self._stddev))

        @tff.federated_computation
        def initialize():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            del weight
            total = tff.federated_sum(tff.federated_map(noised, value))
            mean, measured = tff.federated_map(finish, total)
            return tff.templates.MeasuredProcessOutput(state, mean, measured)

        return tff.templates.AggregationProcess(initialize, next_fn)
