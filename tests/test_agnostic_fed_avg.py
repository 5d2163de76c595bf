"""Agnostic FedAvg against its equations in numpy, its limit, and what it is for."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from algorithm_helpers import make

from tff_experiments.aggregation import secure_mean
from tff_experiments.algorithms import agnostic_fed_avg, fed_avg
from tff_experiments.runtime import clients

RATE, CLASSES = 0.1, 4


def model_fn():
    """A bias for each of the labels: softmax over two weights and two fixed zeros."""
    layer = tf.keras.layers.Dense(CLASSES, use_bias=False, kernel_initializer="zeros")
    model = tf.keras.Sequential([tf.keras.Input((1,)), layer])
    spec = (tf.TensorSpec([None, 1], tf.float32), tf.TensorSpec([None], tf.int32))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return tff.learning.models.from_keras_model(model, input_spec=spec, loss=loss)


def cross_entropy(labels, logits):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)


def client(*batches):
    return [(np.ones((len(b), 1), np.float32), np.array(b, np.int32)) for b in batches]


# Labels 0 and 1 are domain 0, which is rare; 2 and 3 are domain 1.
DATA = {"a": client([0, 2, 3], [2, 2]), "b": client([3, 3, 2, 1]), "c": client([2], [3, 2, 2])}
COHORTS = [("a", "b"), ("b", "c"), ("a", "c")]


def ingredients(**changes):
    changed = {"model_fn": model_fn, "per_example_loss": cross_entropy, "num_classes": CLASSES}
    return dataclasses.replace(make(), **changed | changes)


def build(hparams, **changes):
    return agnostic_fed_avg.build(hparams, ingredients(**changes))


def run_logits(context, process, cohorts=COHORTS):
    """(weights [4], metrics) after each round."""
    state, out = process.initialize(), []
    for round_num, cohort in enumerate(cohorts, 1):
        inputs = [clients.ClientInputs(DATA[name], client=name) for name in cohort]
        output, _ = context.next(process, state, inputs, seed=0, round_num=round_num)
        state = output.state
        weights = np.ravel(process.get_model_weights(state).trainable[0])
        out.append((np.float64(weights), output.metrics, state))
    return out


def softmax(w):
    e = np.exp(w - w.max())
    return e / e.sum()


def oracle(gamma, window, domains=2, cohorts=COHORTS):
    w, lam = np.zeros(CLASSES), np.full(domains, 1 / domains)
    counts = np.ones((window, domains))
    seen = []
    for cohort in cohorts:
        scale = lam / np.mean(counts, axis=0)
        sums, number = np.zeros(domains), np.zeros(domains)
        total, weight_sum = np.zeros(CLASSES), 0.0
        for name in cohort:
            y = np.concatenate([labels for _, labels in DATA[name]])
            d = y * domains // CLASSES
            np.add.at(sums, d, -np.log(softmax(w)[y]))
            np.add.at(number, d, 1)
            local = w.copy()
            for _, labels in DATA[name]:
                a = scale[labels * domains // CLASSES]
                per = softmax(local) - np.eye(CLASSES)[labels]
                local -= RATE * (a[:, None] * per).sum(0) / a.sum()
            total += scale[d].sum() * (w - local)
            weight_sum += scale[d].sum()
        w = w - total / weight_sum
        losses = np.divide(sums, number, out=np.zeros(domains), where=number > 0)
        there = number > 0
        raised = lam[there] * np.exp(gamma * losses[there])
        lam = lam.copy()
        lam[there] = raised / raised.sum() * lam[there].sum()
        newer = np.vstack([counts[1:], number])
        counts = np.where(newer.sum(0) > 0, newer, counts)
        seen.append((w.copy(), lam.copy()))
    return seen


def test_three_rounds_are_those_of_the_equations(local_context):
    process = build(agnostic_fed_avg.Hparams(domains=2, gamma=0.7, window=2))
    for (weights, _, state), (w, lam) in zip(
        run_logits(local_context, process), oracle(0.7, 2), strict=True
    ):
        np.testing.assert_allclose(weights, w, atol=2e-6)  # float32 against float64.
        np.testing.assert_allclose(state.algorithm.weights, lam, atol=1e-6)


def test_a_domain_that_no_client_has_for_some_rounds_is_not_forgotten(local_context):
    cohorts = [*COHORTS, ("c",), ("c",), ("c",), ("a", "b")]  # Client c has no example of domain 0.
    process = build(agnostic_fed_avg.Hparams(domains=2, gamma=0.7, window=2))
    seen = run_logits(local_context, process, cohorts)
    for (weights, _, state), (w, lam) in zip(seen, oracle(0.7, 2, cohorts=cohorts), strict=True):
        np.testing.assert_allclose(weights, w, atol=4e-6)  # float32 over seven rounds.
        np.testing.assert_allclose(state.algorithm.weights, lam, atol=1e-6)
    lams = [float(state.algorithm.weights[0]) for _, _, state in seen]
    assert lams[2] == lams[5] and (seen[5][2].algorithm.counts[:, 0] > 0).any()


def test_with_one_domain_it_is_fed_avg(local_context):
    ours = run_logits(local_context, build(agnostic_fed_avg.Hparams(domains=1)))
    theirs = run_logits(local_context, fed_avg.build(fed_avg.Hparams(), ingredients()))
    for (a, _, _), (b, _, _) in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)  # The weights' common factor is rounded.


def test_the_worst_domain_gets_the_larger_weight(local_context):
    process = build(agnostic_fed_avg.Hparams(domains=2, gamma=1.0))
    *_, (_, metrics, state) = run_logits(local_context, process, COHORTS * 3)
    rare, common = state.algorithm.weights
    assert rare > common, "domain 0 is rare, and its loss the larger one"
    assert metrics["finalizer"]["largest_domain_weight"] == pytest.approx(rare)


@pytest.mark.slow
def test_it_runs_under_secure_sums(local_context):
    aggregator = secure_mean.build(secure_mean.Hparams())
    process = build(
        agnostic_fed_avg.Hparams(domains=2, gamma=0.7, window=2),
        aggregator=aggregator,
        metrics_aggregator=secure_mean.METRICS_AGGREGATOR,
        secure=True,
    )
    *_, (_, _, state) = run_logits(local_context, process)
    # The clients' losses are summed in steps of 2^20 / 2^32.
    np.testing.assert_allclose(state.algorithm.weights, oracle(0.7, 2)[-1][1], atol=0.02)


def test_a_round_without_clients_changes_no_count(local_context):
    process = build(agnostic_fed_avg.Hparams(domains=2, window=2))
    *_, (_, _, before), (_, _, after) = run_logits(local_context, process, [*COHORTS, ()])
    np.testing.assert_array_equal(before.algorithm.counts, after.algorithm.counts)


def test_more_domains_than_labels_are_refused():
    with pytest.raises(ValueError, match="must be <= 4, the labels, got 5"):
        build(agnostic_fed_avg.Hparams(domains=5))
    with pytest.raises(ValueError, match="gamma must be >= 0"):
        agnostic_fed_avg.Hparams(gamma=-0.1)
