"""Rounds on Ray's actors: the bits of one machine, whatever dies (slow; skipped without Ray)."""

import dataclasses
import functools
import itertools
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
import test_local
import test_secure_slots
from algorithm_helpers import CLIENTS, MemoryStates, make
from conftest import REPO

from tff_experiments import records
from tff_experiments.aggregation import local_dp, quantized, secure_mean
from tff_experiments.algorithms import fed_avg, scaffold
from tff_experiments.benchmarks import cases, scaling
from tff_experiments.runtime import clients, local, ray_cluster
from tff_experiments.secure_sum import secagg, secagg_plus, stages

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray():
    """Ray with the CPUs for all tests: it takes ten seconds to start."""
    module = pytest.importorskip("ray", reason="needs Ray: scripts/setup.sh --ray")
    with ray_cluster.connected(ray_cluster.Hparams(client_workers=6)):
        yield module


@pytest.fixture(scope="module")
def two(ray):
    """A crew of two actors."""
    with ray_cluster.crew(2) as make_crew:
        yield make_crew


@pytest.fixture(scope="module")
def four(ray):
    with ray_cluster.crew(4) as make_crew:
        yield make_crew


def bytes_of(value):
    return [np.asarray(leaf).tobytes() for leaf in tf.nest.flatten(value)]


def linear_inputs(count, drops=None):
    names = list(CLIENTS)
    return [
        clients.ClientInputs(CLIENTS[names[i % 3]], client=f"c{i}", drops=(drops or {}).get(i, ""))
        for i in range(count)
    ]


def rounds(context, process, inputs, *, num_rounds=2):
    """(outputs, states that clients keep, last metrics) of some rounds."""
    kept = getattr(process, "client_state", None)
    states = None if kept is None else MemoryStates(kept)
    state, outputs = process.initialize(), []
    for round_num in range(1, num_rounds + 1):
        output, metrics = context.next(
            process, state, inputs, seed=3, round_num=round_num, client_states=states
        )
        state = output[0]
        outputs.append(output)
    return bytes_of(outputs), {c: bytes_of(s) for c, s in (states or {}).items()}, metrics


def run(process, inputs, make_crew=None, *, secure_sum=None, num_rounds=2, **hparams):
    """`rounds`, on a crew of Ray or here."""
    with local.use(local.Hparams(**hparams), secure_sum=secure_sum, make_crew=make_crew) as context:
        return rounds(context, process, inputs, num_rounds=num_rounds)


@functools.cache
def with_datasets():
    process = test_local.fed_avg()
    return process, [
        clients.ClientInputs(test_local.batches(i % 7), client=f"c{i}") for i in range(40)
    ]


@functools.cache
def with_random_ops():
    """Stochastic quantisation and rotations, on clients and on the server."""
    aggregator = quantized.build(quantized.Hparams())
    return fed_avg.build(fed_avg.Hparams(), made_with(aggregator)), linear_inputs(40)


@functools.cache
def with_states():
    return scaffold.build(scaffold.Hparams(), make(num_clients=70)), linear_inputs(70)


@functools.cache
def with_arrays():
    case = cases.Case("", "emnist_linear", 70, 20)
    task, columns = case.build_task()
    return cases.build_process(task), case.inputs(task, columns, 1)


@functools.cache
def with_noise():
    mechanism = types.SimpleNamespace(noise_multiplier=1.0)
    plan = types.SimpleNamespace(clients_per_round=20)
    aggregator = local_dp.build(local_dp.Hparams(), mechanism, plan)
    return fed_avg.build(fed_avg.Hparams(), made_with(aggregator)), linear_inputs(20)


@functools.cache
def with_secure_sum():
    return fed_avg.build(fed_avg.Hparams(), make(aggregator=secure_mean))


def made_with(aggregator):
    return dataclasses.replace(make(), aggregator=aggregator)


KINDS = {
    "datasets": with_datasets,
    "random ops": with_random_ops,
    "states": with_states,
    "arrays": with_arrays,
}


@pytest.mark.parametrize("kind", KINDS)
def test_two_workers_give_the_bits_of_one_machine(kind, two):
    process, inputs = KINDS[kind]()
    got, kept, metrics = run(process, inputs, two)
    wanted, wanted_kept, wanted_metrics = run(process, inputs)
    assert got == wanted and kept == wanted_kept
    assert bool(kept) == (kind == "states")
    assert set(metrics) == set(wanted_metrics)
    assert metrics["bytes/uplink_per_client"] == wanted_metrics["bytes/uplink_per_client"]


def test_four_workers_give_the_bits_of_one_machine(four):
    process, inputs = with_arrays()
    assert run(process, inputs, four)[0] == run(process, inputs)[0]


@pytest.mark.parametrize("name", ["secagg", "secagg_plus"])
def test_secure_sums_give_the_bits_of_plain_ones_with_dropouts(name, two):
    protocol = {
        "secagg": secagg.build(secagg.Hparams()),
        "secagg_plus": secagg_plus.build(secagg_plus.Hparams()),
    }[name]
    process = with_secure_sum()
    inputs = linear_inputs(40, drops={3: "before_upload", 7: "before_unmasking"})
    wanted, _, _ = run(process, inputs)
    got, _, metrics = run(process, inputs, two, secure_sum=protocol)
    assert got == wanted
    assert metrics["secure_sum/survivors"] == 39 and metrics["secure_sum/clients"] == 40
    alone = run(process, inputs, secure_sum=protocol)[2]
    name = "secure_sum/upload_bytes_per_client"
    # Shares that are opened or not differ in nothing but who is gone: the same two clients.
    assert metrics[name] == alone[name]
    gone = dict.fromkeys(range(20), "before_upload")
    with pytest.raises(stages.AbortedError, match=r"20 clients .* are needed"):
        run(process, linear_inputs(40, drops=gone), two, secure_sum=protocol)


