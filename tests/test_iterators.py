"""Loops over a client's batches as slices of variables: where, and with the same result."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments import runtime
from tff_experiments.runtime import client_work, iterators, tensorflow_part

BATCH = (tf.TensorSpec([None, 2], tf.float32), tf.TensorSpec([None], tf.int32))
BATCHES = tff.SequenceType(tff.types.tensorflow_to_type(BATCH))
SPEC = tf.nest.flatten(BATCH)


@tff.tensorflow.computation(BATCHES)
@tf.function
def loop(dataset):
    """Depends on the order of the batches and on where they are cut."""
    total, count = tf.constant(0.0), tf.constant(0)
    for x, y in iter(dataset):
        count += 1
        total = 2 * total + tf.reduce_sum(x) * tf.cast(tf.reduce_sum(y) + 10 * count, tf.float32)
    return total, count


@tff.tensorflow.computation(BATCHES)
def reduce(dataset):
    return dataset.reduce(0.0, lambda total, batch: total + tf.reduce_sum(batch[0]))


@tff.tensorflow.computation(BATCHES)
@tf.function
def two_passes(dataset):
    total = tf.constant(0.0)
    for x, _ in iter(dataset):
        total += tf.reduce_sum(x)
    for x, _ in iter(dataset):
        total += tf.reduce_sum(x)
    return total


@tff.tensorflow.computation(BATCHES)
@tf.function
def halves(dataset):
    total = tf.constant(0.0)
    for x, _ in iter(dataset.take(1)):
        total += tf.reduce_sum(x)
    return total


def process(work):
    """Sums the clients' results at the server."""

    @tff.federated_computation(
        tff.FederatedType(np.int32, tff.SERVER), tff.FederatedType(BATCHES, tff.CLIENTS)
    )
    def next_fn(state, values):
        return state, tff.federated_sum(tff.federated_map(work, values))

    return next_fn


def client(sizes):
    rng = np.random.default_rng(len(sizes))
    return [
        (rng.integers(0, 9, (n, 2)).astype(np.float32), np.arange(n, dtype=np.int32)) for n in sizes
    ]


def rewritten(work):
    part = tensorflow_part.unpack(work, "part")
    return iterators.rewrite(part, part.parameters[0], SPEC)


def test_only_a_lone_pass_over_the_data_set_is_rewritten():
    part = rewritten(loop)
    nodes = [
        *part.graph_def.node,
        *(n for f in part.graph_def.library.function for n in f.node_def),
    ]
    left = {node.op for node in nodes}
    assert not left & {"MakeIterator", "IteratorGetNextAsOptional"}
    assert len(part.parameters) == 4  # The data set, x, y, sizes.
    for other in (reduce, two_passes, halves):
        before = tensorflow_part.unpack(other, "part").graph_def
        assert rewritten(other) is None
        assert tensorflow_part.unpack(other, "part").graph_def == before


@pytest.mark.parametrize(
    "work", [loop, reduce, two_passes, halves], ids=["loop", "reduce", "two", "take"]
)
@pytest.mark.parametrize("sizes", [[3, 3, 2], [5], [], [4, 1, 4, 1]], ids=str)
def test_the_result_is_that_of_the_data_set(work, sizes, monkeypatch):
    values = [client(sizes), client([2, 1])]
    with runtime.use():
        got = process(work)(0, values)
    monkeypatch.setattr(client_work.iterators, "rewrite", lambda *args: None)
    with runtime.use():
        assert process(work)(0, values) == got


def test_federated_averaging_is_rewritten():
    """What keeps the speed of small clients: TFF's training loop has the form that is known."""

    def model_fn():
        return tff.learning.models.from_keras_model(
            tf.keras.Sequential([tf.keras.layers.Dense(3, input_shape=(2,))]),
            input_spec=BATCH,
            loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )

    next_fn = tff.learning.algorithms.build_weighted_fed_avg(
        model_fn,
        tff.learning.optimizers.build_sgdm(0.1),
        loop_implementation=tff.learning.LoopImplementation.DATASET_ITERATOR,
    ).next
    assert rewritten(tff.backends.mapreduce.get_map_reduce_form_for_computation(next_fn).work)
