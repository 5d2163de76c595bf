"""Clients' inputs: how they are dealt to groups, and that each source gives the same batches."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments import runtime
from tff_experiments.datasets import batching
from tff_experiments.runtime import clients, local

INT = tff.TensorType(np.int32)
INTS = tff.SequenceType(INT)
# The fields' order is not alphabetical.
BATCHES = tff.SequenceType(
    collections.OrderedDict(
        y=tff.TensorType(np.int32, [None]), x=tff.TensorType(np.int32, [None, 2])
    )
)


@pytest.mark.parametrize("num_clients", [0, 1, 2, 16, 17, 100, 1000])
def test_clients_are_dealt_into_even_groups(num_clients):
    # Sizes of a heavy tail, and none.
    counts = [int(10 * x) for x in np.random.default_rng(num_clients).pareto(1.0, num_clients)]
    groups = clients.deal(counts)
    assert sorted(position for group in groups for position in group) == list(range(num_clients))
    most = clients.MIN_GROUPS + num_clients // clients.CLIENTS_PER_GROUP
    assert len(groups) == min(num_clients, most)
    # An empty client counts for one.
    work = [sum(counts[position] + 1 for position in group) for group in groups]
    assert work == sorted(work, reverse=True)
    # The last client went to the lightest group, which is not above the mean.
    assert not work or work[0] <= np.mean(work) + max(counts) + 1
    assert clients.deal(np.array(counts)) == groups


def process(work, member):
    """Sums a number per client."""

    @tff.federated_computation(
        tff.FederatedType(np.int32, tff.SERVER), tff.FederatedType(member, tff.CLIENTS)
    )
    def next_fn(state, values):
        return state, tff.federated_sum(tff.federated_map(work, values))

    return next_fn


@tff.tensorflow.computation(BATCHES)
def digest_of_batches(dataset):
    """31 h + size + sum((1, 2) x) + 3 sum(y (1, ..., size)), batch by batch, modulo a prime."""

    def step(digest, batch):
        x, y = tf.cast(batch["x"], tf.int64), tf.cast(batch["y"], tf.int64)
        rows = tf.range(1, tf.size(y) + 1)
        found = tf.size(y, tf.int64) + tf.reduce_sum(x * [1, 2])
        found += 3 * tf.reduce_sum(y * tf.cast(rows, tf.int64))
        return (31 * digest + found) % 1_000_003

    return dataset.reduce(np.int64(1), step)


def digest(batches):
    """The same in numpy, from [(x, y)]."""
    found = 1
    for x, y in batches:
        terms = len(y), (x * [1, 2]).sum(), 3 * (y * np.arange(1, len(y) + 1)).sum()
        found = (31 * found + int(sum(terms))) % 1_000_003
    return found


def preprocess(columns):
    return collections.OrderedDict(y=columns["labels"] * 5, x=columns["pixels"])


def make(num_examples):
    """Two epochs in batches of 3, shuffled."""
    rng = np.random.default_rng(num_examples)
    pixels = rng.integers(0, 99, (num_examples, 2)).astype(np.int32)
    examples = {"pixels": pixels, "labels": rng.integers(0, 99, num_examples).astype(np.int32)}
    knobs = {"batch_size": 3, "epochs": 2, "max_examples": 0, "preprocess": preprocess}
    return batching.make(examples, rng=rng, **knobs)


def rows_of(batches):
    """The batches in numpy."""
    cuts = [batches.order[a:b] for a, b in zip(batches.bounds, batches.bounds[1:], strict=False)]
    return [(batches.examples["pixels"][c], 5 * batches.examples["labels"][c]) for c in cuts]


SOURCES = {
    "batches": lambda batches: batches,
    "dataset": batching.as_dataset,
    "list": lambda batches: [{"x": x, "y": y} for x, y in rows_of(batches)],
}


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_gives_the_same_batches(name):
    sizes = 7, 0, 1, 6  # An odd remainder, nothing, one row, full batches.
    next_fn = process(digest_of_batches, BATCHES)
    with runtime.use(client_workers=2):
        for size in sizes:
            assert next_fn(0, [SOURCES[name](make(size))])[1] == digest(rows_of(make(size)))
        total = next_fn(0, [SOURCES[name](make(size)) for size in sizes])[1]
    assert total == sum(digest(rows_of(make(size))) for size in sizes)


@tff.tensorflow.computation(INTS)
def digest_of_numbers(numbers):
    return numbers.reduce(np.int32(0), lambda found, number: 10 * found + number)


@pytest.mark.parametrize("numbers", [[3, 1, 2], [7], []])
def test_elements_that_are_no_batches_keep_their_order(numbers):
    dataset = tf.data.Dataset.from_tensor_slices(np.array(numbers, np.int32))
    wanted = int("".join(map(str, numbers)) or 0)
    with runtime.use():
        for value in (numbers, dataset):
            assert process(digest_of_numbers, INTS)(0, [value])[1] == wanted


def test_clients_of_a_round_must_hold_their_data_in_one_way():
    """Otherwise the first client's columns and preprocessing would be taken for all."""
    batches = make(4)
    turned = batches._replace(examples=dict(reversed(batches.examples.items())))
    others = [
        SOURCES["list"](batches),
        turned,
        batches._replace(preprocess=lambda c: preprocess(c)),
    ]
    with runtime.use():
        next_fn = process(digest_of_batches, BATCHES)
        for other in others:
            with pytest.raises(local.ClientError, match=r"client 1: .*in one way"):
                next_fn(0, [batches, other])


