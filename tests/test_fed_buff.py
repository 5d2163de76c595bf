"""FedBuff against its equation in numpy, against FedAvg, and through resumes and lost rounds."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from algorithm_helpers import CLIENTS, FIRST, local_sgd, make, num_examples, weights_of
from kill_helpers import kill_at
from test_training import rows_of, run

from tff_experiments import records, runtime, tasks, training
from tff_experiments.aggregation import secure_mean
from tff_experiments.algorithms import fed_avg, fed_buff
from tff_experiments.clients import attacks, delays, dropouts, participation
from tff_experiments.runtime import clients
from tff_experiments.secure_sum import secagg

# (client, staleness) of each round; the model of three steps ago is asked for, too.
ROUNDS = [
    [("a", 0), ("b", 0)],
    [("b", 1), ("c", 0)],
    [("a", 2), ("c", 1), ("b", 0)],
    [("c", 3), ("a", 1)],
]
DELAY = delays.Hparams(model="lognormal", median_s=10, client_sigma=0.8, round_sigma=0.4)
WORLD = participation.World(delay=DELAY, dropping=dropouts.Hparams(rate=0.2, stage="mix"))
HPARAMS = training.Hparams(rounds=9, clients_per_round=3, eval_every=3, checkpoint_every=4)


def build(**kwargs):
    return fed_buff.build(fed_buff.Hparams(**kwargs), make())


def next_round(context, process, state, cohort, round_num, **extras):
    inputs = [
        clients.ClientInputs(CLIENTS[name], {"version": np.int32(tau), **extras}, name)
        for name, tau in cohort
    ]
    output, measured = context.next(process, state, inputs, seed=0, round_num=round_num)
    return output.state, output.metrics, measured


def oracle(weighting, exponent):
    """w_{t+1} = w_t - sum_k n_k (1 + tau_k)^-exponent (w_{t-tau_k} - w_k) / sum_k n_k."""
    models = [FIRST]
    for cohort in ROUNDS:
        total, weight = np.zeros(2), 0.0
        for name, tau in cohort:
            start = models[len(models) - 1 - tau]
            n = num_examples(CLIENTS[name]) if weighting == "examples" else 1
            total += n * (1 + tau) ** -exponent * (start - local_sgd(start, CLIENTS[name]))
            weight += n
        models.append(models[-1] - total / weight)
    return models[1:]


@pytest.mark.parametrize("weighting", ["examples", "uniform"])
@pytest.mark.parametrize("exponent", [0.5, 0.0, 1.0])
def test_it_is_its_equation_in_float64(weighting, exponent, local_context):
    process = build(weighting=weighting, staleness_exponent=exponent, max_staleness=3)
    state = process.initialize()
    for round_num, (cohort, wanted) in enumerate(
        zip(ROUNDS, oracle(weighting, exponent), strict=True), 1
    ):
        state, metrics, _ = next_round(local_context, process, state, cohort, round_num)
        # float32 of numbers about 1, some tens of operations.
        np.testing.assert_allclose(weights_of(process, state), wanted, rtol=0, atol=2e-6)
        seen = sum(num_examples(CLIENTS[name]) for name, _ in cohort)
        assert metrics["client_work"]["train"]["num_examples"] == seen


def test_a_model_that_is_not_kept_is_an_error(local_context):
    process = build(max_staleness=1)
    with pytest.raises(runtime.ClientError, match="client a"):
        next_round(local_context, process, process.initialize(), [("a", 2)], 1)


def test_a_client_downloads_one_model_and_not_all_that_are_kept(local_context):
    sizes = []
    for past in (0, 7):
        process = build(max_staleness=past)
        cohort = [("a", 0), ("b", 0)]
        measured = next_round(local_context, process, process.initialize(), cohort, 1)[2]
        sizes.append(measured["bytes/downlink_per_client"])
    plain = fed_avg.build(fed_avg.Hparams(), make())
    inputs = [clients.ClientInputs(CLIENTS["a"], client="a")]
    _, measured = local_context.next(plain, plain.initialize(), inputs, seed=0, round_num=1)
    assert sizes == [measured["bytes/downlink_per_client"]] * 2
    # Two weights and a learning rate, float32.
    assert sizes[0] == 12


@pytest.mark.parametrize("lost", ["aborted", "rejected"])
def test_after_a_round_that_is_lost_clients_still_start_from_their_own_model(lost, local_context):
    """Round 2 changes nothing. In round 3 a model that is two steps old is the first."""
    process = fed_buff.build(fed_buff.Hparams(max_staleness=2), make(attacked=True))
    honest = {"attack": np.float32(1)}
    state, _, _ = next_round(local_context, process, process.initialize(), [("a", 0)], 1, **honest)
    first = weights_of(process, state)
    if lost == "aborted":
        state = process.passed(state)
    else:
        nan = {"attack": np.float32(np.nan)}
        state, metrics, _ = next_round(local_context, process, state, [("b", 0)], 2, **nan)
        assert metrics["finalizer"]["update_non_finite"] == 1
    np.testing.assert_array_equal(weights_of(process, state), first)
    assert state.round_num == 2, "schedules go by rounds"
    kept = [[float(np.ravel(x[i])[0]) for x in tf.nest.flatten(state.algorithm)] for i in (0, 1)]
    np.testing.assert_array_equal(kept[0], np.float32(first))
    np.testing.assert_array_equal(kept[1], np.float32(FIRST))
    state, _, _ = next_round(local_context, process, state, [("c", 2)], 3, **honest)
    moved = (FIRST - local_sgd(FIRST, CLIENTS["c"])) / np.sqrt(3)
    np.testing.assert_allclose(weights_of(process, state), first - moved, rtol=0, atol=2e-6)


@pytest.fixture(scope="module")
def linear(ten_clients):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)


def of_digits(linear, algorithm=fed_buff, hparams=None, **changes):
    return algorithm.build(
        hparams or fed_buff.Hparams(concurrency=6, max_staleness=2),
        make(model_fn=linear.model_fn, num_clients=10, **changes),
    )


def same(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("weighting", ["examples", "uniform"])
def test_without_delays_and_with_as_many_in_training_it_is_fed_avg_bit_for_bit(
    weighting, linear, ten_clients, local_context, tmp_path
):
    hparams = fed_buff.Hparams(weighting=weighting, concurrency=3)
    ours = of_digits(linear, hparams=hparams)
    theirs = of_digits(linear, fed_avg, fed_avg.Hparams(weighting=weighting))
    args = linear, ten_clients, HPARAMS, local_context
    assert same(run(tmp_path / "ours", ours, *args), run(tmp_path / "avg", theirs, *args))
    own = ("train/staleness_mean", "train/staleness_max", "train/too_stale")
    rows = rows_of(tmp_path / "ours")
    assert [[row.pop(name) for name in own] for row in rows] == [[0, 0, 0]] * 9
    assert [row | {"bytes/uplink_per_client": 0} for row in rows] == [
        row | {"bytes/uplink_per_client": 0} for row in rows_of(tmp_path / "avg")
    ]


@pytest.mark.parametrize("algorithm", ["fed_buff", "fed_avg"])
def test_a_killed_run_with_a_clock_goes_on_bit_for_bit(algorithm, linear, ten_clients, tmp_path):
    world, process = WORLD, of_digits(linear)
    if algorithm == "fed_avg":
        process = of_digits(linear, fed_avg, fed_avg.Hparams())
        selection = participation.Hparams(overselect=0.6, round_deadline_s=15)
        world = dataclasses.replace(WORLD, selection=selection)

    def of(name, workers, **kwargs):
        with runtime.use(client_workers=workers) as context:
            args = process, linear, ten_clients, HPARAMS, context
            return run(tmp_path / name, *args, world=world, **kwargs)

    whole = of("whole", 1)
    for killed in (3, 6):
        with pytest.raises(RuntimeError, match="killed"):
            of("cut", 2, on_round=kill_at(killed))
    assert same(whole, of("cut", 2))
    rows = rows_of(tmp_path / "whole")
    assert rows == rows_of(tmp_path / "cut")
    times = [row["time/total_s"] for row in rows]
    assert times == sorted(times) and times[-1] > times[0] > 0
    if algorithm == "fed_buff":
        assert max(row["train/staleness_max"] for row in rows) == 2
        assert sum(row["train/too_stale"] for row in rows) > 0
    else:
        assert sum(row["train/stragglers"] for row in rows) > 0


def test_it_runs_under_secagg_and_with_attackers(linear, ten_clients, tmp_path):
    """`run_script` builds the secure process in the contract test; here clients drop out in it."""
    process = of_digits(linear, attacked=True, aggregator=secure_mean)
    world = dataclasses.replace(
        WORLD, dropping=dropouts.Hparams(rate=0.1, stage="before_unmasking")
    )
    attacking = attacks.Hparams(kind="sign_flip", fraction=0.3)
    hparams = dataclasses.replace(HPARAMS, clients_per_round=6)
    protocol = secagg.build(secagg.Hparams())
    with runtime.use(secure_sum=protocol) as context:
        run(
            tmp_path, process, linear, ten_clients, hparams, context,
            world=world, attacking=attacking,
        )  # fmt: skip
    rows = records.read_metrics(tmp_path)
    assert all(row["secure_sum/clients"] == 6 for row in rows)
    assert sum(row["train/attackers"] for row in rows) > 0
    assert any(row["train/staleness_max"] > 0 for row in rows)
    assert rows[-1]["test/loss"] < rows[2]["test/loss"]


@pytest.mark.parametrize(
    ("knob", "value", "least"),
    [("concurrency", 0, 1), ("max_staleness", -1, 0), ("staleness_exponent", float("nan"), 0)],
)
def test_what_is_out_of_range_is_refused(knob, value, least):
    with pytest.raises(ValueError, match=f"fed_buff_{knob} must be >= {least}, got {value}"):
        fed_buff.Hparams(**{knob: value})
