"""Clients' states through runs: dropouts, aborted rounds, kills, secure sums, bytes."""

import dataclasses

import numpy as np
import pytest
from algorithm_helpers import make
from test_training import run

from tff_experiments import cohorts, records, runtime, tasks, training
from tff_experiments.aggregation import secure_mean
from tff_experiments.algorithms import scaffold
from tff_experiments.clients import dropouts, participation, state_store
from tff_experiments.secure_sum import secagg

HPARAMS = training.Hparams(rounds=6, clients_per_round=5, eval_every=3, checkpoint_every=2)
WORLD = participation.World(dropping=dropouts.Hparams(rate=0.15, stage="mix"))


@pytest.fixture(scope="module")
def linear(ten_clients):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)


@pytest.fixture(scope="module")
def process(linear):
    made = make(aggregator=secure_mean, model_fn=linear.model_fn, num_clients=10)
    return scaffold.build(scaffold.Hparams(), made)


@pytest.fixture(scope="module")
def context():
    """The runtime under SecAgg: masks come from the operating system, sums are exact."""
    with runtime.use(secure_sum=secagg.build(secagg.Hparams())) as context:
        yield context


@pytest.fixture(scope="module")
def train(process, linear, ten_clients, context):
    """Runs SCAFFOLD in a folder, or goes on there; returns the weights."""

    def train(path, hparams=HPARAMS, world=WORLD, **kwargs):
        args = process, linear, ten_clients, hparams, context
        return run(path, *args, world=world, **kwargs)

    return train


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """(folder, weights) of a run that was not interrupted."""
    path = tmp_path_factory.mktemp("whole")
    return path, train(path)


def aborted(path):
    return [row["round"] for row in records.read_metrics(path) if row.get("train/aborted")]


def states_of(path, process, data, after):
    """Each client's state after a round, as bytes."""
    store = state_store.StateStore(path / "client_states", process.client_state)
    store.begin(after + 1)
    return {
        c: b"".join(np.asarray(leaf).tobytes() for leaf in store.get(c))
        for c in data.train.client_ids
    }


class Killed(BaseException):
    """No checkpoint is written on its way, as on kill -9."""


def kill_at(round_num):
    def on_round(row):
        if row["round"] == round_num:
            raise Killed

    return on_round


@pytest.mark.parametrize("killed", [3, 4, 5])
def test_a_killed_run_goes_on_to_the_same_bits_and_states(
    killed, train, whole, process, ten_clients, tmp_path
):
    """Clients drop out, and rounds are aborted: the killed one, the one before or one after."""
    path, weights = whole
    assert aborted(path) == [3, 5], "of another seed, other rounds would have to be killed"
    with pytest.raises(Killed):
        train(tmp_path, on_round=kill_at(killed))
    resumed = train(tmp_path)
    for a, b in zip(weights, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    wanted, found = (states_of(p, process, ten_clients, HPARAMS.rounds) for p in (path, tmp_path))
    assert wanted == found and len(set(wanted.values())) > 3


def test_an_aborted_round_changes_no_state(whole):
    path, _ = whole
    files = (path / "client_states").glob("*/*.state")
    changing = {int(file.stem.removeprefix("round_")) for file in files}
    assert changing and not changing & set(aborted(path))


def test_only_those_who_trained_have_a_state(train, process, linear, ten_clients, tmp_path):
    hparams = dataclasses.replace(HPARAMS, rounds=1, clients_per_round=8, eval_every=0)
    world = participation.World(dropping=dropouts.Hparams(rate=0.2, stage="before_upload"))
    train(tmp_path, hparams, world)
    rounds = cohorts.participants(hparams, ten_clients, world)
    cohort = cohorts.cohort(hparams, linear, ten_clients, 1, rounds=rounds)
    trained = {client.client for client in cohort if client.uploads}
    assert 0 < len(trained) < 8, "someone must drop for this test to say something"
    first = b"".join(np.asarray(leaf).tobytes() for leaf in process.client_state)
    changed = {c for c, s in states_of(tmp_path, process, ten_clients, 1).items() if s != first}
    assert changed == trained


def test_a_state_is_neither_sent_nor_counted(train, tmp_path):
    hparams = dataclasses.replace(HPARAMS, rounds=1)
    train(tmp_path, hparams, cohorts.WELL_BEHAVED)
    (row,) = records.read_metrics(tmp_path)
    # Two vectors of 650 int64: the model's and the control's; a state would be 2,600 bytes more.
    assert 2 * 650 * 8 <= row["bytes/uplink_per_client"] < 2 * 650 * 8 + 400


def test_a_process_with_states_says_that_it_needs_a_store(context, process, linear, ten_clients):
    inputs = cohorts.cohort(HPARAMS, linear, ten_clients, 1)
    with pytest.raises(ValueError, match="clients have a state; give `client_states`"):
        context.next(process, process.initialize(), inputs, seed=0, round_num=1)
