"""HypCluster against its equations in numpy, its limit, and the two clusters that it finds."""

import numpy as np
import pytest
from algorithm_helpers import (
    CLIENTS,
    COHORTS,
    FIRST,
    SGD,
    client_batches,
    local_sgd,
    loss,
    make,
    num_examples,
    run,
)
from personal_helpers import ROUNDED, evaluate, of_task, secure

from tff_experiments import tasks
from tff_experiments.aggregation import secure_mean
from tff_experiments.algorithms import fed_avg, hypcluster
from tff_experiments.runtime import clients, local
from tff_experiments.secure_sum import secagg

SECOND = np.array([1.5, -0.5])


def weights_of_seed(seed):
    """The problem's weights for its own seed, 0, and others for all other seeds."""
    w = FIRST if seed == 0 else SECOND
    return [np.array([[w[0]]], np.float32), np.array([w[1]], np.float32)]


def run_states(context, process, cohorts, data=CLIENTS):
    """(state, metrics) after each round."""
    state, seen = process.initialize(), []
    for round_num, cohort in enumerate(cohorts, 1):
        inputs = [clients.ClientInputs(data[name], client=name) for name in cohort]
        output, _ = context.next(process, state, inputs, seed=0, round_num=round_num)
        state = output.state
        seen.append((state, output.metrics))
    return seen


def models_of(state):
    """All models, [K, 2]."""
    first = [np.ravel(w)[0] for w in state.global_model_weights.trainable]
    others = [np.reshape(w, [-1]) for w in state.algorithm.others]
    return np.stack([first, *np.transpose(others)]).astype(float)


def oracle(cohorts, *, momentum=0.0, weighting="examples"):
    """(models, clients per cluster) after each round."""
    models, velocity, seen = np.stack([FIRST, SECOND]), np.zeros([2, 2]), []
    for cohort in cohorts:
        best = {n: int(np.argmin([loss(m, CLIENTS[n]) for m in models])) for n in cohort}
        for j in range(2):
            own = [n for n in cohort if best[n] == j]
            gradient = np.zeros(2)
            if own:
                sizes = [num_examples(CLIENTS[n]) if weighting == "examples" else 1 for n in own]
                deltas = [models[j] - local_sgd(models[j], CLIENTS[n]) for n in own]
                gradient = np.average(deltas, axis=0, weights=sizes)
            velocity[j] = momentum * velocity[j] + gradient
            if own:
                models[j] = models[j] - velocity[j]
        counts = [list(best.values()).count(j) for j in range(2)]
        seen.append((models.copy(), counts))
    return seen


LONG = [*COHORTS, ("a", "b", "c"), ("b",), ("c",)]


@pytest.mark.parametrize("weighting", ["examples", "uniform"])
def test_rounds_are_those_of_the_equations(local_context, weighting):
    process = hypcluster.build(
        hypcluster.Hparams(weighting=weighting), make(weights_of_seed=weights_of_seed)
    )
    seen = run_states(local_context, process, LONG)
    wanted = oracle(LONG, weighting=weighting)
    assert {0, 1} <= {np.argmax(c) for _, c in wanted}, "both clusters have clients"
    for (state, metrics), (models, counts) in zip(seen, wanted, strict=True):
        np.testing.assert_allclose(models_of(state), models, rtol=5e-5, atol=1e-6)
        named = [metrics["finalizer"][f"cluster_{j}_clients"] for j in range(2)]
        assert named == counts


def test_each_model_has_the_server_optimizers_moments_of_its_own(local_context):
    ingredients = make(weights_of_seed=weights_of_seed, server_optimizer=SGD(1.0, momentum=0.5))
    process = hypcluster.build(hypcluster.Hparams(), ingredients)
    seen = run_states(local_context, process, LONG)
    for (state, _), (models, _) in zip(seen, oracle(LONG, momentum=0.5), strict=True):
        np.testing.assert_allclose(models_of(state), models, rtol=5e-5, atol=1e-6)


@pytest.mark.parametrize(
    "aggregator", ["mean", pytest.param("secure_mean", marks=pytest.mark.slow)]
)
def test_with_one_cluster_it_is_fed_avg_bit_for_bit(local_context, aggregator):
    made = make() if aggregator == "mean" else make(aggregator=secure_mean)
    ours = run(local_context, hypcluster.build(hypcluster.Hparams(clusters=1), made))
    theirs = run(local_context, fed_avg.build(fed_avg.Hparams(), made))
    assert [a.tobytes() for a, _, _ in ours] == [b.tobytes() for b, _, _ in theirs]


@pytest.mark.slow
def test_it_runs_under_secure_sums(local_context):
    process = hypcluster.build(hypcluster.Hparams(), secure(weights_of_seed=weights_of_seed))
    seen = run_states(local_context, process, COHORTS)
    for (state, metrics), (models, counts) in zip(seen, oracle(COHORTS), strict=True):
        np.testing.assert_allclose(models_of(state), models, rtol=0, atol=ROUNDED)
        assert metrics["finalizer"]["cluster_1_clients"] == counts[1]


