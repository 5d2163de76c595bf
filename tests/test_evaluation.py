"""Evaluation against numpy: the whole set, and its spread over clients."""

import numpy as np
import pytest
import tensorflow_federated as tff

from tff_experiments import evaluation, tasks
from tff_experiments.datasets import federated_data


def softmax_regression(images, labels, kernel, bias):
    logits = images.reshape(len(images), -1) / 255 @ kernel.astype(np.float64) + bias
    log_sum = np.log(np.exp(logits).sum(axis=1))
    return log_sum - logits[np.arange(len(labels)), labels], logits.argmax(axis=1) == labels


@pytest.fixture
def evaluated(writers):
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(784, 62)).astype(np.float32) / 10
    bias = rng.normal(size=62).astype(np.float32)
    task = tasks.emnist_linear.build(tasks.emnist_linear.Hparams(), data=writers, seed=0)
    weights = tff.learning.models.ModelWeights([kernel, bias], [])
    found = evaluation.Evaluator(task, writers.test)(weights, clients=True)
    rows = writers.test.all()
    return found, softmax_regression(rows["images"], rows["labels"], kernel, bias)


def test_the_metrics_of_the_whole_set_are_means_over_examples(evaluated):
    (metrics, _), (loss, right) = evaluated
    assert metrics["loss"] == pytest.approx(loss.mean(), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(right.mean(), abs=1e-9)


def test_the_spread_over_clients_counts_each_client_once(evaluated, writers):
    (metrics, _), (loss, right) = evaluated
    ends = writers.test.offsets[1:-1]
    accuracy = np.array([own.mean() for own in np.split(right, ends)])
    losses = np.array([own.mean() for own in np.split(loss, ends)])
    assert metrics["clients/accuracy/mean"] == pytest.approx(accuracy.mean(), abs=1e-6)
    assert metrics["clients/loss/p90"] == pytest.approx(np.percentile(losses, 90), rel=1e-5)
    worst_two = np.sort(losses)[-2:].mean()  # A tenth of 20 clients.
    assert metrics["clients/loss/worst_decile"] == pytest.approx(worst_two, rel=1e-5)


def test_each_client_has_the_metrics_of_its_own_examples(evaluated, writers):
    (_, own), (loss, right) = evaluated
    assert list(own) == list(writers.test.client_ids)
    start = 0
    for client, count in zip(writers.test.client_ids, writers.test.counts, strict=True):
        rows = slice(start, start := start + count)
        assert own[client]["examples"] == count
        assert own[client]["test/accuracy"] == pytest.approx(right[rows].mean(), abs=1e-9)
        assert own[client]["test/loss"] == pytest.approx(loss[rows].mean(), rel=1e-5)


def test_the_worst_are_the_least_accurate_and_the_most_lossy():
    values = np.arange(40.0)
    assert evaluation.spread(values, small_is_bad=True)["worst_decile"] == 1.5
    assert evaluation.spread(values, small_is_bad=False)["worst_decile"] == 37.5


def test_a_client_without_test_examples_is_left_out():
    columns = {"images": np.zeros((3, 8, 8), np.uint8), "labels": np.array([0, 0, 1], np.int32)}
    split = federated_data.ClientExamples(("a", "b", "c"), columns, np.array([0, 2, 2, 3]))
    data = federated_data.FederatedData("three", split, split, num_classes=2)
    task = tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=data, seed=0)
    zero = [np.zeros((64, 2), np.float32), np.float32([1, 0])]
    weights = tff.learning.models.ModelWeights(zero, [])
    evaluator = evaluation.Evaluator(task, split)
    metrics, own = evaluator(weights, clients=True)
    assert metrics["clients/accuracy/mean"] == pytest.approx(0.5)
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert {name: row["test/accuracy"] for name, row in own.items()} == {"a": 1, "c": 0}
    assert evaluator(weights, clients=False)[1] == {}
