"""The loop against plain TFF, resume bit for bit, and what stops a run."""

import collections
import dataclasses
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from kill_helpers import kill_at

from tff_experiments import checkpoints, records, sampling, tasks, training
from tff_experiments.aggregation import mean
from tff_experiments.algorithms import fed_avg, ingredients, optimizers
from tff_experiments.clients import availability, delays, participation
from tff_experiments.datasets import federated_data
from tff_experiments.reporting import runs
from tff_experiments.runtime import local

HPARAMS = training.Hparams(rounds=3, clients_per_round=4, batch_size=16, eval_every=1)


def build(task, *, learning_rate=0.1, **server):
    return fed_avg.build(
        fed_avg.Hparams(),
        ingredients.Ingredients(
            model_fn=task.model_fn,
            client_optimizer=optimizers.build(optimizers.Hparams(learning_rate=learning_rate)),
            server_optimizer=optimizers.build(optimizers.Hparams(**server)),
            aggregator=mean.build(mean.Hparams()),
        ),
    )


def run(path, process, task, data, hparams, runtime, **kwargs):
    """Trains, and returns the weights."""
    folder = records.RunFolder(path)
    try:
        state = training.train(process, task, data, hparams, folder, runtime=runtime, **kwargs)
    finally:
        folder.close()
    return process.get_model_weights(state).trainable


def rows_of(path):
    rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [
        {k: v for k, v in row.items() if not k.startswith(("seconds/", "memory/"))} for row in rows
    ]


@pytest.fixture(scope="module")
def cnn(writers):
    hparams = tasks.emnist_cnn.Hparams(dropout=False)
    return tasks.emnist_cnn.build(hparams, data=writers, seed=0)


def with_dropout(build_layers):
    return lambda: [*build_layers()[:-1], tf.keras.layers.Dropout(0.5), *build_layers()[-1:]]


@pytest.fixture(scope="module")
def linear(ten_clients):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)


def plain_tff(model_fn, data, hparams):
    """The same experiment as a TFF user writes it, with nothing of this project's loop."""
    process = tff.learning.algorithms.build_weighted_fed_avg(
        model_fn,
        tff.learning.optimizers.build_sgdm(0.1),
        tff.learning.optimizers.build_sgdm(1.0),
    )
    state = process.initialize()
    for round_num in range(1, hparams.rounds + 1):
        datasets = []
        cohort = np.random.default_rng(np.random.SeedSequence([hparams.seed, round_num, 0])).choice(
            data.train.num_clients, hparams.clients_per_round, replace=False
        )
        for client in cohort:
            rng = np.random.default_rng(
                np.random.SeedSequence([hparams.seed, round_num, 1, client])
            )
            examples = data.train.examples(data.train.client_ids[client])
            order = rng.permutation(len(examples["labels"]))
            x = (examples["images"][order] / np.float32(255)).astype(np.float32)[..., None]
            dataset = tf.data.Dataset.from_tensor_slices((x, examples["labels"][order]))
            datasets.append(dataset.batch(hparams.batch_size))
        state = process.next(state, datasets).state
    return process.get_model_weights(state).trainable


def test_the_loop_gives_the_weights_of_a_plain_tff_script(cnn, writers, local_context, tmp_path):
    ours = run(tmp_path, build(cnn), cnn, writers, HPARAMS, local_context)
    plain = plain_tff(cnn.model_fn, writers, HPARAMS)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    assert np.abs(ours[-2] - np.asarray(cnn.keras_model().get_weights()[-2])).max() > 1e-3


@pytest.mark.parametrize("how", sampling.BY_NAME)
def test_an_interrupted_run_goes_on_bit_for_bit(how, linear, ten_clients, local_context, tmp_path):
    hparams = training.Hparams(
        rounds=9, clients_per_round=3, client_epochs=2, client_sampling=how, eval_every=2,
        checkpoint_every=4, max_examples_per_client=50,
    )  # fmt: skip
    cut = tmp_path / "cut"
    process = build(linear, momentum=0.9)
    whole = run(tmp_path / "whole", process, linear, ten_clients, hparams, local_context)

    with pytest.raises(RuntimeError, match="killed"):
        run(cut, process, linear, ten_clients, hparams, local_context, on_round=kill_at(7))
    assert checkpoints.rounds(cut / "checkpoints") == [4]
    resumed = run(cut, process, linear, ten_clients, hparams, local_context)
    for a, b in zip(whole, resumed, strict=True):
        assert a.tobytes() == b.tobytes()
    assert rows_of(tmp_path / "whole") == rows_of(cut)


