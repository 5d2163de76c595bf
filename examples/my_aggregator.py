"""An aggregator of your own: each client's update scaled to one norm before the mean.

    python scripts/run.py --plugin=examples/my_aggregator.py --aggregator=my_aggregator \
        --my_aggregator_norm=0.5 --task=digits_linear

An aggregator is a TFF factory; TFF's compose with your own. Here a client's update is changed, and
TFF's mean does the rest. The constants say how it may be used.
"""

import dataclasses

import tensorflow as tf
import tensorflow_federated as tff

ROOM = "aggregator"
SUPPORTS_SECURE_SUM = False  # It sends floats in the clear.
STACKED = False  # The server needs only the sum.
METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs; each becomes a flag, its help the text below it."""

    norm: float = 1.0
    """L2 norm of every client's update."""


class NormalizedMean(tff.aggregators.WeightedAggregationFactory):
    """Scales, then averages."""

    def __init__(self, norm: float):
        self._norm, self._mean = norm, tff.aggregators.MeanFactory(no_nan_division=True)

    def create(self, value_type, weight_type):
        """Makes the process for updates of one type."""
        mean = self._mean.create(value_type, weight_type)

        @tff.tensorflow.computation(value_type)
        def scale(value):
            factor = tf.math.divide_no_nan(self._norm, tf.linalg.global_norm(value))
            return tf.nest.map_structure(lambda x: x * factor, value)

        @tff.federated_computation(*mean.next.type_signature.parameter)
        def next_fn(state, value, weight):
            return mean.next(state, tff.federated_map(scale, value), weight)

        return tff.templates.AggregationProcess(mean.initialize, next_fn)


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the factory."""
    return NormalizedMean(hparams.norm)
