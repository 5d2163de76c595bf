"""FedSGD, FedProx, SCAFFOLD, FedDyn, FedNova, MimeLite and Mime: each against its equations in
numpy over three rounds in which nobody is in all, and in its limits.
"""

import functools

import numpy as np
import pytest
import tensorflow_federated as tff
from algorithm_helpers import (
    CLIENTS,
    COHORTS,
    FIRST,
    RATE,
    SGD,
    client_batches,
    gradient,
    local_sgd,
    loss,
    make,
    model_fn,
    num_examples,
    run,
)  # fmt: skip

from tff_experiments.aggregation import secure_mean
from tff_experiments.algorithms import (
    fed_avg,
    fed_dyn,
    fed_nova,
    fed_prox,
    fed_sgd,
    mime,
    mime_lite,
    scaffold,
)  # fmt: skip
from tff_experiments.runtime import clients

N = 3  # Clients of the data set.
MU, ALPHA, RHO = 0.5, 0.4, 0.7
UNIFORM = fed_avg.Hparams(weighting="uniform")


def counts(cohort):
    return [num_examples(CLIENTS[name]) for name in cohort]


def full_gradient(weights, batches):
    whole = [np.concatenate(columns) for columns in zip(*batches, strict=True)]
    return gradient(weights, whole)


def over_rounds(round_fn):
    """Weights after each round; `round_fn(weights, cohort, memory)` gives the new ones."""
    weights, memory, seen = FIRST, {}, []
    for cohort in COHORTS:
        weights = round_fn(weights, cohort, memory)
        seen.append(weights)
    return np.array(seen)


def sgd_round(weights, cohort, memory):
    return weights - np.average(
        [full_gradient(weights, CLIENTS[c]) for c in cohort], 0, counts(cohort)
    )


def prox_round(weights, cohort, memory):
    pull = lambda g, w: g + MU * (w - weights)
    return np.average(
        [local_sgd(weights, CLIENTS[c], correct=pull) for c in cohort], 0, counts(cohort)
    )


def scaffold_round(weights, cohort, memory, *, option):
    c = memory.setdefault("server", np.zeros(2))
    news, changes = [], []
    for name in cohort:
        own = memory.get(name, np.zeros(2))
        new = local_sgd(weights, CLIENTS[name], correct=lambda g, w, own=own: g - own + c)
        renewed = full_gradient(weights, CLIENTS[name])
        if option == "2":
            renewed = own - c + (weights - new) / (len(CLIENTS[name]) * RATE)
        news.append(new)
        changes.append(renewed - own)
        memory[name] = renewed
    memory["server"] = c + len(cohort) / N * np.mean(changes, 0)
    return np.mean(news, 0)


def dyn_round(weights, cohort, memory):
    news = []
    for name in cohort:
        own = memory.get(name, np.zeros(2))
        pull = lambda g, w, own=own: g - own + ALPHA * (w - weights)
        news.append(local_sgd(weights, CLIENTS[name], correct=pull))
        memory[name] = own - ALPHA * (news[-1] - weights)
    h = memory.get("server", np.zeros(2)) - ALPHA / N * sum(new - weights for new in news)
    memory["server"] = h
    return np.mean(news, 0) - h / ALPHA


def nova_round(weights, cohort, memory, *, rho=0.0):
    p = np.array(counts(cohort)) / sum(counts(cohort))
    directions, norms = [], []
    for name in cohort:
        new, velocity, a = np.array(weights), np.zeros(2), np.zeros(0)
        for batch in CLIENTS[name]:
            velocity = rho * velocity + gradient(new, batch)
            new = new - RATE * velocity
            # What each gradient so far has been counted with, written out step by step.
            a = np.append(a, 0.0)
            a += rho ** np.arange(len(a))[::-1]
        norms.append(a.sum())
        directions.append((weights - new) / a.sum())
    return weights - (p @ norms) * (p @ np.array(directions))


def mime_round(weights, cohort, memory, *, corrected):
    s, c = memory.get("s", np.zeros(2)), memory.get("c")
    news, gradients = [], []
    for name in cohort:
        new = np.array(weights)
        for batch in CLIENTS[name]:
            g = gradient(new, batch)
            if corrected and c is not None:
                g = g - gradient(weights, batch) + c
            new = new - RATE * (RHO * s + g)  # SGD with momentum; s stays.
        news.append(new)
        gradients.append(full_gradient(weights, CLIENTS[name]))
    mean = np.average(gradients, 0, counts(cohort))
    memory["s"], memory["c"] = RHO * s + mean, mean
    return np.average(news, 0, counts(cohort))


