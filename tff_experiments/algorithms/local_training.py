"""The one loop in which clients train.

    w = initial;  for each batch b:  w = optimizer(w, correct(gradient of b's loss at w, w, b))

Written as TFF writes it (`build_model_delta_client_work`, DATASET_ITERATOR): with nothing to
correct the same bits come out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff


class Trained(NamedTuple):
    """What came out of a client's training; structures mirror the trainable weights."""

    delta: Any  # initial - final: the direction of a gradient.
    weights: Any  # The final ones.
    num_examples: tf.Tensor  # int64 []
    num_steps: tf.Tensor  # int32 []


def train(
    model: tff.learning.models.VariableModel,
    initial: tff.learning.models.ModelWeights,
    data: tf.data.Dataset,
    *,
    optimizer: tff.learning.optimizers.Optimizer,
    hparams: Any = None,
    correct: Callable[[Any, Any, Any], Any] | None = None,
    state: Any = None,
    loss_of: Callable[[Any, Any], tf.Tensor] | None = None,
) -> Trained:
    """Trains `model`, whose variables are overwritten. To be called inside of a `tf.function`.

    Args:
        model: Its metrics count the examples that are seen.
        initial: Where to begin.
        data: Batches.
        optimizer: Makes the steps.
        hparams: Of the optimizer, such as this round's learning rate; None leaves its own.
        correct: (gradients, weights, batch) -> gradients; structures as the trainable weights.
        state: A state of the optimizer that all steps start from, and none changes (Mime); None
            begins with a new one, which steps change.
        loss_of: (batch, `BatchOutput`) -> what is made small, float32 []; None takes the model's.

    Returns:
        What came out.
    """
    variables = tff.learning.models.ModelWeights.from_model(model)
    held = variables.trainable

    tf.nest.map_structure(lambda v, value: v.assign(value), variables, initial)
    optimizer_state, examples, steps = _initial(optimizer, hparams, held, state)
    for batch in iter(data):
        with tf.GradientTape() as tape:
            output = model.forward_pass(batch, training=True)
            loss = output.loss if loss_of is None else loss_of(batch, output)
        gradients = tape.gradient(loss, held)
        if correct is not None:
            gradients = correct(gradients, held, batch)
        new_state, new = optimizer.next(
            optimizer_state, tuple(tf.nest.flatten(held)), tuple(tf.nest.flatten(gradients))
        )
        if state is None:
            optimizer_state = new_state
        new = tf.nest.pack_sequence_as(held, new)
        tf.nest.map_structure(lambda v, value: v.assign(value), held, new)
        examples += num_examples(output)
        steps += 1
    delta = tf.nest.map_structure(tf.subtract, initial.trainable, held)
    return Trained(delta, tf.nest.map_structure(tf.convert_to_tensor, held), examples, steps)


def _initial(optimizer, hparams, held, state):
    # Tuples: a loop over a data set would try to stack the tensors of a list.
    specs = tuple(tf.TensorSpec(v.shape, v.dtype) for v in tf.nest.flatten(held))
    begun = optimizer.initialize(specs) if state is None else state
    if hparams is not None:
        begun = optimizer.set_hparams(begun, hparams)
    return begun, tf.constant(0, tf.int64), tf.constant(0)


def full_gradient(
    model: tff.learning.models.VariableModel,
    weights: tff.learning.models.ModelWeights,
    data: tf.data.Dataset,
) -> tuple[Any, tf.Tensor]:
    """The gradient of the mean loss over all of a client's examples, and their number, int64 [].

    To be called inside of a `tf.function`. The model's metrics count the examples.
    """
    variables = tff.learning.models.ModelWeights.from_model(model)
    tf.nest.map_structure(lambda v, value: v.assign(value), variables, weights)
    held = tuple(tf.nest.flatten(variables.trainable))
    total, examples = tuple(tf.zeros_like(v) for v in held), tf.constant(0, tf.int64)
    for batch in iter(data):
        with tf.GradientTape() as tape:
            output = model.forward_pass(batch, training=True)
        count = num_examples(output)
        gradients = tape.gradient(output.loss, held)
        total = tuple(
            t + tf.cast(count, g.dtype) * g for t, g in zip(total, gradients, strict=True)
        )
        examples += count
    mean = [tf.math.divide_no_nan(t, tf.cast(examples, t.dtype)) for t in total]
    return tf.nest.pack_sequence_as(variables.trainable, mean), examples


def values(model: tff.learning.models.VariableModel) -> tff.learning.models.ModelWeights:
    """What the model's variables hold, as tensors."""
    variables = tff.learning.models.ModelWeights.from_model(model)
    return tf.nest.map_structure(tf.convert_to_tensor, variables)


def mean_loss(
    model: tff.learning.models.VariableModel,
    weights: tff.learning.models.ModelWeights,
    data: tf.data.Dataset,
) -> tf.Tensor:
    """The model's mean loss over a client's examples, float32 []; its metrics begin anew after.

    To be called inside of a `tf.function`.
    """
    variables = tff.learning.models.ModelWeights.from_model(model)
    tf.nest.map_structure(lambda v, value: v.assign(value), variables, weights)
    total, examples = tf.constant(0.0), tf.constant(0, tf.int64)
    for batch in iter(data):
        output = model.forward_pass(batch, training=False)
        total += output.loss * tf.cast(num_examples(output), tf.float32)
        examples += num_examples(output)
    model.reset_metrics()
    return tf.math.divide_no_nan(total, tf.cast(examples, tf.float32))


def num_examples(output: tff.learning.models.BatchOutput) -> tf.Tensor:
    """Examples of one batch, int64 []."""
    if output.num_examples is None:
        return tf.shape(output.predictions, out_type=tf.int64)[0]
    return tf.cast(output.num_examples, tf.int64)


def example_weight(weighting: str, trained: Trained) -> tf.Tensor:
    """What a client's update weighs, float32 []: its "examples", or 1 if "uniform"."""
    if weighting == "examples":
        return tf.cast(trained.num_examples, tf.float32)
    return tf.constant(1.0)
