"""Centralized training against a loop in numpy over the same batches."""

import dataclasses

import numpy as np
import pytest
from algorithm_helpers import CLIENTS, FIRST, local_sgd, make, run
from personal_helpers import of_task, train

from tff_experiments import cohorts, sampling, tasks, training
from tff_experiments.algorithms import centralized, optimizers
from tff_experiments.datasets import federated_data

HPARAMS = training.Hparams(rounds=3, clients_per_round=2, client_epochs=2, batch_size=50)


@pytest.fixture(scope="module")
def task(ten_clients):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)


def build(task, hparams=None, **changes):
    return centralized.build(hparams or centralized.Hparams(), of_task(task, **changes))


def loop(data, num, hparams, *, momentum=0.0):
    """Softmax regression by SGD in float64; momentum begins anew in each round."""
    x = data.train.all()["images"].reshape(data.train.total, -1) / 255.0
    y = np.eye(10)[data.train.all()["labels"]]
    w, b = np.zeros((64, 10)), np.zeros(10)
    for round_num in range(1, hparams.rounds + 1):
        rows = sampling.stream(data.train.total, num, seed=hparams.seed, round_num=round_num)
        velocity_w, velocity_b = 0.0, 0.0
        for start in range(0, num, hparams.batch_size):
            batch = rows[start : start + hparams.batch_size]
            logits = x[batch] @ w + b
            p = np.exp(logits - logits.max(1, keepdims=True))
            error = (p / p.sum(1, keepdims=True) - y[batch]) / len(batch)
            velocity_w = momentum * velocity_w + x[batch].T @ error
            velocity_b = momentum * velocity_b + error.sum(0)
            w, b = w - 0.1 * velocity_w, b - 0.1 * velocity_b
    return w, b


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_is_sgd_over_the_rounds_batches(task, ten_clients, local_context, tmp_path, momentum):
    optimizer = optimizers.build(optimizers.Hparams(learning_rate=0.1, momentum=momentum))
    process = build(task, client_optimizer=optimizer)
    state, rows = train(tmp_path, process, task, ten_clients, HPARAMS, local_context)
    # Ten clients of 143 or 144: an average cohort of two goes through 575 in two epochs.
    num = round(2 * 2 * ten_clients.train.counts.mean())
    assert [row["train/num_examples"] for row in rows] == [num] * 3
    assert [row["train/clients"] for row in rows] == [1] * 3
    w, b = loop(ten_clients, num, HPARAMS, momentum=momentum)
    weights = process.get_model_weights(state).trainable
    np.testing.assert_allclose(weights[0], w, atol=1e-5)  # float32 against float64, 36 steps.
    np.testing.assert_allclose(weights[1], b, atol=1e-5)


def test_its_server_has_no_optimizer_and_takes_what_came(local_context):
    server = optimizers.build(optimizers.Hparams(learning_rate=0.1))
    process = centralized.build(centralized.Hparams(), make(server_optimizer=server))
    seen = run(local_context, process, [("a",), ("c",)])
    wanted = local_sgd(local_sgd(FIRST, CLIENTS["a"]), CLIENTS["c"])
    np.testing.assert_allclose(seen[-1][0], wanted, rtol=1e-5)


def test_a_flag_says_how_many_examples_and_a_cap_of_clients_counts(task, ten_clients):
    pooled = lambda hparams, num: cohorts.pooled(hparams, task, ten_clients, 1, num_examples=num)
    (client,) = pooled(HPARAMS, 77)
    assert len(client.data.order) == 77 and list(client.data.bounds) == [0, 50, 77]
    (client,) = pooled(dataclasses.replace(HPARAMS, max_examples_per_client=30), 0)
    assert len(client.data.order) == 2 * 2 * 30
    (client,) = pooled(dataclasses.replace(HPARAMS, batch_size=0), 77)
    assert list(client.data.bounds) == [0, 77]


def test_each_example_is_used_once_before_any_is_used_again(tiny, task):
    # The image of row r is r everywhere; six rows, four a round.
    reordered = dataclasses.replace(tiny, train=federated_data.in_client_order(tiny.train))
    for data in (tiny, reordered):
        seen = []
        for round_num in (1, 2, 3):
            (client,) = cohorts.pooled(HPARAMS, task, data, round_num, num_examples=4)
            seen += list(client.data.examples["images"][client.data.order][:, 0, 0])
        assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))


def test_weights_that_are_not_finite_do_not_come(local_context):
    huge = {"all": [(np.full((1, 1), 1e30, np.float32), np.ones((1, 1), np.float32))]}
    process = centralized.build(centralized.Hparams(), make())
    ((weights, metrics, _),) = run(local_context, process, [("all",)], data=huge)
    np.testing.assert_array_equal(weights, FIRST)
    assert metrics["client_work"]["train"]["num_examples"] == 0


def test_negative_examples_are_refused():
    with pytest.raises(ValueError, match="centralized_examples_per_round must be >= 0, got -1"):
        centralized.Hparams(examples_per_round=-1)
