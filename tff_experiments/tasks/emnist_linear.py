"""Character recognition on EMNIST with logistic (softmax) regression. Weights start at 0: the loss
is convex.
"""

import dataclasses

from tensorflow.keras import layers

from tff_experiments.tasks import task

DEFAULT_DATASET = "emnist"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Logistic regression has no knobs."""


def build(
    hparams: Hparams, *, data, seed: int, name: str = "emnist_linear", shape=(28, 28)
) -> task.Task:
    """Makes the task; raises ValueError for images of another shape."""
    del hparams
    task.check_image_shape(data, name, shape)

    def build_layers(num_classes):
        return [layers.Flatten(), layers.Dense(num_classes, kernel_initializer="zeros")]

    return task.classification(name, build_layers, data, seed)
