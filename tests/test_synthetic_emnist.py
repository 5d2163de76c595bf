"""The generator's difficulty and speed, as its users were promised."""

import time

import numpy as np
import pytest
import tensorflow as tf

from tff_experiments import tasks
from tff_experiments.datasets import synthetic_emnist


def centralized_accuracy(name, data, epochs):
    task = tasks.BY_NAME[name].build(tasks.BY_NAME[name].Hparams(), data=data, seed=0)
    model = task.keras_model()
    model.compile(tf.keras.optimizers.Adam(1e-3), task.loss(), metrics=task.keras_metrics())
    columns = lambda split: (
        split["images"][..., None].astype(np.float32) / 255,
        split["labels"],
    )
    model.fit(*columns(data.train.all()), batch_size=64, epochs=epochs, verbose=0)
    return model.evaluate(*columns(data.test.all()), verbose=0)[1]


@pytest.mark.slow
def test_softmax_regression_stays_under_85_percent_where_the_cnn_passes_90():
    data = synthetic_emnist.generate(synthetic_emnist.Hparams(writers=400))
    assert centralized_accuracy("emnist_linear", data, epochs=20) < 0.85
    assert centralized_accuracy("emnist_cnn", data, epochs=4) > 0.90


@pytest.mark.slow
def test_3400_writers_of_200_examples_take_under_a_minute():
    start = time.perf_counter()
    data = synthetic_emnist.generate(
        synthetic_emnist.Hparams(writers=3400, examples=180, test_examples=20)
    )
    assert time.perf_counter() - start < 60
    assert data.train.total + data.test.total == 3400 * 200
