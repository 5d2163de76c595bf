"""What is not rewritten: TFF's own code; what still is: a user's layers, losses and metrics."""

import gc
import importlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from tensorflow.python.autograph.core import config
from tensorflow.python.autograph.impl import conversion
from tensorflow_federated.python.learning.models import keras_utils

import tff_experiments
from tff_experiments import tracing

SPEC = (tf.TensorSpec([None, 1], tf.float32), tf.TensorSpec([None, 1], tf.float32))
X = np.float32([[1.0], [2.0]])


class Halved(tf.keras.layers.Layer):
    """Halves a batch of which the sum is large: `if` over a tensor."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")

    def call(self, x):
        if tf.reduce_sum(x) > 2.0:
            x = x / 2.0
        return x * self.scale


class Branching(tf.keras.losses.Loss):
    """Squared error, twice that of a batch whose labels' sum is large."""

    def call(self, y, output):
        error = (y - output) ** 2
        if tf.reduce_sum(y) > 10.0:
            error = 2.0 * error
        return error


class Positives(tf.keras.metrics.Sum):
    """Counts examples by a loop over a tensor."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        count = 0.0
        for value in tf.reshape(y_pred, [-1]):
            if value > 0.6:
                count += 1.0
        return super().update_state(count)


@pytest.mark.parametrize(("labels", "factor"), [([[0.0], [0.0]], 1), ([[8.0], [8.0]], 2)])
def test_a_users_layers_losses_and_metrics_may_branch_on_tensors(labels, factor, local_context):
    tracing.make_cheaper()

    def model_fn():
        model = tf.keras.Sequential([tf.keras.Input((1,)), Halved()])
        return tff.learning.models.from_keras_model(
            model, input_spec=SPEC, loss=Branching(), metrics=[Positives("positives")]
        )

    process = tff.learning.algorithms.build_weighted_fed_avg(
        model_fn, tff.learning.optimizers.build_sgdm(0.1)
    )
    y = np.float32(labels)
    data = tf.data.Dataset.from_tensors((X, y))
    output = process.next(process.initialize(), [data])
    metrics = output.metrics["client_work"]["train"]
    assert metrics["positives"] == 1
    assert metrics["loss"] == pytest.approx(factor * np.mean((y - X / 2) ** 2))
    gradient = factor * np.mean(2 * (X / 2 - y) * X / 2)
    weights = process.get_model_weights(output.state).trainable
    assert weights[0] == pytest.approx(1 - 0.1 * gradient, rel=1e-6)


def test_tffs_code_is_left_alone_once_and_ours_and_users_is_not():
    tracing.make_cheaper()
    rules = config.CONVERSION_RULES
    tracing.make_cheaper()
    assert config.CONVERSION_RULES is rules
    sgd = tff.learning.optimizers.build_sgdm(0.1)
    for of_tff in (keras_utils._KerasModel.forward_pass, sgd.next):
        assert conversion.is_allowlisted(of_tff)
    for other in (Halved.call, tracing.make_cheaper):
        assert not conversion.is_allowlisted(other)


def test_the_modules_are_there_in_this_version():
    """A module that was renamed would silently be converted again."""
    for name in tracing.MODULES:
        __import__(name)


@pytest.mark.parametrize(("before", "after"), [(700, 20_000), (0, 0), (50_000, 50_000)])
def test_the_package_makes_collections_rare_but_for_who_has_chosen(before, after):
    kept = gc.get_threshold()
    try:
        gc.set_threshold(before, 11, 12)
        importlib.reload(tff_experiments)
        assert gc.get_threshold() == (after, 11, 12)
    finally:
        gc.set_threshold(*kept)
