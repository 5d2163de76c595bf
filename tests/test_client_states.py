"""Clients' states through runs: dropouts, aborted rounds, kills, secure sums, memory."""

import dataclasses

import numpy as np
import pytest
from algorithm_helpers import make
from test_training import rows_of, run

from tff_experiments import records, runtime, tasks, training
from tff_experiments.aggregation import secure_mean
from tff_experiments.algorithms import scaffold
from tff_experiments.clients import dropouts, participation, state_store
from tff_experiments.secure_sum import secagg

HPARAMS = training.Hparams(rounds=6, clients_per_round=4, eval_every=3, checkpoint_every=2)
WORLD = participation.World(dropping=dropouts.Hparams(rate=0.3, stage="mix"))


@pytest.fixture(scope="module")
def linear(ten_clients):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)


@pytest.fixture(scope="module")
def process(linear):
    made = make(aggregator=secure_mean, model_fn=linear.model_fn, num_clients=10)
    return scaffold.build(scaffold.Hparams(), made)


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
    killed, process, linear, ten_clients, local_context, tmp_path
):
    args = process, linear, ten_clients, HPARAMS, local_context
    whole = run(tmp_path / "whole", *args, world=WORLD)
    with pytest.raises(Killed):
        run(
            tmp_path / "cut",
            *args,
            world=WORLD,
            on_round=kill_at(killed),
        )
    resumed = run(tmp_path / "cut", *args, world=WORLD)
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "cut")
    wanted, found = (states_of(tmp_path / n, process, ten_clients, 6) for n in ("whole", "cut"))
    assert wanted == found and len(set(wanted.values())) > 4


def test_only_those_who_trained_have_a_state(process, linear, ten_clients, local_context, tmp_path):
    hparams = dataclasses.replace(HPARAMS, rounds=1, eval_every=0)
    world = participation.World(dropping=dropouts.Hparams(rate=0.5, stage="before_upload"))
    run(
        tmp_path,
        process,
        linear,
        ten_clients,
        hparams,
        local_context,
        world=world,
    )
    rounds = training.participants(hparams, ten_clients, world)
    cohort = training.cohort(hparams, linear, ten_clients, 1, rounds=rounds)
    trained = {client.client for client in cohort if client.uploads}
    assert 0 < len(trained) < 4, "someone must drop for this test to say something"
    first = b"".join(np.asarray(leaf).tobytes() for leaf in process.client_state)
    changed = {c for c, s in states_of(tmp_path, process, ten_clients, 1).items() if s != first}
    assert changed == trained


def test_an_aborted_round_changes_no_state(process, linear, ten_clients, tmp_path):
    world = participation.World(dropping=dropouts.Hparams(rate=0.45, stage="mix"))
    protocol = secagg.build(secagg.Hparams())
    with runtime.use(secure_sum=protocol) as context:
        run(
            tmp_path,
            process,
            linear,
            ten_clients,
            HPARAMS,
            context,
            world=world,
        )
    rows = records.read_metrics(tmp_path)
    aborted = [row["round"] for row in rows if row.get("train/aborted")]
    assert aborted and len(aborted) < len(rows), "some rounds must be aborted, not all"
    files = (tmp_path / "client_states").glob("*/*")
    assert not {int(path.stem.removeprefix("round_")) for path in files} & set(aborted)


def test_under_secagg_a_state_is_neither_sent_nor_counted(process, linear, ten_clients, tmp_path):
    hparams = dataclasses.replace(HPARAMS, rounds=1)
    with runtime.use(secure_sum=secagg.build(secagg.Hparams())) as context:
        run(tmp_path, process, linear, ten_clients, hparams, context)
    (row,) = records.read_metrics(tmp_path)
    # Two vectors of 650 int64: the model's and the control's; a state would be 2,600 bytes more.
    assert 2 * 650 * 8 <= row["bytes/uplink_per_client"] < 2 * 650 * 8 + 400


def test_a_process_with_states_says_that_it_needs_a_store(
    process, linear, ten_clients, local_context
):
    inputs = training.cohort(HPARAMS, linear, ten_clients, 1)
    with pytest.raises(ValueError, match="clients have a state; give `client_states`"):
        local_context.next(process, process.initialize(), inputs, seed=0, round_num=1)
