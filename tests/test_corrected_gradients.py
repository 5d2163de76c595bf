"""FedAvg, FedSGD, FedProx, SCAFFOLD, FedDyn, FedNova, MimeLite and Mime: each against its equations
in numpy over three rounds in which nobody is in all, and in its limits.
"""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
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
    make,
    model_fn,
    num_examples,
    run,
)  # fmt: skip

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
from tff_experiments.runtime import clients, local

N = 3  # Clients of the data set.
MU, ALPHA, RHO = 0.5, 0.4, 0.7
UNIFORM = fed_avg.Hparams(weighting="uniform")


def counts(cohort, data=CLIENTS):
    return [num_examples(data[name]) for name in cohort]


def full_gradient(weights, batches):
    whole = [np.concatenate(columns) for columns in zip(*batches, strict=True)]
    return gradient(weights, whole)


def over_rounds(round_fn, cohorts=COHORTS, data=CLIENTS):
    """Weights after each round, and what clients ("a", ..) and the server remember at the end;
    `round_fn(weights, cohort, data, memory)` gives the new weights.
    """
    weights, memory, seen = FIRST, {}, []
    for cohort in cohorts:
        weights = round_fn(weights, cohort, data, memory)
        seen.append(weights)
    return np.array(seen), memory


def avg_round(weights, cohort, data, memory, *, mu=0.0, uniform=False):
    pull = lambda g, w: g + mu * (w - weights)
    news = [local_sgd(weights, data[c], correct=pull) for c in cohort]
    return np.average(news, 0, None if uniform else counts(cohort, data))


def sgd_round(weights, cohort, data, memory):
    gradients = [full_gradient(weights, data[c]) for c in cohort]
    return weights - np.average(gradients, 0, counts(cohort, data))


def scaffold_round(weights, cohort, data, memory, *, option):
    c = memory.setdefault("server", np.zeros(2))
    news, changes = [], []
    for name in cohort:
        own = memory.get(name, np.zeros(2))
        new = local_sgd(weights, data[name], correct=lambda g, w, own=own: g - own + c)
        if not data[name]:
            renewed = own
        elif option == "1":
            renewed = full_gradient(weights, data[name])
        else:
            renewed = own - c + (weights - new) / (len(data[name]) * RATE)
        news.append(new)
        changes.append(renewed - own)
        memory[name] = renewed
    memory["server"] = c + len(cohort) / N * np.mean(changes, 0)
    return np.mean(news, 0)


def dyn_round(weights, cohort, data, memory):
    news = []
    for name in cohort:
        own = memory.get(name, np.zeros(2))
        pull = lambda g, w, own=own: g - own + ALPHA * (w - weights)
        news.append(local_sgd(weights, data[name], correct=pull))
        memory[name] = own - ALPHA * (news[-1] - weights)
    h = memory.get("server", np.zeros(2)) - ALPHA / N * sum(new - weights for new in news)
    memory["server"] = h
    return np.mean(news, 0) - h / ALPHA


def nova_round(weights, cohort, data, memory, *, rho=0.0):
    p = np.array(counts(cohort, data)) / sum(counts(cohort, data))
    directions, norms = [], []
    for name in cohort:
        new, velocity, a = np.array(weights), np.zeros(2), np.zeros(0)
        for batch in data[name]:
            velocity = rho * velocity + gradient(new, batch)
            new = new - RATE * velocity
            # What each gradient so far has been counted with, written out step by step.
            a = np.append(a, 0.0)
            a += rho ** np.arange(len(a))[::-1]
        norms.append(a.sum())
        directions.append((weights - new) / a.sum())
    return weights - (p @ norms) * (p @ np.array(directions))


def mime_round(weights, cohort, data, memory, *, corrected):
    s, c = memory.get("s", np.zeros(2)), memory.get("c")
    news, gradients = [], []
    for name in cohort:
        new = np.array(weights)
        for batch in data[name]:
            g = gradient(new, batch)
            if corrected and c is not None:
                g = g - gradient(weights, batch) + c
            new = new - RATE * (RHO * s + g)  # SGD with momentum; s stays.
        news.append(new)
        gradients.append(full_gradient(weights, data[name]))
    mean = np.average(gradients, 0, counts(cohort, data))
    memory["s"], memory["c"] = RHO * s + mean, mean
    return np.average(news, 0, counts(cohort, data))


