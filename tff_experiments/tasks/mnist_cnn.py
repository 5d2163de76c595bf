"""Digit recognition on MNIST with the CNN of McMahan et al. 2017, section 3: 1,663,370 weights, no
dropout.
"""

from tensorflow.keras import layers

from tff_experiments.tasks import initializers, task

DEFAULT_DATASET = "mnist"
Hparams = initializers.Hparams


def build(hparams: Hparams, *, data, seed: int) -> task.Task:
    """Makes the task; raises ValueError for images that are not 28x28."""
    task.check_image_shape(data, "mnist_cnn", (28, 28))

    def build_layers(num_classes):
        return [
            layers.Conv2D(32, 5, padding="same", activation="relu", **hparams.of_layer()),
            layers.MaxPool2D(2),
            layers.Conv2D(64, 5, padding="same", activation="relu", **hparams.of_layer()),
            layers.MaxPool2D(2),
            layers.Flatten(),
            layers.Dense(512, activation="relu", **hparams.of_layer()),
            layers.Dense(num_classes, **hparams.of_layer()),
        ]

    return task.classification("mnist_cnn", build_layers, data, seed)
