"""q-FFL against algorithm 2 in numpy, and its limit."""

import numpy as np
import pytest
from algorithm_helpers import (
    CLIENTS,
    COHORTS,
    FIRST,
    RATE,
    SGD,
    client_batches,
    local_sgd,
    loss,
    make,
    run,
)  # fmt: skip

from tff_experiments.aggregation import mean, secure_mean
from tff_experiments.algorithms import fed_avg, q_ffl


def oracle(q, first=FIRST, cohorts=COHORTS, data=CLIENTS):
    weights, seen = first, []
    for cohort in cohorts:
        deltas, hs = [], []
        for name in cohort:
            f = loss(weights, data[name])
            dw = (weights - local_sgd(weights, data[name])) / RATE
            deltas.append(f**q * dw)
            hs.append(q * f ** (q - 1) * np.sum(dw**2) + f**q / RATE)
        weights = weights - sum(deltas) / sum(hs)
        seen.append(weights)
    return np.array(seen)


@pytest.mark.parametrize("q", [0.5, 2.0])
def test_three_rounds_are_those_of_algorithm_2(local_context, q):
    seen = run(local_context, q_ffl.build(q_ffl.Hparams(q=q), make()))
    # float32 against float64 over three rounds.
    np.testing.assert_allclose([w for w, _, _ in seen], oracle(q), rtol=2e-5)


def test_with_q_0_it_is_fed_avg_with_uniform_weights(local_context):
    ours = run(local_context, q_ffl.build(q_ffl.Hparams(q=0.0), make()))
    theirs = run(local_context, fed_avg.build(fed_avg.Hparams(weighting="uniform"), make()))
    np.testing.assert_array_equal([w for w, _, _ in ours], [w for w, _, _ in theirs])


@pytest.mark.slow
def test_it_runs_under_secure_sums(local_context):
    process = q_ffl.build(q_ffl.Hparams(), make(aggregator=secure_mean))
    seen = run(local_context, process)
    # 20 bits and a clipping norm that follows the clients': near, not equal.
    np.testing.assert_allclose([w for w, _, _ in seen], oracle(1.0), atol=0.05)


def test_small_losses_to_a_large_power_are_not_lost_on_the_grid_of_secure_sums(local_context):
    """F^q is 1e-10 here, the weights' grid 2e-4. The first round's scale is that of ln(classes)."""
    data = {name: client_batches(i, [4, 4], slope=0.8) for i, name in enumerate("abc")}
    exact = secure_mean.Hparams(zeroing=False, clipping=False, bits=24)
    made = make(aggregator=secure_mean, aggregator_hparams=exact)
    cohorts = [*COHORTS, *COHORTS]
    seen = [
        w for w, _, _ in run(local_context, q_ffl.build(q_ffl.Hparams(q=5.0), made), cohorts, data)
    ]
    wanted = oracle(5.0, seen[0], cohorts[1:], data)
    np.testing.assert_allclose(seen[1:], wanted, atol=2e-3)
    assert np.abs(wanted[-1] - seen[0]).max() > 0.02


def test_one_client_of_a_far_larger_loss_is_the_one_that_counts(local_context):
    """Its weight would be infinite, F^15 over that of a mean loss near 0."""
    data = {name: client_batches(i, [4, 4], slope=0.8) for i, name in enumerate("ab")}
    data["far"] = client_batches(2, [4, 4], slope=4.0)
    process = q_ffl.build(q_ffl.Hparams(q=15.0), make())
    *_, (before, *_), (after, metrics, _) = run(
        local_context, process, [("a", "b"), ("a", "b"), ("a", "far")], data
    )
    assert metrics["client_work"]["train"]["num_examples"] == 16
    (alone,) = oracle(15.0, before, [("far",)], data)
    np.testing.assert_allclose(after, alone, atol=1e-4)


def test_training_metrics_count_the_training_only(local_context):
    process = q_ffl.build(q_ffl.Hparams(), make(aggregator=mean))
    (_, metrics, _) = run(local_context, process, COHORTS[:1])[0]
    assert metrics["client_work"]["train"]["num_examples"] == 9


def test_other_client_optimizers_are_refused():
    with pytest.raises(ValueError, match="SGD without momentum"):
        q_ffl.build(q_ffl.Hparams(), make(client_optimizer=SGD(RATE, momentum=0.9)))


def test_a_negative_q_is_refused():
    with pytest.raises(ValueError, match="q_ffl_q must be >= 0, got -1"):
        q_ffl.Hparams(q=-1.0)