@pytest.mark.slow
def test_a_run_with_dropout_goes_on_bit_for_bit_in_another_process(writers, tmp_path):
    task = tasks.mnist_cnn.build(tasks.mnist_cnn.Hparams(), data=writers, seed=0)
    task = dataclasses.replace(task, build_layers=with_dropout(task.build_layers))
    hparams = dataclasses.replace(HPARAMS, checkpoint_every=1, max_examples_per_client=30)

    def run_in_new_context(path, workers, **kwargs):
        # A process that is built again, on another number of threads, as after a restart.
        with local.use(local.Hparams(client_workers=workers)) as context:
            return run(path, build(task), task, writers, hparams, context, **kwargs)

    whole = run_in_new_context(tmp_path / "whole", 1)
    with pytest.raises(RuntimeError, match="killed"):
        run_in_new_context(tmp_path / "cut", 2, on_round=kill_at(2))
    resumed = run_in_new_context(tmp_path / "cut", 3)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, resumed, strict=True))
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "cut")


def test_ctrl_c_keeps_the_rounds_that_were_done(linear, ten_clients, local_context, tmp_path):
    hparams = training.Hparams(rounds=9, clients_per_round=3, checkpoint_every=0)
    cut = tmp_path / "cut"
    process = build(linear)
    rounds = itertools.count(1)

    def interrupt(row):
        if next(rounds) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cut, process, linear, ten_clients, hparams, local_context, on_round=interrupt)
    # Round 4 was not finished when it was interrupted: it is run again.
    assert checkpoints.rounds(cut / "checkpoints") == [3]
    resumed = run(cut, process, linear, ten_clients, hparams, local_context)
    whole = run(tmp_path / "whole", process, linear, ten_clients, hparams, local_context)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, resumed, strict=True))


def test_a_client_that_fails_stops_the_run_and_keeps_the_rounds_before(
    linear, ten_clients, local_context, monkeypatch, tmp_path
):
    hparams = training.Hparams(rounds=9, clients_per_round=3, checkpoint_every=0)
    columns = ten_clients.train.columns

    def break_data(row):
        if row["round"] == 3:
            monkeypatch.setitem(columns, "images", columns["images"][:, :4])

    process = build(linear)
    with pytest.raises(local.ClientError, match="round 4, client"):
        run(tmp_path, process, linear, ten_clients, hparams, local_context, on_round=break_data)
    assert checkpoints.rounds(tmp_path / "checkpoints") == [3]


def test_a_damaged_checkpoint_costs_rounds_and_not_the_result(
    linear, ten_clients, local_context, tmp_path
):
    hparams = training.Hparams(rounds=6, clients_per_round=3, checkpoint_every=2)
    process = build(linear)
    whole = run(tmp_path, process, linear, ten_clients, hparams, local_context)
    last = tmp_path / "checkpoints" / "round_00000006.ckpt"
    last.write_bytes(last.read_bytes()[:-100])
    again = run(tmp_path, process, linear, ten_clients, hparams, local_context)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, again, strict=True))


def with_nan(data, client):
    """The data with NaN in the images of one client."""
    columns = dict(data.train.all())
    columns["images"] = columns["images"].astype(np.float32) / 255
    columns["images"][data.train.offsets[client] : data.train.offsets[client + 1]] = np.nan
    split = federated_data.ClientExamples(data.train.client_ids, columns, data.train.offsets)
    return federated_data.FederatedData("with NaN", split, split, num_classes=10)


def test_a_loss_that_is_nan_stops_the_run_and_keeps_the_last_good_checkpoint(
    linear, ten_clients, local_context, tmp_path
):
    hparams = training.Hparams(
        rounds=10, clients_per_round=1, client_sampling="round_robin", checkpoint_every=1
    )
    fifth = sampling.sample(np.ones(10), 1, how="round_robin", seed=0, round_num=5)[0]
    data = with_nan(ten_clients, int(fifth))
    with pytest.raises(training.DivergedError, match=r"round 5: .*good checkpoint is of round 4"):
        run(tmp_path, build(linear), linear, data, hparams, local_context)
    assert checkpoints.rounds(tmp_path / "checkpoints") == [3, 4]
    assert rows_of(tmp_path)[-1]["round"] == 5
    # A table of runs says so too, though no number of that round is missing.
    assert None not in rows_of(tmp_path)[-1].values()
    assert runs.Run(tmp_path, {}, {}, rows_of(tmp_path)).shortcoming.startswith(
        "diverged in round 5"
    )


def test_clients_that_tff_drops_for_nan_are_counted(linear, ten_clients, local_context, tmp_path):
    data = with_nan(ten_clients, 3)
    hparams = training.Hparams(rounds=1, clients_per_round=10, eval_every=5)
    data = federated_data.FederatedData("with NaN", data.train, ten_clients.test, num_classes=10)
    run(tmp_path, build(linear), linear, data, hparams, local_context)
    assert rows_of(tmp_path)[0]["train/lost_examples"] == data.train.counts[3]


