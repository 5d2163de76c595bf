"""Canaries and what is made of them: against dp_accounting, numerical integrals, and rounds whose
epsilon is known.
"""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from algorithm_helpers import make
from dp_accounting.pld import privacy_loss_mechanism
from scipy import stats
from test_training import run

from tff_experiments import auditing, cohorts, records, runtime, tasks, training
from tff_experiments.aggregation import dp_fedavg
from tff_experiments.algorithms import client_side, fed_avg
from tff_experiments.clients import canaries, dropouts, participation
from tff_experiments.privacy import auditing as privacy_auditing
from tff_experiments.privacy import mechanisms, plan


@pytest.mark.parametrize("z", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-6])
def test_of_equal_deviations_it_is_the_gaussian_mechanisms_epsilon(z, delta):
    epsilon = privacy_auditing.epsilon_of_gaussians(1.0, z, z, delta)
    theirs = privacy_loss_mechanism.GaussianPrivacyLoss(z).get_delta_for_epsilon(epsilon)
    assert theirs == pytest.approx(delta, rel=1e-5)


@pytest.mark.parametrize(("m", "s"), [(0.8, 1.3), (-0.5, 0.4), (3.0, 1.0), (0.0, 1.5), (2.0, 0.7)])
def test_of_other_deviations_it_is_what_integrals_say(m, s):
    """delta(epsilon) by a sum over 2 million points."""
    delta = 1e-3
    epsilon = privacy_auditing.epsilon_of_gaussians(m, s, 0.9, delta)
    x = np.linspace(-40, 40, 2_000_001)
    p, q = stats.norm.logpdf(x, m, s), stats.norm.logpdf(x, 0, 0.9)
    both = [
        np.trapz(np.maximum(np.exp(a) - np.exp(b + epsilon), 0), x) for a, b in ((p, q), (q, p))
    ]
    assert max(both) == pytest.approx(delta, rel=1e-4)


def test_what_can_not_be_told_apart_has_epsilon_0_and_what_always_can_the_most():
    assert privacy_auditing.epsilon_of_gaussians(0.0, 1.0, 1.0, 1e-5) == 0
    found = privacy_auditing.epsilon_of_gaussians(1e3, 1.0, 1.0, 1e-5)
    assert found == privacy_auditing.MOST
    with pytest.raises(ValueError, match="stddevs must be > 0"):
        privacy_auditing.epsilon_of_gaussians(1.0, 0.0, 1.0, 1e-5)


def test_directions_are_uniform_and_of_norm_1_in_graphs_as_outside():
    like = [tf.zeros([30, 20]), tf.zeros([50])]
    rows = []
    for seed in range(1, 60):
        drawn = client_side.direction(like, tf.constant(seed, tf.int64))
        rows.append(np.concatenate([np.ravel(x) for x in drawn]).astype(np.float64))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    products = np.array(rows) @ np.array(rows).T
    off = products[np.triu_indices(59, 1)] * np.sqrt(650)
    # 1,711 pairs, each about N(0, 1).
    assert abs(off.mean()) < 5 / np.sqrt(1711) and abs(off.std() - 1) < 5 / np.sqrt(2 * 1711)
    once = tf.function(lambda seed: client_side.direction(like, seed))
    for x, y in zip(once(tf.constant(7, tf.int64)), rows[6:7], strict=False):
        np.testing.assert_allclose(np.ravel(x), y[:600], atol=1e-6)


def test_one_round_of_the_gaussian_mechanism_has_its_own_epsilon():
    """The limit of the paper's section 4: many dimensions, few canaries, each once."""
    dim, count, z = 100_000, 300, 2.0
    seeds = {f"c{i}": i + 1 for i in range(count)}
    like = tf.zeros([dim])
    total = sum(client_side.direction(like, tf.constant(s, tf.int64)) for s in seeds.values())
    noise = z * np.random.default_rng(0).standard_normal(dim)
    auditor = auditing.Auditor(seeds, [like], delta=1e-3)
    auditor.observe(seeds)
    row = auditor.measure([total + noise.astype(np.float32)])
    exact = privacy_auditing.epsilon_of_gaussians(1.0, z, z, 1e-3)
    # Mean and deviation of 300 cosines: each 1 / sqrt(300), in units of 1 / z = 0.5.
    assert row["audit/mean_cosine"] == pytest.approx(1 / z, abs=5 / np.sqrt(count))
    assert row["audit/epsilon"] == pytest.approx(exact, abs=1.0) and row["audit/canaries"] == count


