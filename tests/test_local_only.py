"""Training alone: closed loop in numpy, nothing sent, nothing kept that is not finite."""

import numpy as np
from algorithm_helpers import CLIENTS, COHORTS, FIRST, local_sgd, make, run
from personal_helpers import bits, evaluate, own

from tff_experiments.aggregation import secure_mean
from tff_experiments.algorithms import local_only
from tff_experiments.runtime import local
from tff_experiments.secure_sum import secagg


def build(**kwargs):
    return local_only.build(local_only.Hparams(), make(**kwargs))


def oracle():
    v, seen = {}, []
    for cohort in COHORTS:
        v |= {name: local_sgd(v.get(name, FIRST), CLIENTS[name]) for name in cohort}
        seen.append(dict(v))
    return seen


def test_each_client_goes_on_from_where_it_was_and_the_server_stays(local_context):
    for (weights, _, states), v in zip(run(local_context, build()), oracle(), strict=True):
        np.testing.assert_array_equal(weights, FIRST)
        assert set(states) == set(v)
        for name in v:
            np.testing.assert_allclose(own(states[name])[0], v[name], rtol=2e-5)


def test_nothing_is_sent_but_metrics(local_context):
    run(local_context, build(), COHORTS[:1])
    # Sum of losses and its count, float32; examples and batches, int64.
    assert local_context.last_round["bytes/uplink_per_client"] == 4 + 4 + 8 + 8


def test_secagg_has_metrics_only_and_changes_no_model(local_context):
    plain = run(local_context, build())
    with local.use(local.Hparams(), secure_sum=secagg.build(secagg.Hparams())) as context:
        hidden = run(context, build(aggregator=secure_mean))
    for (_, metrics, a), (_, secure_metrics, b) in zip(plain, hidden, strict=True):
        assert bits(a) == bits(b)
        counts = [m["client_work"]["train"]["num_examples"] for m in (metrics, secure_metrics)]
        assert counts[0] == counts[1]


def test_a_model_that_is_not_finite_is_not_kept_and_its_examples_are_lost(local_context):
    huge = dict(CLIENTS, a=[(np.full((1, 1), 1e30, np.float32), np.ones((1, 1), np.float32))])
    ((_, metrics, states),) = run(local_context, build(), COHORTS[:1], data=huge)
    assert metrics["client_work"]["train"]["num_examples"] == 4  # b's.
    np.testing.assert_array_equal(own(states["a"])[0], [0, 0])
    assert own(states["a"])[1] == 0, "its state is still that of a client without a model"


def test_evaluated_are_the_stored_models_and_the_first_one_where_there_is_none(local_context):
    process = build()
    *_, (_, _, states) = run(local_context, process, COHORTS[:1])
    given = {
        name: process.client_state._replace(trainable=leaves[:2], rounds=leaves[2])
        for name, leaves in states.items()
    }
    losses = evaluate(
        local_context, process, process.initialize(), states={"c": process.client_state, **given}
    )
    v = oracle()[0]
    for name, (ours, personal) in losses.items():
        np.testing.assert_allclose(ours, mean_loss(FIRST, name), rtol=1e-5)
        np.testing.assert_allclose(personal, mean_loss(v.get(name, FIRST), name), rtol=1e-4)


def mean_loss(weights, name):
    x, y = (np.concatenate(column).astype(float) for column in zip(*CLIENTS[name], strict=True))
    return np.mean((weights[0] * x + weights[1] - y) ** 2)
