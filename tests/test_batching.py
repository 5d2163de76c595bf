"""A client's batches: every example once an epoch, caps, B = infinity."""

import numpy as np
import pytest

from tff_experiments.datasets import batching

EXAMPLES = {"images": np.arange(23)[:, None], "labels": np.arange(23)}


def doubled(columns):
    return columns["images"] * 2, columns["labels"]


def make(seed=0, **knobs):
    knobs = {"batch_size": 5, "epochs": 1, "max_examples": 0, "preprocess": doubled, **knobs}
    return batching.make(EXAMPLES, rng=np.random.default_rng(seed), **knobs)


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 5, 23, 100, 0])
def test_each_epoch_holds_each_example_once_in_its_own_order(epochs, batch_size):
    batches = make(epochs=epochs, batch_size=batch_size)
    passes = batches.order.reshape(epochs, 23)
    for order in passes:
        np.testing.assert_array_equal(np.sort(order), np.arange(23))
    assert epochs == 1 or not np.array_equal(passes[0], passes[1])
    # u = E ceil(n / B) steps, as McMahan et al. 2017 count them.
    assert len(batches.bounds) - 1 == epochs * -(-23 // (batch_size or 23))
    assert np.diff(batches.bounds).max() <= (batch_size or 23)
    assert set(range(0, 23 * epochs, 23)) <= set(batches.bounds)


def test_a_cap_keeps_one_subset_for_all_epochs_and_another_each_round():
    kept = set(make(max_examples=4, epochs=3).order)
    assert len(kept) == 4
    assert kept != set(make(max_examples=4, seed=1).order)
    assert set(make(max_examples=99).order) == set(range(23))


def test_the_dataset_gives_the_same_batches_through_preprocess():
    batches = make(epochs=2)
    dataset = batching.as_dataset(batches)
    got = [(x.numpy(), y.numpy()) for x, y in dataset]
    assert len(got) == len(batches.bounds) - 1
    np.testing.assert_array_equal(np.concatenate([y for _, y in got]), batches.order)
    for x, y in got:
        np.testing.assert_array_equal(x[:, 0], 2 * y)


@pytest.mark.parametrize(
    ("batch_size", "bounds"), [(10, [0, 10, 20, 23]), (23, [0, 23]), (0, [0, 23])]
)
def test_in_order_is_one_pass_over_the_examples_as_they_stand(batch_size, bounds):
    batches = batching.in_order(EXAMPLES, batch_size=batch_size, preprocess=doubled)
    np.testing.assert_array_equal(batches.order, np.arange(23))
    assert list(batches.bounds) == bounds
    empty = batching.in_order({"labels": np.zeros(0)}, batch_size=batch_size, preprocess=doubled)
    assert len(empty.order) == 0 and list(empty.bounds) == [0]
