"""Character recognition on EMNIST with two hidden layers of 200: the 2NN of McMahan et al. 2017,
section 3.
"""

import dataclasses

from tensorflow.keras import layers

from tff_experiments.tasks import initializers, task

DEFAULT_DATASET = "emnist"


@dataclasses.dataclass(frozen=True)
class Hparams(initializers.Hparams):
    """Knobs of the 2NN."""

    hidden_units: int = 200
    """Width of both hidden layers."""


def build(hparams: Hparams, *, data, seed: int, name: str = "emnist_2nn") -> task.Task:
    """Makes the task; raises ValueError for images that are not 28x28."""
    task.check_image_shape(data, name, (28, 28))

    def build_layers(num_classes):
        return [
            layers.Flatten(),
            layers.Dense(hparams.hidden_units, activation="relu", **hparams.of_layer()),
            layers.Dense(hparams.hidden_units, activation="relu", **hparams.of_layer()),
            layers.Dense(num_classes, **hparams.of_layer()),
        ]

    return task.classification(name, build_layers, data, seed)
