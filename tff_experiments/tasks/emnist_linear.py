"""Character recognition on EMNIST with logistic (softmax) regression. Weights start at 0: the loss
is convex.
"""

import dataclasses

from tensorflow.keras import layers

from tff_experiments.tasks import task

DEFAULT_DATASET = "emnist"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of logistic regression."""

    inverted: bool = False
    """Turns pixels round. Federated EMNIST has paper 1 and ink 0, the original EMNIST, as MNIST,
    paper 0 and ink 1, from which logistic regression learns in fewer rounds."""


def build(
    hparams: Hparams, *, data, seed: int, name: str = "emnist_linear", shape=(28, 28)
) -> task.Task:
    """Makes the task; raises ValueError for images of another shape."""
    task.check_image_shape(data, name, shape)

    def build_layers(num_classes):
        turned = [layers.Rescaling(-1.0, offset=1.0)] if hparams.inverted else []
        return [
            *turned,
            layers.Flatten(),
            layers.Dense(num_classes, kernel_initializer="zeros"),
        ]

    return task.classification(name, build_layers, data, seed)