def test_secagg_hides_who_chose_what_and_sums_the_same():
    process = hypcluster.build(hypcluster.Hparams(), secure(weights_of_seed=weights_of_seed))
    cohorts = [("a", "b", "c")] * 2
    with local.use(local.Hparams(), secure_sum=secagg.build(secagg.Hparams())) as context:
        real = run_states(context, process, cohorts)
    with local.use(local.Hparams()) as context:
        simulated = run_states(context, process, cohorts)
    for (a, _), (b, _) in zip(real, simulated, strict=True):
        assert models_of(a).tobytes() == models_of(b).tobytes()


# Two groups of clients that no single line serves.
TRUE = {"up": (2.0, 0.0), "down": (-2.0, 1.0)}
GROUPS = {
    f"{group}{i}": client_batches(
        10 * i + (group == "up"), [4, 4, 4], slope=line[0], offset=line[1]
    )
    for group, line in TRUE.items()
    for i in range(3)
}


def test_two_true_clusters_are_found(local_context):
    # Each of the first models is nearer to another line: the paper's condition.
    first = lambda seed: [w if seed == 0 else -w for w in weights_of_seed(0)]
    process = hypcluster.build(hypcluster.Hparams(), make(weights_of_seed=first))
    cohorts = [("up0", "down0", "up1", "down1"), ("up2", "down2", "up0", "down1")] * 15
    state, metrics = run_states(local_context, process, cohorts, data=GROUPS)[-1]
    found = models_of(state)
    # Noise of 0.1 on 36 points of a group, and the clients' drift.
    for line in TRUE.values():
        assert np.min(np.linalg.norm(found - line, axis=1)) < 0.1
    assert metrics["finalizer"]["cluster_0_clients"] == metrics["finalizer"]["cluster_1_clients"]
    losses = evaluate(local_context, process, state, train_data=GROUPS, test_data=GROUPS)
    best = process.get_model_weights(state)
    for name, (ours, personal) in losses.items():
        assert personal < 0.05
        cluster = min(found, key=lambda model: loss(model, GROUPS[name]))
        np.testing.assert_allclose(personal, loss(cluster, GROUPS[name]), rtol=1e-4)
        evaluated = [float(np.ravel(w)[0]) for w in best.trainable]
        np.testing.assert_allclose(ours, loss(evaluated, GROUPS[name]), rtol=1e-4)
    assert max(ours for ours, _ in losses.values()) > 1, "one model does not serve both groups"


def test_the_plain_evaluation_is_of_the_cluster_that_most_chose_lately(local_context):
    process = hypcluster.build(hypcluster.Hparams(), make(weights_of_seed=weights_of_seed))
    state = process.initialize()
    for chosen, cluster in ([0.0, 0.0], 0), ([1.0, 3.0], 1), ([3.0, 1.0], 0):
        clusters = state.algorithm._replace(chosen=np.float32(chosen))
        weights = process.get_model_weights(state._replace(algorithm=clusters))
        found = [np.ravel(w)[0] for w in weights.trainable]
        np.testing.assert_array_equal(found, np.float32([FIRST, SECOND][cluster]))
    first, *_, last = run_states(local_context, process, [("a", "b", "c"), ("c",), ()])
    counts = [first[1]["finalizer"][f"cluster_{j}_clients"] for j in range(2)]
    faded = 0.81 * np.array(counts) + 0.9 * np.array([0, 1])  # c chooses SECOND.
    np.testing.assert_allclose(last[0].algorithm.chosen, faded, rtol=1e-6)


def test_models_start_from_weights_of_different_seeds(writers):
    task = tasks.emnist_2nn.build(tasks.emnist_2nn.Hparams(hidden_units=4), data=writers, seed=0)
    made = of_task(task, weights_of_seed=task.weights_of_seed)
    with local.use(local.Hparams()):
        state = hypcluster.build(hypcluster.Hparams(clusters=3), made).initialize()
        plain = fed_avg.build(fed_avg.Hparams(), made).initialize()
    for ours, theirs in zip(
        state.global_model_weights.trainable, plain.global_model_weights.trainable, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    kernel, others = state.global_model_weights.trainable[0], state.algorithm.others[0]
    models = [kernel, *others]
    assert len({model.tobytes() for model in models}) == 3
    limit = np.sqrt(6 / (784 + 4))  # Glorot's.
    assert all(0.9 * limit < np.abs(model).max() <= limit for model in models)


def test_equal_first_weights_are_refused():
    with pytest.raises(ValueError, match="same weights, whatever the seed; give --hypcluster_init"):
        hypcluster.build(hypcluster.Hparams(), make())
    equal = lambda seed: [np.zeros([1, 1], np.float32), np.zeros([1], np.float32)]
    with pytest.raises(ValueError, match="same weights, whatever the seed"):
        hypcluster.build(hypcluster.Hparams(), make(weights_of_seed=equal))
    with pytest.raises(ValueError, match="hypcluster_clusters must be >= 1, got 0"):
        hypcluster.Hparams(clusters=0)
