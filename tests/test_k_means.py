"""k-means against TFF's own, against numpy, and through a run."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from algorithm_helpers import make

from tff_experiments import records, tasks, training
from tff_experiments.aggregation import mean, secure_mean
from tff_experiments.algorithms import k_means
from tff_experiments.runtime import clients

CLUSTERS = 3


def ingredients(data, aggregator=mean):
    linear = tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=data, seed=3)
    task = k_means.adapt_task(k_means.Hparams(clusters=CLUSTERS), linear)
    return task, dataclasses.replace(make(aggregator=aggregator), model_fn=task.model_fn)


def points(rng, n):
    return rng.normal(size=(n, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def data_of_clients():
    rng = np.random.default_rng(0)
    labels = lambda n: np.zeros(n, np.int32)
    return [[(points(rng, n), labels(n)) for n in sizes] for sizes in ([4, 3], [5], [2, 2])]


def three_rounds(context, process, cohorts):
    state, seen = process.initialize(), []
    for round_num, cohort in enumerate(cohorts, 1):
        inputs = [clients.ClientInputs(value, client=str(i)) for i, value in enumerate(cohort)]
        output, _ = context.next(process, state, inputs, seed=0, round_num=round_num)
        state = output.state
        seen.append((process.get_model_weights(state), output.metrics))
    return seen


def centroids(weights):
    return np.reshape(tf.nest.flatten(weights)[0], [CLUSTERS, -1])


@pytest.mark.parametrize("first_count", [0, 1])
def test_three_rounds_are_mini_batch_k_means(
    local_context, ten_clients, data_of_clients, first_count
):
    _, made = ingredients(ten_clients)
    process = k_means.build(k_means.Hparams(clusters=CLUSTERS, first_count=first_count), made)
    c = np.float64(centroids(process.get_model_weights(process.initialize())))
    n = np.full(CLUSTERS, float(first_count))
    seen = three_rounds(local_context, process, [data_of_clients] * 3)
    for weights, metrics in seen:
        x = np.concatenate([x for value in data_of_clients for x, _ in value]).reshape(16, 64)
        distances = ((np.float64(x)[:, None] - c) ** 2).sum(-1)
        nearest = distances.argmin(1)
        m = np.bincount(nearest, minlength=CLUSTERS)
        sums = np.stack([x[nearest == j].sum(0) for j in range(CLUSTERS)])
        moved = (n[:, None] * c + sums) / np.maximum(n + m, 1)[:, None]
        c, n = np.where(m[:, None] > 0, moved, c), n + m
        np.testing.assert_allclose(centroids(weights), c, atol=1e-5)
        loss = metrics["client_work"]["train"]["loss"]
        assert loss == pytest.approx(distances.min(1).mean(), rel=1e-5)
        assert metrics["finalizer"]["empty_clusters"] == np.sum(m == 0)


def test_it_is_tffs_k_means(local_context, ten_clients, data_of_clients):
    _, made = ingredients(ten_clients)
    ours = k_means.build(k_means.Hparams(clusters=CLUSTERS), made)
    theirs = tff.learning.algorithms.build_fed_kmeans(CLUSTERS, (64,), random_seed=(1, 2))
    first = centroids(ours.get_model_weights(ours.initialize()))
    state = theirs.set_model_weights(theirs.initialize(), first)
    single = [[row for x, _ in value for row in x.reshape(-1, 64)] for value in data_of_clients]
    for weights, _ in three_rounds(local_context, ours, [data_of_clients] * 3):
        state = theirs.next(state, single).state
        theirs_now = theirs.get_model_weights(state)
        np.testing.assert_allclose(centroids(weights), theirs_now, atol=1e-5)


def test_a_run_brings_the_points_nearer_to_their_centroids(tmp_path, local_context, ten_clients):
    task, made = ingredients(ten_clients)
    process = k_means.build(k_means.Hparams(clusters=CLUSTERS), made)
    folder = records.RunFolder(tmp_path)
    hparams = training.Hparams(rounds=6, clients_per_round=5, eval_every=1)
    training.train(process, task, ten_clients, hparams, folder, runtime=local_context)
    folder.close()
    losses = [row["test/loss"] for row in records.read_metrics(tmp_path)]
    # The spread of digits around one mean is 18.8 (numpy); three centroids must do better.
    assert losses[-1] < 18 and losses[-1] < losses[0]


@pytest.mark.slow
def test_it_runs_under_secure_sums(local_context, ten_clients, data_of_clients):
    _, made = ingredients(ten_clients, secure_mean)
    process = k_means.build(k_means.Hparams(clusters=CLUSTERS), made)
    plain = k_means.build(k_means.Hparams(clusters=CLUSTERS), ingredients(ten_clients)[1])
    seen = three_rounds(local_context, process, [data_of_clients] * 2)
    wanted = three_rounds(local_context, plain, [data_of_clients] * 2)
    first = centroids(plain.get_model_weights(plain.initialize()))
    # Clients' moves are clipped to a norm of 1 at first, so that centroids go a part of the way.
    way, whole = centroids(seen[0][0]) - first, centroids(wanted[0][0]) - first
    cosine = np.sum(way * whole) / np.linalg.norm(way) / np.linalg.norm(whole)
    assert cosine > 0.9 and 0 < np.linalg.norm(way) < np.linalg.norm(whole)
    hparams = secure_mean.Hparams(clipping=False, zeroing=False)
    exact = dataclasses.replace(made, aggregator=secure_mean.build(hparams))
    process = k_means.build(k_means.Hparams(clusters=CLUSTERS), exact)
    seen = three_rounds(local_context, process, [data_of_clients] * 2)
    # Sums in steps of 100 / 2^20.
    np.testing.assert_allclose(centroids(seen[-1][0]), centroids(wanted[-1][0]), atol=1e-3)


def test_no_clusters_are_refused():
    with pytest.raises(ValueError, match="k_means_clusters must be >= 1, got 0"):
        k_means.Hparams(clusters=0)
