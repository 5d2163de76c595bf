"""A task of your own: is a digit odd? Embedded digits, a small dense network.

    python scripts/run.py --plugin=examples/my_task.py --task=my_task --my_task_units=16

A task names the data that it is for by default, and says what the model is, how a batch of columns
becomes (x, y), what is made small, and what is measured.
"""

import dataclasses

import tensorflow as tf
from tensorflow.keras import layers

from tff_experiments.tasks import task

ROOM = "task"
DEFAULT_DATASET = "digits"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs; each becomes a flag, its help the text below it."""

    units: int = 32
    """Units of the hidden layer."""


def build(hparams: Hparams, *, data, seed: int) -> task.Task:
    """Makes the task; `seed` is that of the initial weights."""
    shape = data.train.element_spec["images"].shape

    def per_example(odd, logits):
        loss = tf.nn.sigmoid_cross_entropy_with_logits(odd, logits)
        right = tf.cast(tf.equal(odd > 0.5, logits > 0), tf.float32)
        return {"loss": tf.squeeze(loss, -1), "accuracy": tf.squeeze(right, -1)}

    return task.Task(
        name="my_task",
        seed=seed,
        build_layers=lambda: [
            layers.Flatten(),
            layers.Dense(hparams.units, activation="relu"),
            layers.Dense(1),
        ],
        preprocess=lambda columns: (
            task.as_floats(columns["images"])[..., tf.newaxis],
            tf.cast(columns["labels"] % 2, tf.float32)[:, tf.newaxis],
        ),
        batch_spec=(
            tf.TensorSpec([None, *shape, 1], tf.float32),
            tf.TensorSpec([None, 1], tf.float32),
        ),
        loss=lambda: tf.keras.losses.BinaryCrossentropy(from_logits=True),
        keras_metrics=lambda: [tf.keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)],
        per_example=per_example,
        main_metric="accuracy",
    )
