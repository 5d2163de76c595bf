"""The EMNIST autoencoder of Reddi et al. 2021, table 9: 784-1000-500-250-30-250-500-1000-784,
2,837,314 weights.

A regression: the loss is the squared error, and `mse` is the metric to look at (small is good).
Input 1 is paper.
"""

import dataclasses

import tensorflow as tf
from tensorflow.keras import layers

from tff_experiments.tasks import task

DEFAULT_DATASET = "emnist"
WIDTHS = (1000, 500, 250, 30, 250, 500, 1000, 784)


@dataclasses.dataclass(frozen=True)
class Hparams:
    """The autoencoder has no knobs."""


def build(hparams: Hparams, *, data, seed: int) -> task.Task:
    """Makes the task; raises ValueError for images that are not 28x28."""
    del hparams
    task.check_image_shape(data, "emnist_autoencoder", (28, 28))

    def preprocess(columns):
        x = tf.reshape(task.as_floats(columns["images"]), [-1, 784])
        return x, x

    def per_example(wanted, output):
        mse = tf.reduce_mean((wanted - output) ** 2, axis=1)
        return {"loss": mse, "mse": mse}

    spec = tf.TensorSpec([None, 784], tf.float32)
    activations = {30: "linear"}
    return task.Task(
        name="emnist_autoencoder",
        seed=seed,
        build_layers=lambda: [
            layers.Dense(w, activation=activations.get(w, "sigmoid")) for w in WIDTHS
        ],
        preprocess=preprocess,
        batch_spec=(spec, spec),
        loss=tf.keras.losses.MeanSquaredError,
        keras_metrics=lambda: [tf.keras.metrics.MeanSquaredError("mse")],
        per_example=per_example,
        main_metric="mse",
    )