def pids_of(pool, ray):
    """The processes of the actors that have nothing to do: between rounds, of all."""
    return ray.get([actor.pid.remote() for actor in pool._actors(pool._room)])


def killing(make_crew, monkeypatch, ray, *, nth):
    """Kills a worker with -9 right after the nth group was given to it; returns whom it killed."""
    pool, killed, count = make_crew.keywords["pool"], [], itertools.count(1)
    while len(pids_of(pool, ray)) < pool.num_workers:
        pool.wait([])
    submit = pool.submit

    def submit_and_kill(worker, job):
        handle = submit(worker, job)
        if next(count) == nth:
            killed.append(pids[id(worker)])
            os.kill(pids[id(worker)], signal.SIGKILL)
        return handle

    pids = {id(actor): ray.get(actor.pid.remote()) for actor in set(pool._room)}
    monkeypatch.setattr(pool, "submit", submit_and_kill)
    return killed


@pytest.mark.parametrize("kind", ["arrays", "states"])
def test_a_worker_killed_in_a_round_is_replaced_and_its_groups_are_redone(
    kind, two, monkeypatch, ray
):
    process, inputs = KINDS[kind]()
    wanted, wanted_kept, _ = run(process, inputs)
    killed = killing(two, monkeypatch, ray, nth=4)
    got, kept, _ = run(process, inputs, two)
    assert len(killed) == 1 and got == wanted and kept == wanted_kept
    pool = two.keywords["pool"]
    while len(pids_of(pool, ray)) < 2:
        pool.wait([])
    assert not set(killed) & set(pids_of(pool, ray))


def test_masked_groups_of_a_killed_worker_are_redone(two, monkeypatch, ray):
    process, inputs = with_secure_sum(), linear_inputs(40)
    wanted, _, _ = run(process, inputs)
    killed = killing(two, monkeypatch, ray, nth=3)
    protocol = secagg.build(secagg.Hparams())
    got, _, metrics = run(process, inputs, two, secure_sum=protocol)
    assert len(killed) == 1 and got == wanted and metrics["secure_sum/survivors"] == 40


def test_a_failing_client_is_named_or_dropped(two):
    process = test_local.fed_avg()
    inputs = [clients.ClientInputs(test_local.failing(i), client=f"writer{i}") for i in range(4)]
    with pytest.raises(local.ClientError, match=r"^round 1, client writer2, op .*CheckNumerics"):
        run(process, inputs, two)
    got, _, metrics = run(process, inputs, two, on_client_error="drop")
    assert metrics["train/dropped_clients"] == 1
    assert got == run(process, [inputs[i] for i in (0, 1, 3)], two)[0]


def test_a_client_that_fails_in_the_secure_sum_leaves_nothing_behind(two):
    next_fn = test_secure_slots.process(
        test_secure_slots.INT, test_secure_slots.SUMS["maximum"], tff.federated_sum
    )
    values = [(5000 if i % 3 == 1 else i) for i in range(90)]
    wanted = sum(value for value in values if value < 5000)
    with local.use(local.Hparams(on_client_error="drop"), make_crew=two) as context:
        assert next_fn(0, values)[1] == (wanted, wanted)
        assert context.last_round["train/dropped_clients"] == 30


def test_a_client_whose_data_do_not_fit_is_named_or_dropped(two):
    process, inputs = with_arrays()
    wrong = clients.ClientInputs([(np.zeros((5, 11)), np.zeros(5))], client="wrong")
    with pytest.raises(local.ClientError, match=r"client wrong: .*in one way"):
        run(process, [*inputs, wrong], two)
    got, _, metrics = run(process, [*inputs, wrong], two, on_client_error="drop")
    assert metrics["train/dropped_clients"] == 1
    assert got == run(process, [*inputs, wrong], on_client_error="drop")[0]


def test_repeatable_noise_has_the_same_bits_and_real_noise_has_not(two):
    process, inputs = with_noise()
    assert run(process, inputs, two, seed_noise=5)[0] == run(process, inputs, seed_noise=5)[0]
    assert run(process, inputs, two)[0] != run(process, inputs, two)[0]


def test_driver_memory_does_not_grow_with_the_cohort(ray):
    """5,000 small clients as 500; 5 % is what an allocator keeps."""
    assert scaling.driver_peak(5000) < 1.05 * scaling.driver_peak(500)


def test_a_run_on_ray_has_the_bits_of_a_local_one(ray, tmp_path):
    command = [
        sys.executable,
        str(REPO / "scripts" / "run.py"),
        "--task=digits_linear",
        "--rounds=4",
    ]
    command += ["--clients_per_round=5", "--eval_every=4"]
    rows = {}
    for name in ("local", "ray"):
        folder = tmp_path / name
        flags = [f"--runtime={name}", "--client_workers=2", f"--output_dir={folder}"]
        subprocess.run([*command, *flags], check=True, capture_output=True)
        rows[name] = records.read_metrics(folder)[-1]
    for name in ("train/loss", "test/loss", "test/accuracy"):
        assert rows["ray"][name] == rows["local"][name]
