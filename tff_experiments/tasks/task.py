"""What a task is: a Keras model, how examples enter it, its loss and its metrics.

Keras models that TFF has traced may turn into TF1 models, so that `keras_model()` makes a fresh one
for each use. It sets Keras' seed first: initial weights are constants of the process that is built
from them.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.datasets import federated_data


@dataclasses.dataclass(frozen=True)
class Task:
    """One learning problem.

    Attributes:
        name: A key of `tasks.BY_NAME`.
        seed: Seed of the initial weights.
        build_layers: Makes the model's layers, the first of which fixes the input's shape.
        preprocess: Columns of a batch {field: [b, ...]} -> (x, y), in TensorFlow.
        batch_spec: `tf.TensorSpec`s of (x, y).
        loss: Makes the Keras loss of (y, output).
        keras_metrics: Makes the Keras metrics that clients report beside the loss.
        per_example: (y, output) -> {metric: float32 [b]}; a set's metric is its mean. Holds "loss".
        main_metric: The key of `per_example` that a reader looks at first.
    """

    name: str
    seed: int
    build_layers: Callable[[], Sequence[tf.keras.layers.Layer]]
    preprocess: Callable
    batch_spec: tuple[tf.TensorSpec, tf.TensorSpec]
    loss: Callable[[], tf.keras.losses.Loss]
    keras_metrics: Callable[[], list[tf.keras.metrics.Metric]]
    per_example: Callable
    main_metric: str

    def keras_model(self) -> tf.keras.Model:
        """Makes the model with the initial weights that `seed` gives."""
        tf.keras.utils.set_random_seed(self.seed)
        model = tf.keras.Sequential(self.build_layers())
        model.build(self.batch_spec[0].shape)
        return model

    def weights_of_seed(self, seed: int) -> list[np.ndarray]:
        """The first trainable weights that another seed gives."""
        model = dataclasses.replace(self, seed=seed).keras_model()
        return [variable.numpy() for variable in model.trainable_variables]

    def model_fn(self) -> tff.learning.models.VariableModel:
        """Makes the model as TFF takes it."""
        return tff.learning.models.from_keras_model(
            self.keras_model(),
            input_spec=self.batch_spec,
            loss=self.loss(),
            metrics=self.keras_metrics(),
        )


def as_floats(images: tf.Tensor) -> tf.Tensor:
    """Images [b, ...] in 0 .. 1: uint8 is divided by 255, floats pass."""
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255
    return images


def classification(name: str, build_layers, data: federated_data.FederatedData, seed: int) -> Task:
    """Image classification by logits: sparse cross-entropy and accuracy.

    Args:
        name: The task's name.
        build_layers: num_classes -> layers that map images [b, height, width, 1] to logits [b,
            num_classes].
        data: What it is trained on: gives the images' shape and the number of classes.
        seed: Seed of the initial weights.

    Returns:
        The `Task`.
    """

    def per_example(labels, logits):
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        right = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
        return {"loss": loss, "accuracy": tf.cast(right, tf.float32)}

    shape = data.train.element_spec["images"].shape
    return Task(
        name=name,
        seed=seed,
        build_layers=lambda: build_layers(data.num_classes),
        preprocess=lambda columns: (
            as_floats(columns["images"])[..., tf.newaxis],
            columns["labels"],
        ),
        batch_spec=(tf.TensorSpec([None, *shape, 1], tf.float32), tf.TensorSpec([None], tf.int32)),
        loss=lambda: tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        keras_metrics=lambda: [tf.keras.metrics.SparseCategoricalAccuracy("accuracy")],
        per_example=per_example,
        main_metric="accuracy",
    )


def check_image_shape(
    data: federated_data.FederatedData, name: str, shape: tuple[int, ...]
) -> None:
    """Raises ValueError unless the data's images have the shape that the task's model is made
    for.
    """
    spec = data.train.element_spec.get("images")
    if spec is None or spec.shape != shape:
        found = spec.shape if spec else sorted(data.train.element_spec)
        raise ValueError(
            f"task {name} wants images of shape {shape}, data set {data.name} has {found}."
        )
