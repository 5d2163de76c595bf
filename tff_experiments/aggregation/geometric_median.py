"""RFA: the geometric median of clients' updates, weighted by examples.

Pillutla et al., IEEE TSP 2022, by their smoothed Weiszfeld algorithm
(https://arxiv.org/abs/1912.13445): with weights alpha_i, which sum to 1,

    beta_i = alpha_i / max(nu, ||z - w_i||)        z <- sum_i beta_i w_i / sum_i beta_i

which goes to the least of sum_i alpha_i ||z - w_i||. Withstands any values from clients with less
than half of the weight.

z is a mean of the rows, z = sum_i c_i w_i, so that its distances follow from the rows' inner
products, and iterations cost nothing:  ||z - w_i||^2 = G_ii - 2 (G c)_i + c^T G c.

Deviations: the paper has 3 iterations, each a round of communication, from the weighted mean,
which an attacker can put anywhere. Here there are as many as it takes, from the row with the least
sum of distances, averaged with the half of the rows that is closest to it.
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
    """Knobs of the geometric median."""

    iterations: int = 200
    """Steps of the Weiszfeld algorithm."""
    nu: float = 1e-6
    """Distances below it count as it."""

    def __post_init__(self):
        if self.iterations < 1:
            raise ValueError(f"iterations must be >= 1, got {self.iterations}.")
        if not self.nu > 0:
            raise ValueError(f"nu must be > 0, got {self.nu}.")


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates.

    Its measurements beside those of `stacked.StackedFactory`: `distance`, the weighted mean of the
    rows' distances to the result, and `largest_share`, the largest c_i.
    """

    def geometric_median(rows, weights):
        alpha = _normalized(tf.cast(weights, tf.float64))
        products = stacked.gram(rows)
        step = lambda c: _normalized(alpha / tf.maximum(_distances(products, c), hparams.nu))
        (c,) = tf.while_loop(
            lambda c: True,
            lambda c: (step(c),),
            (_start(products, alpha, hparams.nu),),
            maximum_iterations=hparams.iterations,
        )
        vector = tf.linalg.matvec(rows, tf.cast(c, rows.dtype), transpose_a=True)
        distance = tf.reduce_sum(alpha * _distances(products, c))
        return vector, {"distance": distance, "largest_share": tf.reduce_max(c)}

    return stacked.StackedFactory(geometric_median)


def _start(products: tf.Tensor, alpha: tf.Tensor, nu: float) -> tf.Tensor:
    distances = tf.sqrt(stacked.squared_distances(products))
    from_medoid = distances[tf.argmin(tf.linalg.matvec(distances, alpha))]
    half = tf.sort(from_medoid)[tf.shape(from_medoid)[0] // 2]
    return _normalized(alpha / tf.maximum(from_medoid, tf.maximum(half, nu)))


def _distances(products: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
    """||sum_j c_j w_j - w_i|| of rows with these inner products, [clients]."""
    along = tf.linalg.matvec(products, c)
    squares = tf.linalg.diag_part(products) - 2 * along + tf.tensordot(c, along, 1)
    return tf.sqrt(tf.maximum(squares, 0.0))


def _normalized(c: tf.Tensor) -> tf.Tensor:
    return c / tf.reduce_sum(c)
