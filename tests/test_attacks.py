"""Attackers: who they are, what they send, what it does to a mean, and what withstands it."""

import dataclasses

import numpy as np
import pytest
from algorithm_helpers import make
from test_training import run

from tff_experiments import aggregation, records, tasks, training
from tff_experiments.algorithms import fed_avg
from tff_experiments.clients import attacks

HPARAMS = training.Hparams(rounds=12, clients_per_round=10, batch_size=10, eval_every=12)


@pytest.fixture(scope="module")
def linear(ten_clients):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)


@pytest.fixture(scope="module")
def processes(linear):
    made = lambda name: make(aggregator=aggregation.BY_NAME[name], model_fn=linear.model_fn)
    build = lambda name, **c: fed_avg.build(fed_avg.Hparams(), dataclasses.replace(made(name), **c))
    return {
        "honest": build("mean"),
        "mean": build("mean", attacked=True),
        "median": build("median", attacked=True),
    }


def accuracy(path, process, linear, data, context, attacking):
    run(path, process, linear, data, HPARAMS, context, attacking=attacking)
    rows = records.read_metrics(path)
    return rows[-1]["test/accuracy"], rows


def test_a_share_of_the_clients_attacks_the_same_ones_in_all_rounds():
    hparams = attacks.Hparams(kind="nan", fraction=0.3)
    names = [f"client {i}" for i in range(10_000)]
    found = [attacks.attacks(hparams, name, seed=1) for name in names]
    # Standard deviation 46: 5 sigma, a false alarm in 1.7 million.
    assert abs(sum(found) - 3000) < 230
    assert found == [attacks.attacks(hparams, name, seed=1) for name in names]
    assert found != [attacks.attacks(hparams, name, seed=2) for name in names]


@pytest.mark.parametrize(
    ("kind", "scale", "wanted"),
    [("sign_flip", 2.0, -2), ("scale", 7.0, 7), ("label_flip", 2.0, 1), ("nan", 1.0, np.nan)],
)
def test_attackers_multiply_and_honest_clients_do_not(kind, scale, wanted):
    hparams = attacks.Hparams(kind=kind, scale=scale)
    assert (
        attacks.factor(hparams, False) == 1 and attacks.factor(hparams, False).dtype == np.float32
    )
    np.testing.assert_equal(attacks.factor(hparams, True), np.float32(wanted))


def test_flipped_labels_count_from_the_other_end():
    examples = {"images": np.zeros(3), "labels": np.array([0, 3, 9])}
    flipped = attacks.flip_labels(attacks.Hparams(kind="label_flip"), examples, num_classes=10)
    np.testing.assert_array_equal(flipped["labels"], [9, 6, 0])
    np.testing.assert_array_equal(examples["labels"], [0, 3, 9])
    same = attacks.flip_labels(attacks.Hparams(kind="nan"), examples, num_classes=10)
    assert same is examples


def test_without_attackers_an_attack_changes_no_bit(
    processes, linear, ten_clients, local_context, tmp_path
):
    none = attacks.Hparams(kind="sign_flip", fraction=0.0)
    args = linear, ten_clients, HPARAMS, local_context
    honest = run(tmp_path / "a", processes["honest"], *args)
    attacked = run(tmp_path / "b", processes["mean"], *args, attacking=none)
    for a, b in zip(honest, attacked, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("kind", "scale"), [("sign_flip", 5.0), ("scale", 20.0)])
def test_it_hurts_the_mean_and_not_the_median(
    kind, scale, processes, linear, ten_clients, local_context, tmp_path
):
    attacking = attacks.Hparams(kind=kind, fraction=0.3, scale=scale)
    args = linear, ten_clients, local_context, attacking
    mean, rows = accuracy(tmp_path / "mean", processes["mean"], *args)
    median, _ = accuracy(tmp_path / "median", processes["median"], *args)
    attackers = [attacks.attacks(attacking, c, seed=0) for c in ten_clients.train.client_ids]
    assert rows[0]["train/attackers"] == sum(attackers) and 0 < sum(attackers) < 5
    assert median > mean + 0.2, (mean, median)


def test_labels_flipped_by_all_are_learned_instead(
    processes, linear, ten_clients, local_context, tmp_path
):
    attacking = attacks.Hparams(kind="label_flip", fraction=1.0)
    found, _ = accuracy(
        tmp_path, processes["honest"], linear, ten_clients, local_context, attacking
    )
    assert found < 0.1, "the labels are others; chance is 0.1"


def test_nan_stops_a_run_with_the_mean_and_not_with_the_median(
    processes, linear, ten_clients, local_context, tmp_path
):
    attacking = attacks.Hparams(kind="nan", fraction=0.3)
    args = linear, ten_clients, local_context, attacking
    with pytest.raises(training.DivergedError, match="model update"):
        accuracy(tmp_path / "mean", processes["mean"], *args)
    median, _ = accuracy(tmp_path / "median", processes["median"], *args)
    assert median > 0.5


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"attack_fraction must be in \[0, 1\], got 1.5"):
        attacks.Hparams(fraction=1.5)
    with pytest.raises(ValueError, match="attack_scale must be > 0, got 0"):
        attacks.Hparams(scale=0.0)
