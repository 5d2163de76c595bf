"""Character recognition on EMNIST with TFF's `cnn_dropout`: 1,206,590 weights for 62 classes.

Reddi et al. 2021, table 8 (https://arxiv.org/abs/2003.00295). Ends in logits where TFF's ends in a
softmax: the same function, with a loss that does not overflow.
"""

import dataclasses

from tensorflow.keras import layers

from tff_experiments.tasks import task

DEFAULT_DATASET = "emnist"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the CNN."""

    dropout: bool = True
    """Whether the two dropout layers are there."""
    pool_first: bool = False
    """Pools between the convolutions: 1,018,174 weights (Kairouz, Liu, Steinke 2021)."""


def build(hparams: Hparams, *, data, seed: int) -> task.Task:
    """Makes the task; raises ValueError for images that are not 28x28."""
    task.check_image_shape(data, "emnist_cnn", (28, 28))
    dropout = layers.Dropout if hparams.dropout else lambda rate: layers.Dropout(0.0)

    def build_layers(num_classes):
        second = [layers.Conv2D(64, 3, activation="relu"), layers.MaxPool2D(2)]
        return [
            layers.Conv2D(32, 3, activation="relu"),
            *(reversed(second) if hparams.pool_first else second),
            dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            dropout(0.5),
            layers.Dense(num_classes),
        ]

    return task.classification("emnist_cnn", build_layers, data, seed)