MOMENTUM = {"client_optimizer": SGD(RATE, momentum=RHO)}
partial = functools.partial
# Algorithm, its knobs, ingredients, the oracle's round.
CASES = {
    "fed_avg": (fed_avg, fed_avg.Hparams(), {}, avg_round),
    "fed_avg_uniform": (fed_avg, UNIFORM, {}, partial(avg_round, uniform=True)),
    "fed_sgd": (fed_sgd, fed_sgd.Hparams(), {}, sgd_round),
    "fed_prox": (fed_prox, fed_prox.Hparams(mu=MU), {}, partial(avg_round, mu=MU)),
    "scaffold_1": (scaffold, scaffold.Hparams(option="1"), {}, partial(scaffold_round, option="1")),
    "scaffold_2": (scaffold, scaffold.Hparams(option="2"), {}, partial(scaffold_round, option="2")),
    "fed_dyn": (fed_dyn, fed_dyn.Hparams(alpha=ALPHA), {}, dyn_round),
    "fed_nova": (fed_nova, fed_nova.Hparams(), {}, nova_round),
    "fed_nova_momentum": (fed_nova, fed_nova.Hparams(), MOMENTUM, partial(nova_round, rho=RHO)),
    "mime_lite": (mime_lite, mime_lite.Hparams(), MOMENTUM, partial(mime_round, corrected=False)),
    "mime": (mime, mime.Hparams(), MOMENTUM, partial(mime_round, corrected=True)),
}
STATES = ("scaffold_1", "scaffold_2", "fed_dyn")


@pytest.fixture(scope="module")
def context():
    with local.use(local.Hparams()) as context:
        yield context


@pytest.fixture(scope="module")
def process():
    """Builds a case's process, each once."""

    @functools.cache
    def build(name):
        module, hparams, changes, _ = CASES[name]
        return module.build(hparams, make(**changes))

    return build


def weights_after(context, process, cohorts=COHORTS, data=None):
    return np.array([w for w, _, _ in run(context, process, cohorts, data)])


def values(leaves):
    return np.array([float(np.ravel(leaf)[0]) for leaf in leaves])


