"""Krum and multi-Krum: the updates that are closest to their neighbours.

Blanchard et al., NeurIPS 2017, section 4 (https://arxiv.org/abs/1703.02757): of n clients, f of
whom may send anything,

    s(i) = sum of ||V_i - V_j||^2 over the n - f - 2 rows V_j closest to V_i
    KR   = V_i with the least s(i)              multi-Krum: the mean of the m rows with the least

Its guarantee needs n >= 2 f + 3. Where a cohort is smaller, one neighbour counts at least.
f is a fraction of the round's clients here, since their number changes. Weights do not count: an
attacker could claim any.
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
    """Knobs of Krum."""

    attackers: float = 0.2
    """Fraction of a round's clients that may send anything: f = floor(attackers n)."""
    chosen: int = 1
    """How many updates are averaged: 1 is Krum, more is multi-Krum (m), 0 is n - f."""

    def __post_init__(self):
        if not 0 <= self.attackers < 0.5:
            raise ValueError(f"attackers must be in [0, 0.5), got {self.attackers}.")
        if self.chosen < 0:
            raise ValueError(f"chosen must be >= 0, got {self.chosen}.")


def build(hparams: Hparams) -> tff.aggregators.WeightedAggregationFactory:
    """Makes the aggregator of model updates.

    Its measurements beside those of `stacked.StackedFactory`: `assumed_attackers` (f), `chosen`
    (updates that are averaged) and `score` (the largest of theirs).
    """

    def krum(rows, weights):
        del weights
        count, attackers = tf.shape(rows)[0], stacked.fraction(rows, hparams.attackers)
        chosen = tf.minimum(hparams.chosen or count - attackers, count)
        scores = _scores(rows, tf.maximum(count - attackers - 2, 1))
        least, indices = tf.math.top_k(-scores, chosen)
        vector = tf.reduce_mean(tf.gather(rows, indices), 0)
        return vector, {"assumed_attackers": attackers, "chosen": chosen, "score": -least[-1]}

    return stacked.StackedFactory(krum)


def _scores(rows: tf.Tensor, neighbours: tf.Tensor) -> tf.Tensor:
    distances = stacked.squared_distances(stacked.gram(rows))
    # A row is no neighbour of its own, though others may equal it.
    alone = tf.linalg.set_diag(distances, -tf.ones_like(distances[0]))
    return tf.reduce_sum(tf.sort(alone, axis=1)[:, 1 : neighbours + 1], 1)
