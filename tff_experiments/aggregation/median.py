"""The coordinate-wise median of clients' updates.

Yin et al., ICML 2018, definition 1 (https://arxiv.org/abs/1803.01498): with m clients,

    g_k = median{ x_i,k : i in [m] }    in each coordinate k; of even m the mean of the middle two

Withstands any values from fewer than half of the clients. Weights do not count: an attacker could
claim any.
"""

import dataclasses

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.aggregation import stacked

METRICS_AGGREGATOR = tff.learning.metrics.sum_then_finalize
SUPPORTS_SECURE_SUM = False
STACKED = True


@dataclasses.dataclass(frozen=True)
class Hparams:
    """The median has no knobs."""


def median(rows: tf.Tensor, weights: tf.Tensor):
    """The rule, see `stacked.Rule`; it has no measurements."""
    del weights
    count = tf.shape(rows)[0]

    def of_columns(piece):
        columns = tf.transpose(piece)
        low = stacked.order_statistic(columns, (count - 1) // 2)
        high = tf.cond(
            count % 2 > 0, lambda: low, lambda: stacked.order_statistic(columns, count // 2)
        )
        # Halves first: the sum of two large numbers would overflow.
        return low / 2 + high / 2

    return tf.concat([of_columns(piece) for piece in stacked.pieces(rows)], 0), {}


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates."""
    del hparams
    return stacked.StackedFactory(median)