MOMENTUM = {"client_optimizer": SGD(RATE, momentum=RHO)}
partial = functools.partial
# Algorithm, its knobs, ingredients, the oracle's round.
CASES = {
    "fed_sgd": (fed_sgd, fed_sgd.Hparams(), {}, sgd_round),
    "fed_prox": (fed_prox, fed_prox.Hparams(mu=MU), {}, prox_round),
    "scaffold_1": (scaffold, scaffold.Hparams(option="1"), {}, partial(scaffold_round, option="1")),
    "scaffold_2": (scaffold, scaffold.Hparams(option="2"), {}, partial(scaffold_round, option="2")),
    "fed_dyn": (fed_dyn, fed_dyn.Hparams(alpha=ALPHA), {}, dyn_round),
    "fed_nova": (fed_nova, fed_nova.Hparams(), {}, nova_round),
    "fed_nova_momentum": (fed_nova, fed_nova.Hparams(), MOMENTUM, partial(nova_round, rho=RHO)),
    "mime_lite": (mime_lite, mime_lite.Hparams(), MOMENTUM, partial(mime_round, corrected=False)),
    "mime": (mime, mime.Hparams(), MOMENTUM, partial(mime_round, corrected=True)),
}


@pytest.mark.parametrize("name", CASES)
def test_three_rounds_are_those_of_the_paper(local_context, name):
    module, hparams, changes, round_fn = CASES[name]
    seen = run(local_context, module.build(hparams, make(**changes)))
    # float32 against float64.
    np.testing.assert_allclose([w for w, _, _ in seen], over_rounds(round_fn), rtol=3e-5, atol=1e-6)
    examples = [metrics["client_work"]["train"]["num_examples"] for _, metrics, _ in seen]
    assert examples == [sum(counts(cohort)) for cohort in COHORTS]