def test_a_round_without_clients_changes_nothing(linear, local_context, tmp_path):
    columns = {"images": np.zeros((1, 8, 8), np.uint8), "labels": np.zeros(1, np.int32)}
    lone = federated_data.FederatedData(
        "lone", *[federated_data.one_client(columns)] * 2, num_classes=10
    )
    cohorts = collections.Counter()
    hparams = training.Hparams(rounds=40, clients_per_round=1, client_sampling="poisson")
    split = lone.train
    two = federated_data.ClientExamples(("a", "b"), split.columns, np.array([0, 1, 1]))
    data = federated_data.FederatedData("two", two, split, num_classes=10)

    def count(row):
        cohorts[row["train/clients"]] += 1
        assert row["train/clients"] or "train/loss" not in row

    run(tmp_path, build(linear), linear, data, hparams, local_context, on_round=count)
    assert cohorts[0] > 0 and cohorts[2] > 0


def test_the_weights_of_clients_can_be_equal(ten_clients, linear, local_context):
    process = fed_avg.build(
        fed_avg.Hparams(weighting="uniform"),
        ingredients.Ingredients(
            model_fn=linear.model_fn,
            client_optimizer=optimizers.build(optimizers.Hparams(learning_rate=1.0)),
            server_optimizer=optimizers.build(optimizers.Hparams()),
            aggregator=mean.build(mean.Hparams()),
        ),
    )
    x = np.ones((4, 8, 8, 1), np.float32)
    make = lambda label, n: tf.data.Dataset.from_tensors((x[:n], np.full(n, label, np.int32)))
    state = process.next(process.initialize(), [make(0, 1), make(1, 3)]).state
    bias = process.get_model_weights(state).trainable[1]
    # One SGD step from 0: softmax is 0.1 everywhere, the step is onehot - 0.1, whatever n is.
    wanted = (np.eye(10)[0] + np.eye(10)[1]) / 2 - 0.1
    np.testing.assert_allclose(bias, wanted, atol=1e-6)


# First steps from 1 with gradient 2: SGD moves by lr g, Adagrad and bias-corrected Adam by lr.
@pytest.mark.parametrize(("kind", "step"), [("sgd", 0.2), ("adagrad", 0.1), ("adam", 0.1)])
def test_server_optimizers_make_the_papers_first_step(kind, step):
    hparams = optimizers.Hparams(optimizer=kind, learning_rate=0.1)
    optimizer = optimizers.build(hparams)
    weights = [tf.constant([1.0, 1.0])]
    state = optimizer.initialize([tf.TensorSpec([2], tf.float32)])
    _, moved = optimizer.next(state, weights, [tf.constant([2.0, -2.0])])
    np.testing.assert_allclose(moved[0], [1 - step, 1 + step], rtol=1e-6)


def test_knobs_out_of_range_are_refused():
    with pytest.raises(ValueError, match="rounds must be >= 1, got 0"):
        training.Hparams(rounds=0)
    with pytest.raises(ValueError, match="learning_rate must be > 0, got 0"):
        optimizers.Hparams(learning_rate=0)


def test_client_metrics_need_a_test_set_divided_into_clients(ten_clients):
    with pytest.raises(ValueError, match="--eval_clients: the test set of digits"):
        training.check(training.Hparams(eval_clients=True), ten_clients)


def test_simulated_time_goes_on_over_a_kill_as_without_one(
    tmp_path, linear, ten_clients, local_context
):
    world = participation.World(
        participation.Hparams(overselect=0.5, round_deadline_s=20),
        delays.Hparams(model="lognormal", per_example_s=0.05, client_sigma=1.0),
        availability.Hparams(model="sine", mean=0.7, period_h=0.01),
    )
    hparams = dataclasses.replace(HPARAMS, rounds=6, checkpoint_every=2)
    args = build(linear), linear, ten_clients

    class Killed(BaseException):
        pass

    def kill(row):
        if row["round"] == 3:
            raise Killed

    run(tmp_path / "whole", *args, hparams, local_context, world=world)
    with pytest.raises(Killed):
        run(tmp_path / "cut", *args, hparams, local_context, world=world, on_round=kill)
    run(tmp_path / "cut", *args, hparams, local_context, world=world)
    rows = rows_of(tmp_path / "whole")
    assert rows == rows_of(tmp_path / "cut")
    times = [row["time/round_s"] for row in rows]
    np.testing.assert_allclose([row["time/total_s"] for row in rows], np.cumsum(times))
    assert all(0 < t <= 20 for t in times) and sum(row["train/stragglers"] for row in rows) > 0
    trained = [row["train/clients"] - row["train/stragglers"] for row in rows]
    assert max(trained) <= 4 and min(row["train/available"] for row in rows) < 10
