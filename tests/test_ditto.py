"""Ditto against algorithm 1 in numpy, its limits, and what it keeps."""

import numpy as np
import pytest
from algorithm_helpers import (
    CLIENTS,
    COHORTS,
    FIRST,
    RATE,
    gradient,
    local_sgd,
    loss,
    make,
    num_examples,
    run,
)
from personal_helpers import ROUNDED, bits, evaluate, own, secure

from tff_experiments.algorithms import ditto, fed_avg, local_only
from tff_experiments.runtime import local
from tff_experiments.secure_sum import secagg


def oracle(lam):
    """(w, {client: v}) after each round."""
    w, v, seen = FIRST, {}, []
    for cohort in COHORTS:
        for name in cohort:
            near = w
            v[name] = local_sgd(
                v.get(name, w),
                CLIENTS[name],
                correct=lambda g, own, near=near: g + lam * (own - near),
            )
        sizes = [num_examples(CLIENTS[name]) for name in cohort]
        w = np.average([local_sgd(w, CLIENTS[name]) for name in cohort], axis=0, weights=sizes)
        seen.append((w, dict(v)))
    return seen


@pytest.mark.parametrize("lam", [0.5, 5.0])
def test_three_rounds_are_those_of_algorithm_1(local_context, lam):
    seen = run(local_context, ditto.build(ditto.Hparams(lam=lam), make()))
    for (weights, _, states), (w, v) in zip(seen, oracle(lam), strict=True):
        np.testing.assert_allclose(weights, w, rtol=2e-5)  # float32 against float64.
        assert set(states) == set(v)
        for name in v:
            np.testing.assert_allclose(own(states[name])[0], v[name], rtol=2e-5)
    # b took part in the rounds 1 and 2, a in 1 and 3, c in 2 and 3.
    assert {name: own(leaves)[1] for name, leaves in seen[-1][2].items()} == dict.fromkeys("abc", 2)


def test_the_global_model_is_that_of_fed_avg_and_so_are_the_metrics(local_context):
    ours = run(local_context, ditto.build(ditto.Hparams(), make()))
    theirs = run(local_context, fed_avg.build(fed_avg.Hparams(), make()))
    for (a, a_metrics, _), (b, b_metrics, _) in zip(ours, theirs, strict=True):
        assert a.tobytes() == b.tobytes()
        assert a_metrics["client_work"] == b_metrics["client_work"]


def test_with_lambda_0_each_client_trains_alone_bit_for_bit(local_context):
    # All begin in the first round, and so from the same weights.
    cohorts = [("a", "b", "c"), ("b",), ("a", "c")]
    ours = run(local_context, ditto.build(ditto.Hparams(lam=0.0), make()), cohorts)
    alone = run(local_context, local_only.build(local_only.Hparams(), make()), cohorts)
    for (_, _, a), (_, _, b) in zip(ours, alone, strict=True):
        assert bits(a) == bits(b)


def test_a_strong_pull_ends_in_one_step_from_the_global_model(local_context):
    # v - eta g - eta lambda (v - w) is w - eta g, whatever v was, where eta lambda = 1.
    cohorts = [("b",), ("b",), ("b",)]  # One batch: one step a round.
    hparams = ditto.Hparams(lam=1 / RATE)
    (w1, _, _), _, (_, _, states) = run(local_context, ditto.build(hparams, make()), cohorts)
    w2 = local_sgd(w1, CLIENTS["b"])
    v2 = local_sgd(w1, CLIENTS["b"])  # v1 = w1: both took one step from the first weights.

    v3 = w2 - RATE * gradient(v2, CLIENTS["b"][0])
    np.testing.assert_allclose(own(states["b"])[0], v3, rtol=2e-5)


@pytest.mark.slow
def test_it_runs_under_secure_sums_and_states_are_what_they_are_without(local_context):
    seen = run(local_context, ditto.build(ditto.Hparams(lam=0.5), secure()))
    wanted = [w for w, _ in oracle(0.5)]
    np.testing.assert_allclose([w for w, _, _ in seen], wanted, rtol=0, atol=ROUNDED)
    v = oracle(0.5)[0][1]
    for name, leaves in seen[0][2].items():
        np.testing.assert_allclose(own(leaves)[0], v[name], rtol=2e-5)


def test_secagg_sums_the_same_numbers_and_sees_no_state():
    process = ditto.build(ditto.Hparams(lam=0.5), secure())
    cohorts = [("a", "b", "c"), ("a", "b", "c")]
    with local.use(
        local.Hparams(secure_sum_seed=1), secure_sum=secagg.build(secagg.Hparams())
    ) as c:
        real = run(c, process, cohorts)
    with local.use(local.Hparams()) as c:
        simulated = run(c, process, cohorts)
    for (a, _, a_states), (b, _, b_states) in zip(real, simulated, strict=True):
        assert a.tobytes() == b.tobytes()
        assert bits(a_states) == bits(b_states)


def test_a_client_whose_own_model_is_not_finite_is_lost_and_keeps_its_state(local_context):
    huge = dict(CLIENTS, a=[(np.full((1, 1), 1e30, np.float32), np.ones((1, 1), np.float32))])
    cohorts = [("a", "b"), ("a", "b")]
    *_, (weights, metrics, states) = run(
        local_context, ditto.build(ditto.Hparams(), make()), cohorts, data=huge
    )
    only_b = run(local_context, ditto.build(ditto.Hparams(), make()), [("b",), ("b",)])
    np.testing.assert_array_equal(weights, only_b[-1][0])
    assert metrics["client_work"]["train"]["num_examples"] == num_examples(CLIENTS["b"])
    assert own(states["a"])[1] == 0


def test_evaluated_are_the_stored_models_and_the_global_one_where_there_is_none(local_context):
    process = ditto.build(ditto.Hparams(lam=0.5), make())
    state = process.initialize()
    first = process.client_state
    v = np.array([2.0, -1.0], np.float32)
    model = [v[:1, None], v[1:]]
    stored = first._replace(trainable=model, rounds=np.int32(3))
    losses = evaluate(local_context, process, state, states={"a": stored, "b": first, "c": stored})

    for name, (ours, personal) in losses.items():
        np.testing.assert_allclose(ours, loss(FIRST, CLIENTS[name]), rtol=1e-5)
        wanted = FIRST if name == "b" else v
        np.testing.assert_allclose(personal, loss(wanted, CLIENTS[name]), rtol=1e-5)


def test_a_negative_lambda_is_refused():
    with pytest.raises(ValueError, match="ditto_lam must be >= 0, got -1"):
        ditto.Hparams(lam=-1.0)
