"""Digit recognition on MNIST with the CNN of McMahan et al. 2017, section 3: 1,663,370 weights, no
dropout.
"""

import dataclasses

from tensorflow.keras import layers

from tff_experiments.tasks import task

DEFAULT_DATASET = "mnist"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """McMahan's CNN has no knobs."""


def build(hparams: Hparams, *, data, seed: int) -> task.Task:
    """Makes the task; raises ValueError for images that are not 28x28."""
    del hparams
    task.check_image_shape(data, "mnist_cnn", (28, 28))

    def build_layers(num_classes):
        return [
            layers.Conv2D(32, 5, padding="same", activation="relu"),
            layers.MaxPool2D(2),
            layers.Conv2D(64, 5, padding="same", activation="relu"),
            layers.MaxPool2D(2),
            layers.Flatten(),
            layers.Dense(512, activation="relu"),
            layers.Dense(num_classes),
        ]

    return task.classification("mnist_cnn", build_layers, data, seed)