def test_canaries_that_took_no_part_are_not_found():
    seeds = {f"c{i}": i + 1 for i in range(40)}
    auditor = auditing.Auditor(seeds, [tf.zeros([5000])], delta=1e-3)
    way = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    assert auditor.measure([way]) == {"audit/canaries": 0}
    auditor.observe(["c0", "c1", "someone"])
    assert set(auditor.measure([way])) == {"audit/canaries", "audit/mean_cosine"}
    auditor.observe(seeds)
    row = auditor.measure([way])
    assert abs(row["audit/mean_cosine"]) < 5 / np.sqrt(40)


@pytest.fixture(scope="module")
def linear(ten_clients):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)


def audited_run(path, linear, data, *, norm=1.0, noise=None, until=None):
    """All ten clients are canaries, half of them in a round; returns (rows, weights)."""
    seeds = {str(client): i + 1 for i, client in enumerate(data.train.client_ids)}
    ingredients = dataclasses.replace(
        make(model_fn=linear.model_fn, num_clients=10), canary_norm=norm
    )
    if noise:
        own, planned = dp_fedavg.Hparams(clip=1.0), plan.Hparams(clients_per_round=5)
        aggregator = dp_fedavg.build(own, mechanisms.Gaussian(noise), planned)
        ingredients = dataclasses.replace(ingredients, aggregator=aggregator, private=True)
    process = fed_avg.build(fed_avg.Hparams(weighting="uniform"), ingredients)
    hparams = training.Hparams(rounds=4, clients_per_round=5, eval_every=1, checkpoint_every=1)
    world = participation.World(dropping=dropouts.Hparams(rate=0.2, stage="before_upload"))

    def stop(row):
        if row["round"] == until:
            raise KeyboardInterrupt

    with runtime.use(seed_noise=0) as context:
        first = process.get_model_weights(process.initialize()).trainable
        auditor = auditing.Auditor(seeds, first, delta=1e-2)
        args = process, linear, data, hparams, context
        weights = run(path, *args, world=world, auditor=auditor, on_round=stop)
    return records.read_metrics(path), weights, first, seeds


def test_a_canary_moves_the_model_along_its_direction_and_nobody_else_does(
    linear, ten_clients, tmp_path
):
    """All are canaries: the model's way is the mean of the directions of those who came."""
    rows, weights, first, seeds = audited_run(tmp_path, linear, ten_clients, norm=3.0)
    way = np.concatenate([np.ravel(w - f) for w, f in zip(weights, first, strict=False)])
    hparams = training.Hparams(rounds=4, clients_per_round=5)
    world = participation.World(dropping=dropouts.Hparams(rate=0.2, stage="before_upload"))
    rounds, wanted = cohorts.participants(hparams, ten_clients, world), np.zeros(650)
    for number in range(1, 5):
        inputs = cohorts.cohort(hparams, linear, ten_clients, number, rounds=rounds)
        came = [client.client for client in inputs if client.uploads]
        for client in came:
            leaves = client_side.direction(first, tf.constant(seeds[client], tf.int64))
            wanted += 3.0 * np.concatenate([np.ravel(x) for x in leaves]) / len(came)
    np.testing.assert_allclose(way, wanted, atol=1e-5)
    assert rows[-1]["audit/canaries"] <= 10


def test_a_resumed_audit_has_seen_what_an_uninterrupted_one_has(linear, ten_clients, tmp_path):
    whole, *_ = audited_run(tmp_path / "whole", linear, ten_clients, noise=1.0)
    with pytest.raises(KeyboardInterrupt):
        audited_run(tmp_path / "cut", linear, ten_clients, noise=1.0, until=2)
    rows, *_ = audited_run(tmp_path / "cut", linear, ten_clients, noise=1.0)
    names = ("audit/canaries", "audit/mean_cosine")
    assert [[row[n] for n in names] for row in rows] == [[row[n] for n in names] for row in whole]


def test_canaries_are_a_runs_own_and_as_many_as_asked_for():
    ids = [f"c{i}" for i in range(100)]
    one, other = (canaries.choose(canaries.Hparams(count=20), ids, seed=s) for s in (0, 1))
    assert len(one) == 20 and set(one) <= set(ids) and one != other
    assert len(set(one.values())) == 20 and all(seed > 0 for seed in one.values())
    assert one == canaries.choose(canaries.Hparams(count=20), ids, seed=0)
    with pytest.raises(ValueError, match="needs as many clients, the data has 10"):
        canaries.choose(canaries.Hparams(count=20), ids[:10], seed=0)


@pytest.mark.parametrize(("field", "value"), [("count", 3), ("norm", 0.0)])
def test_what_is_out_of_range_is_refused(field, value):
    with pytest.raises(ValueError, match=f"canary_{field} must be"):
        canaries.Hparams(**{field: value})
