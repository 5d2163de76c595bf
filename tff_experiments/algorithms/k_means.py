"""Federated k-means: mini-batch k-means whose batches are cohorts.

Sculley 2010, "Web-scale k-means clustering", as `tff.learning.algorithms.build_fed_kmeans`. A
client assigns its points to the nearest of the centroids c_j and sends, for each, their number m_j
and how far their sum s_j is from m_j c_j; the server, which has seen n_j points at c_j,

    c_j <- c_j + sum_k (s_kj - m_kj c_j) / (n_j + sum_k m_kj),      n_j <- n_j + sum_k m_kj

which is (n_j c_j + sum_k s_kj) / (n_j + sum_k m_kj). So an aggregator that clips shortens a move,
and does not pull centroids to the origin.

The labels are not used. The task's model gives way to the centroids; its loss is the squared
distance to the nearest one. The first centroids are Gaussian, from the run's seed, and count as one
point each, as TFF has it; with `first_count` = 0 a cluster forgets its first centroid at once.
"""

import dataclasses

import tensorflow as tf

from tff_experiments.algorithms import composition, rules
from tff_experiments.algorithms import ingredients as ingredients_lib

NEEDS = ingredients_lib.Needs(server_step=False)
_LARGEST = float(2**20)  # No client has more points.


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of k-means."""

    clusters: int = 10
    """Number of centroids."""
    first_count: int = 1
    """Points that a first centroid counts as."""

    def __post_init__(self):
        for name, least in (("clusters", 1), ("first_count", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"k_means_{name} must be >= {least}, got {getattr(self, name)}.")


class Centroids(tf.keras.layers.Layer):
    """Points [b, ...] -> squared distances to the centroids, float32 [b, clusters]."""

    def __init__(self, clusters: int):
        super().__init__()
        self._clusters = clusters

    def build(self, input_shape):
        """Makes the centroids, [clusters, dim]."""
        dim = 1
        for size in input_shape[1:]:
            dim *= size
        first = tf.keras.initializers.RandomNormal(stddev=1.0)
        self.centroids = self.add_weight(
            "centroids", shape=[self._clusters, dim], initializer=first
        )

    def call(self, points):
        """The squared distances."""
        points = tf.reshape(points, [tf.shape(points)[0], -1])
        return tf.reduce_sum((points[:, tf.newaxis] - self.centroids) ** 2, -1)


def adapt_task(hparams: Hparams, task):
    """The task with the centroids as its model and the distance as its loss and metric.

    Args:
        hparams: The knobs.
        task: A `tasks.task.Task`.

    Returns:
        The same data and preprocessing, with another model.
    """

    class NearestDistance(tf.keras.losses.Loss):
        """Mean squared distance of points to their nearest centroids."""

        def call(self, y_true, y_pred):
            del y_true
            return tf.reduce_min(y_pred, -1)

    return dataclasses.replace(
        task,
        build_layers=lambda: [Centroids(hparams.clusters)],
        loss=NearestDistance,
        keras_metrics=lambda: [],
        per_example=lambda y, distances: {"loss": tf.reduce_min(distances, -1)},
        main_metric="loss",
    )


def build(hparams: Hparams, ingredients: ingredients_lib.Ingredients) -> composition.Process:
    """Makes the process, whose ingredients are of a task from `adapt_task`."""
    k = hparams.clusters

    def client_update(model, received, client):
        variables = rules.Weights.from_model(model)
        tf.nest.map_structure(lambda v, value: v.assign(value), variables, received.weights)
        sums = tf.zeros_like(received.weights.trainable[0])
        counts = tf.zeros([k], tf.int32)
        for batch in iter(client.data):
            output = model.forward_pass(batch, training=False)
            nearest = tf.argmin(output.predictions, -1, tf.int32)
            points = tf.reshape(batch[0], [tf.shape(nearest)[0], -1])
            sums += tf.math.unsorted_segment_sum(points, nearest, k)
            counts += tf.math.unsorted_segment_sum(tf.ones_like(nearest), nearest, k)
        totals = {
            "counts": rules.Total(counts, _LARGEST),
            "clients": rules.Total(tf.constant(1), 1),
        }
        at_centroids = tf.cast(counts, tf.float32)[:, tf.newaxis] * received.weights.trainable[0]
        moves = rules.Part([sums - at_centroids], tf.constant(1.0))
        return rules.ClientResult({"moves": moves}, totals)

    def server_update(step, weights, state, means, totals):
        del step  # A mean needs no optimizer.
        new_points = tf.cast(totals["counts"], tf.float32)
        moves = means["moves"][0] * tf.cast(totals["clients"], tf.float32)
        total = state + new_points
        moved = weights.trainable[0] + moves / tf.maximum(total, 1.0)[:, tf.newaxis]
        centroids = tf.where(new_points[:, tf.newaxis] > 0, moved, weights.trainable[0])
        metrics = {"empty_clusters": tf.reduce_sum(tf.cast(tf.equal(new_points, 0), tf.int32))}
        return weights._replace(trainable=[centroids]), total, metrics

    return composition.build(
        ingredients,
        rules.Rules(
            client_update=client_update,
            server_update=server_update,
            server_state=lambda weights: tf.fill([k], float(hparams.first_count)),
        ),
    )