@pytest.mark.parametrize("sizes", [(0, 0), (2, 1)], ids=["empty", "ragged"])
def test_a_list_refuses_batches_that_cannot_be_cut_again(sizes):
    x, y = np.zeros((sizes[0], 2), np.int32), np.zeros(sizes[1], np.int32)
    with pytest.raises(TypeError, match="one row or more"):
        clients.feeds([{"x": x, "y": y}], BATCHES)


def test_a_dataset_of_other_elements_is_refused():
    """TensorFlow itself checks dtypes alone."""
    with pytest.raises(TypeError, match=r"hold batches of int32, got int32\[3\]"):
        clients.feeds(tf.data.Dataset.from_tensors(np.zeros(3, np.int32)), INTS)


@tff.tensorflow.computation(collections.OrderedDict(data=INTS, extras=np.float32))
def sum_times_extras(value):
    total = value["data"].reduce(np.int32(0), lambda a, b: a + b)
    return tf.cast(total, tf.float32) * value["extras"]


def test_extras_reach_a_process_that_takes_them():
    next_fn = process(sum_times_extras, sum_times_extras.type_signature.parameter)
    inputs = [clients.ClientInputs([1, 2], extras=0.5), clients.ClientInputs([4], extras=-2.0)]
    with runtime.use():
        assert next_fn(0, inputs)[1] == 3 * 0.5 - 4 * 2
        with pytest.raises(local.ClientError, match="client 0: expected"):
            next_fn(0, [clients.ClientInputs([1, 2])])


def test_a_client_has_a_name_and_leaves_and_work():
    named = clients.ClientInputs([1, 2], client="writer9")
    assert clients.ClientInputs.of(named, 3) is named
    assert clients.ClientInputs.of([1, 2], 3) == clients.ClientInputs([1, 2], client="3")
    assert clients.ClientInputs.of(clients.ClientInputs([1, 2]), 3).client == "3"
    assert named.leaves(INTS) == [[1, 2]]
    both = collections.OrderedDict(data=INTS, extras=collections.OrderedDict(b=INT, a=INT))
    assert named._replace(extras={"a": 5, "b": 6}).leaves(tff.to_type(both)) == [[1, 2], 6, 5]
    # Examples, elements, batches, and one for what has no length.
    work = [make(7), [1, 2, 3], tf.data.Dataset.range(9).batch(4), np.zeros(8)]
    assert [clients.ClientInputs(data).num_examples() for data in work] == [14, 3, 3, 1]
    unknown = tf.data.Dataset.range(9).filter(lambda x: x > 3)
    assert clients.ClientInputs(unknown).num_examples() == 1