@pytest.mark.parametrize("name", ["scaffold_2", "fed_dyn"])
def test_clients_states_are_those_of_the_paper(local_context, name):
    module, hparams, changes, round_fn = CASES[name]
    (*_, (_, _, states)) = run(local_context, module.build(hparams, make(**changes)))
    memory, weights = {}, FIRST
    for cohort in COHORTS:
        weights = round_fn(weights, cohort, memory)
    for client in "abc":
        found = [float(np.ravel(leaf)[0]) for leaf in states[client]]
        np.testing.assert_allclose(found, memory[client], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_it_comes_near_that_under_secure_sums(local_context, name):
    module, hparams, changes, round_fn = CASES[name]
    hidden = secure_mean.Hparams(zeroing=False, clipping=False, bits=24)
    made = make(aggregator=secure_mean, aggregator_hparams=hidden, **changes)
    seen = run(local_context, module.build(hparams, made))
    # 24 bits over a bound of 50 and more: steps of 1e-5, divided by the weights' sum.
    np.testing.assert_allclose([w for w, _, _ in seen], over_rounds(round_fn), atol=2e-3)


def weights_after(context, module, hparams, cohorts=COHORTS, data=None, **changes):
    seen = run(context, module.build(hparams, make(**changes)), cohorts, data)
    return [w for w, _, _ in seen]


def test_fed_prox_with_mu_0_is_fed_avg_bit_for_bit(local_context):
    ours = weights_after(local_context, fed_prox, fed_prox.Hparams(mu=0.0))
    np.testing.assert_array_equal(ours, weights_after(local_context, fed_avg, fed_avg.Hparams()))


def test_fed_avg_with_one_batch_and_rate_1_is_fed_sgd(local_context):
    data = {"a": client_batches(5, [4]), "b": client_batches(6, [3], slope=2.0)}
    cohorts = [("a", "b")] * 2
    ours = weights_after(local_context, fed_sgd, fed_sgd.Hparams(), cohorts, data)
    theirs = weights_after(
        local_context, fed_avg, fed_avg.Hparams(), cohorts, data, client_optimizer=SGD(1.0)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_fed_nova_with_equal_steps_is_fed_avg(local_context):
    data = {"a": client_batches(5, [4, 1]), "b": client_batches(6, [3, 3], slope=2.0)}
    cohorts = [("a", "b")] * 3
    ours = weights_after(local_context, fed_nova, fed_nova.Hparams(), cohorts, data)
    theirs = weights_after(local_context, fed_avg, fed_avg.Hparams(), cohorts, data)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_scaffold_in_its_first_round_is_fed_avg_with_uniform_weights(local_context):
    ours = weights_after(local_context, scaffold, scaffold.Hparams(), COHORTS[:1])
    theirs = weights_after(local_context, fed_avg, UNIFORM, COHORTS[:1])
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


TFFS = {
    "fed_prox": lambda: tff.learning.algorithms.build_weighted_fed_prox(
        model_fn, MU, SGD(RATE), SGD(1.0)
    ),
    "fed_sgd": lambda: tff.learning.algorithms.build_fed_sgd(model_fn, SGD(1.0)),
    "mime_lite": lambda: tff.learning.algorithms.build_weighted_mime_lite(
        model_fn, SGD(RATE, momentum=RHO)
    ),
}


def tffs_weights(context, name):
    process = TFFS[name]()
    state, seen = process.initialize(), []
    for round_num, cohort in enumerate(COHORTS, 1):
        inputs = [clients.ClientInputs(CLIENTS[c], client=c) for c in cohort]
        output, _ = context.next(process, state, inputs, seed=0, round_num=round_num)
        state = output.state
        leaves = process.get_model_weights(state).trainable
        seen.append([float(np.ravel(leaf)[0]) for leaf in leaves])
    return seen


@pytest.mark.parametrize("name", ["fed_sgd", "mime_lite"])
def test_it_is_tffs(local_context, name):
    module, hparams, changes, _ = CASES[name]
    ours = weights_after(local_context, module, hparams, **changes)
    np.testing.assert_allclose(ours, tffs_weights(local_context, name), rtol=1e-5)


def test_tffs_fed_prox_pushes_away_from_the_servers_weights(local_context):
    """TFF 0.87 adds mu (w_t - w), the paper's gradient has mu (w - w_t): theirs is not ours."""

    def away(weights, cohort, memory):
        push = lambda g, w: g - MU * (w - weights)
        news = [local_sgd(weights, CLIENTS[c], correct=push) for c in cohort]
        return np.average(news, 0, counts(cohort))

    found = tffs_weights(local_context, "fed_prox")
    np.testing.assert_allclose(found, over_rounds(away), rtol=1e-5)


@pytest.mark.parametrize("name", ["scaffold_2", "fed_dyn"])
def test_with_all_clients_it_finds_the_optimum_that_fed_avg_misses(local_context, name):
    """Quadratic losses, as many examples for all: the optimum is that of the pooled data."""
    data = {
        c: client_batches(i, [3] * (2 + i), slope=s, offset=o)[:2] * (1 + i)
        for i, (c, s, o) in enumerate([("a", 1.0, 2.0), ("b", -2.0, 0.0), ("c", 0.5, -3.0)])
    }
    # The same six examples of each client, once, twice and three times: drift differs.
    pooled = [b for c in data for b in data[c][:2]]
    x, y = (np.concatenate([b[i] for b in pooled]).ravel().astype(float) for i in (0, 1))
    best = np.linalg.lstsq(np.stack([x, np.ones_like(x)], 1), y, rcond=None)[0]
    module, hparams, _, _ = CASES[name]
    cohorts = [tuple("abc")] * 150
    ours = weights_after(local_context, module, hparams, cohorts, data)
    theirs = weights_after(local_context, fed_avg, UNIFORM, cohorts, data)
    gap = lambda w: loss(w, pooled) - loss(best, pooled)
    # Batches of a client differ, so that its own fixed point is near the optimum, not at it.
    assert gap(ours[-1]) < 0.02 * gap(theirs[-1]), (ours[-1], theirs[-1], best)


@pytest.mark.parametrize(
    ("module", "hparams", "said"),
    [
        (scaffold, scaffold.Hparams(), "SGD without momentum"),
        (fed_nova, fed_nova.Hparams(), "train by SGD"),
    ],
)
def test_other_client_optimizers_are_refused(module, hparams, said):
    optimizer = tff.learning.optimizers.build_adam(0.1)
    with pytest.raises(ValueError, match=said):
        module.build(hparams, make(client_optimizer=optimizer))


def test_bad_knobs_are_refused():
    with pytest.raises(ValueError, match="fed_prox_mu must be >= 0, got -1"):
        fed_prox.Hparams(mu=-1.0)
    with pytest.raises(ValueError, match="fed_dyn_alpha must be > 0, got 0"):
        fed_dyn.Hparams(alpha=0.0)
