"""The coordinate-wise trimmed mean of clients' updates.

Yin et al., ICML 2018, definition 2 (https://arxiv.org/abs/1803.01498): with m clients, in each
coordinate k,

    g_k = 1 / (m - 2 b)  sum of x_i,k without the b largest and the b smallest,   b = floor(beta m)

Withstands any values from up to b clients. Weights do not count: an attacker could claim any.

Computed without sorting, from the least and the largest value that stay, l and h: with the others
clipped to these, those cut off contribute b l + b h.
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
    """Knobs of the trimmed mean."""

    beta: float = 0.2
    """Fraction of the clients that is cut off at each end."""

    def __post_init__(self):
        if not 0 <= self.beta < 0.5:
            raise ValueError(f"beta must be in [0, 0.5), got {self.beta}.")


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates.

    Its measurement beside those of `stacked.StackedFactory`: `trimmed`, values cut off at each end.
    """

    def trimmed_mean(rows, weights):
        del weights
        cut = stacked.fraction(rows, hparams.beta)
        vector = tf.concat([_of_columns(piece, cut) for piece in stacked.pieces(rows)], 0)
        return vector, {"trimmed": cut}

    return stacked.StackedFactory(trimmed_mean)


def _of_columns(piece: tf.Tensor, cut: tf.Tensor) -> tf.Tensor:
    columns, count = tf.transpose(piece), tf.shape(piece)[0]
    low = stacked.order_statistic(columns, cut)[:, tf.newaxis]
    high = stacked.order_statistic(columns, count - 1 - cut)[:, tf.newaxis]
    # Relative to the least, so that equal values give exactly that.
    above = tf.reduce_sum(tf.clip_by_value(columns, low, high) - low, 1, keepdims=True)
    above -= tf.cast(cut, piece.dtype) * (high - low)
    return tf.squeeze(low + above / tf.cast(count - 2 * cut, piece.dtype), 1)