@pytest.mark.parametrize("name", CASES)
def test_three_rounds_are_those_of_the_paper(context, process, name):
    seen = run(context, process(name))
    wanted, memory = over_rounds(CASES[name][-1])
    # float32 against float64.
    np.testing.assert_allclose([w for w, _, _ in seen], wanted, rtol=3e-5, atol=1e-6)
    examples = [metrics["client_work"]["train"]["num_examples"] for _, metrics, _ in seen]
    assert examples == [sum(counts(cohort)) for cohort in COHORTS]
    states = {client: values(leaves) for client, leaves in seen[-1][-1].items()}
    assert set(states) == (set("abc") if name in STATES else set())
    for client, state in states.items():
        np.testing.assert_allclose(state, memory[client], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_a_round_without_clients_changes_nothing(context, process, name):
    cohorts = [*COHORTS[:2], (), *COHORTS[2:]]
    found = weights_after(context, process(name), cohorts)
    np.testing.assert_array_equal(found[2], found[1])
    wanted, _ = over_rounds(CASES[name][-1])
    np.testing.assert_allclose(found[3], wanted[2], rtol=3e-5, atol=1e-6)


@pytest.mark.parametrize("name", STATES)
def test_who_has_no_examples_or_no_finite_update_keeps_its_state(context, process, name):
    broken = [(np.full((2, 1), np.nan, np.float32), np.zeros((2, 1), np.float32))]
    data = {**CLIENTS, "empty": [], "broken": broken}
    cohorts = [(*cohort, "empty") for cohort in COHORTS]
    seen = run(context, process(name), [(*cohort, "broken") for cohort in cohorts], data)
    # Who has no examples is one of the round's clients all the same; who is broken is none.
    wanted, memory = over_rounds(CASES[name][-1], cohorts, data)
    np.testing.assert_allclose([w for w, _, _ in seen], wanted, rtol=3e-5, atol=1e-6)
    states = seen[-1][-1]
    np.testing.assert_allclose(values(states["a"]), memory["a"], rtol=1e-4, atol=1e-5)
    for client in ("empty", "broken"):
        np.testing.assert_array_equal(values(states[client]), [0, 0])


def test_fed_prox_with_mu_0_is_fed_avg_bit_for_bit(context, process):
    ours = weights_after(context, fed_prox.build(fed_prox.Hparams(mu=0.0), make()))
    np.testing.assert_array_equal(ours, weights_after(context, process("fed_avg")))


def test_fed_avg_with_one_batch_and_rate_1_is_fed_sgd(context, process):
    data = {"a": client_batches(5, [4]), "b": client_batches(6, [3], slope=2.0)}
    cohorts = [("a", "b")] * 2
    ours = weights_after(context, process("fed_sgd"), cohorts, data)
    one_step = fed_avg.build(fed_avg.Hparams(), make(client_optimizer=SGD(1.0)))
    theirs = weights_after(context, one_step, cohorts, data)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_fed_nova_with_equal_steps_is_fed_avg(context, process):
    data = {"a": client_batches(5, [4, 1]), "b": client_batches(6, [3, 3], slope=2.0)}
    cohorts = [("a", "b")] * 3
    ours = weights_after(context, process("fed_nova"), cohorts, data)
    theirs = weights_after(context, process("fed_avg"), cohorts, data)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("name", ["scaffold_1", "scaffold_2"])
def test_scaffold_in_its_first_round_is_fed_avg_with_uniform_weights(context, process, name):
    ours = weights_after(context, process(name), COHORTS[:1])
    theirs = weights_after(context, process("fed_avg_uniform"), COHORTS[:1])
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("name", ["mime", "mime_lite"])
def test_mime_in_its_first_round_is_fed_avg(context, process, name):
    ours = weights_after(context, process(name), COHORTS[:1])
    np.testing.assert_array_equal(ours, weights_after(context, process("fed_avg"), COHORTS[:1]))


def penalized_model_fn():
    """The problem's model with 0.3 w^2 + 0.3 b^2 in its loss."""
    l2 = tf.keras.regularizers.L2(0.3)
    constant = tf.keras.initializers.Constant
    layer = tf.keras.layers.Dense(
        1,
        kernel_initializer=constant(FIRST[0]),
        bias_initializer=constant(FIRST[1]),
        kernel_regularizer=l2,
        bias_regularizer=l2,
    )
    model = tf.keras.Sequential([tf.keras.Input((1,)), layer])
    spec = (tf.TensorSpec([None, 1], tf.float32), tf.TensorSpec([None, 1], tf.float32))
    return tff.learning.models.from_keras_model(
        model, input_spec=spec, loss=tf.keras.losses.MeanSquaredError()
    )


def test_mimes_first_step_is_the_mean_gradient_whatever_the_models_loss(context):
    """With one batch a client, g(w_t) - g(w_t) + c = c: all of the loss is in both gradients."""
    data = {"a": client_batches(5, [4]), "b": client_batches(6, [3], slope=2.0)}
    made = dataclasses.replace(make(), model_fn=penalized_model_fn)
    found = weights_after(context, mime.build(mime.Hparams(), made), [("a",), ("b",)], data)
    c = gradient(FIRST, data["a"][0]) + 2 * 0.3 * FIRST
    np.testing.assert_allclose(found[1], found[0] - RATE * c, rtol=1e-5)


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
        seen.append(values(process.get_model_weights(state).trainable))
    return seen


@pytest.mark.parametrize("name", ["fed_sgd", "mime_lite"])
def test_it_is_tffs(context, process, name):
    ours = weights_after(context, process(name))
    np.testing.assert_allclose(ours, tffs_weights(context, name), rtol=1e-5)


def test_tffs_fed_prox_pushes_away_from_the_servers_weights(context):
    """TFF 0.87 adds mu (w_t - w), the paper's gradient has mu (w - w_t): theirs is not ours."""
    away, _ = over_rounds(partial(avg_round, mu=-MU))
    np.testing.assert_allclose(tffs_weights(context, "fed_prox"), away, rtol=1e-5)


@pytest.mark.parametrize(("name", "rounds"), [(s, 250 if s == "fed_dyn" else 50) for s in STATES])
def test_with_all_clients_it_finds_the_optimum_that_fed_avg_misses(context, process, name, rounds):
    """Quadratic losses, 1, 3 and 5 steps on all of a client's data: the clients' drifts differ."""
    lines = {"a": (1.0, 2.0), "b": (-2.0, 0.0), "c": (0.5, -3.0)}
    whole = {
        c: client_batches(i, [6], slope=s, offset=o) for i, (c, (s, o)) in enumerate(lines.items())
    }
    data = {c: whole[c] * steps for c, steps in zip("abc", (1, 3, 5), strict=True)}
    x, y = (np.concatenate([whole[c][0][i] for c in "abc"]).astype(float).ravel() for i in (0, 1))
    best = np.linalg.lstsq(np.stack([x, np.ones_like(x)], 1), y, rcond=None)[0]
    (*_, found) = weights_after(context, process(name), [tuple("abc")] * rounds, data)
    # In numpy the rest is 1e-9 (SCAFFOLD), 2e-6 (FedDyn) after so many rounds; float32.
    np.testing.assert_allclose(found, best, atol=1e-5)
    (*_, missed) = weights_after(context, process("fed_avg_uniform"), [tuple("abc")] * 50, data)
    assert np.abs(missed - best).max() > 0.5


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
