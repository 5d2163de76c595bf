"""Partitioners: every example once, the stated skew, a pure function of the seed."""

import dataclasses

import numpy as np
import pytest

from tff_experiments import datasets
from tff_experiments.datasets import digits, partition

LABELS = np.repeat(np.arange(10), 600)


@pytest.fixture(scope="module")
def unpartitioned():
    return digits.build(digits.Hparams(), data_dir=None, cache_dir=None)


@pytest.mark.parametrize("name", partition.BY_NAME)
def test_each_example_goes_to_exactly_one_client(name, unpartitioned):
    data = partition.apply(unpartitioned, name, partition.Hparams(clients=37))
    assert data.train.num_clients == 37
    assert (data.train.counts > 0).all()
    np.testing.assert_array_equal(np.sort(data.train.order), np.arange(unpartitioned.train.total))
    assert data.test.total == unpartitioned.test.total
    assert data.partition == name


@pytest.mark.parametrize("name", partition.BY_NAME)
def test_the_seed_alone_decides(name, unpartitioned):
    make = lambda seed: partition.apply(unpartitioned, name, partition.Hparams(20, seed=seed)).train
    np.testing.assert_array_equal(make(1).order, make(1).order)
    assert not np.array_equal(make(1).order, make(2).order)


def test_iid_clients_are_equally_large():
    rows = partition.iid(LABELS, partition.Hparams(clients=70), np.random.default_rng(0))
    assert {len(own) for own in rows} == {85, 86}


def test_two_shards_of_300_hold_two_labels_at_most():  # 300 divides each label's 600.
    rows = partition.label_shards(LABELS, partition.Hparams(clients=10), np.random.default_rng(0))
    assert all(len(own) == 600 and len(np.unique(LABELS[own])) <= 2 for own in rows)


def test_dirichlet_is_iid_for_a_large_alpha_and_one_label_for_a_small_one():
    def labels_held(alpha):
        hparams = partition.Hparams(clients=20, alpha=alpha)
        rows = partition.dirichlet(LABELS, hparams, np.random.default_rng(0))
        shares = [np.bincount(LABELS[own], minlength=10) / len(own) for own in rows]
        return np.median([share.max() for share in shares])

    assert labels_held(1e6) < 0.16  # 300 draws of 10 labels: 0.1 + 3 sigma of 0.017.
    assert labels_held(1e-3) > 0.95


def test_unequal_sizes_are_log_normal_with_the_given_sigma():
    rows = partition.unequal(
        np.zeros(2_000_000), partition.Hparams(clients=4000, sigma=0.7), np.random.default_rng(0)
    )
    # 4,000 draws: the standard deviation's own deviation is 0.7 / sqrt(8000) = 0.008.
    assert np.std(np.log([len(own) for own in rows])) == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_similarity_is_the_share_of_a_client_that_is_iid(share):
    # 6,000 rows to 20 clients: 300 each, of which a piece of the sorted rest has one label.
    hparams = partition.Hparams(clients=20, similarity=share)
    rows = partition.similarity(LABELS, hparams, np.random.default_rng(0))
    counts = np.array([np.bincount(LABELS[own], minlength=10) for own in rows])
    assert set(counts.sum(axis=1)) == {300}
    largest = counts.max(axis=1) / 300
    if share == 0:
        # 600 rows of a label fill two clients exactly.
        np.testing.assert_array_equal(largest, 1)
    elif share == 1:
        assert largest.max() < 0.19  # 300 draws of 10 labels: 0.1 + 5 sigma of 0.017.
    else:
        # 0.9 of one label or, where a piece crosses a label's border, of two; with 0.1 of all.
        two = np.sort(counts, axis=1)[:, -2:].sum(axis=1) / 300
        assert two.min() > 0.9 and np.median((counts > 0).sum(axis=1)) > 8
    # For clients that do not divide the rows, sizes differ by one at most.
    odd = partition.Hparams(clients=70, similarity=0.37)
    sizes = {len(own) for own in partition.similarity(LABELS, odd, np.random.default_rng(0))}
    assert sizes == {85, 86}


def test_users_can_be_pooled_and_dealt_anew(writers):
    data = partition.apply(writers, "iid", partition.Hparams(clients=7))
    assert data.train.total == writers.train.total
    want = np.bincount(writers.train.labels(), minlength=62)
    np.testing.assert_array_equal(np.bincount(data.train.labels(), minlength=62), want)


def test_natural_clients_need_users(unpartitioned):
    with pytest.raises(ValueError, match="digits has no users; choose --partition from"):
        partition.apply(unpartitioned, "natural", partition.Hparams())


def test_more_parts_than_examples_are_refused(unpartitioned):
    with pytest.raises(ValueError, match="1438 examples can't be dealt into 2000 parts"):
        partition.apply(unpartitioned, "label_shards", partition.Hparams(clients=1000))


@pytest.mark.parametrize("field", ["clients", "shards_per_client", "alpha", "sigma"])
def test_knobs_must_be_positive(field):
    with pytest.raises(ValueError, match=f"partition_{field} must be > 0"):
        dataclasses.replace(partition.Hparams(), **{field: 0})


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_similarity_must_be_a_share(share):
    with pytest.raises(ValueError, match="partition_similarity must be in"):
        partition.Hparams(similarity=share)


def test_mcmahans_partition_of_mnist(shared):
    load = lambda name: datasets.load(
        "mnist", datasets.mnist.Hparams(), data_dir=str(shared / "mnist"), partition_name=name
    )
    iid, shards = load("iid"), load("label_shards")
    assert set(iid.train.counts) == set(shards.train.counts) == {600}
    labels = [len(np.unique(shards.train.examples(c)["labels"])) for c in shards.train.client_ids]
    assert np.mean(labels) < 2.6  # Shards cross a label's border 9 times in 200.
    assert iid.test.total == 10_000 and iid.stand_in == ""


def test_a_concentration_of_which_numpy_can_t_draw_is_refused():
    with pytest.raises(ValueError, match="partition_alpha must be >= 1e-06, where a client has"):
        partition.Hparams(alpha=1e-9)
