"""Personal models in the loop: beside the plain evaluation, resumed bit for bit, from disk."""

import csv
import dataclasses
import gc
import resource

import numpy as np
import pytest
import tensorflow as tf
from kill_helpers import kill_at
from personal_helpers import divided, of_task, train

from tff_experiments import algorithms, checkpoints, sampling, tasks, training
from tff_experiments.algorithms import ditto, fed_avg, local_only
from tff_experiments.datasets import federated_data
from tff_experiments.runtime import local

HPARAMS = training.Hparams(
    rounds=3, clients_per_round=3, eval_every=1, eval_clients=True, eval_personalized=True
)
OWN = {
    "fed_buff": {"concurrency": 5},
    "fed_recon": {"local_layers": "dense/bias"},
    "hypcluster": {"init_noise": 0.1},
    "agnostic_fed_avg": {"domains": 5},
}


@pytest.fixture(scope="module")
def data(ten_clients):
    return divided(ten_clients)


@pytest.fixture(scope="module")
def task(data):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=data, seed=0)


def of(rows, prefix):
    return [{k: v for k, v in row.items() if k.startswith(prefix)} for row in rows]


def table(path):
    with (path / "clients.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def column(rows, name):
    return np.array([float(row[name]) for row in rows if row[name]])


def test_the_global_model_beside_them_is_that_of_the_plain_evaluation(
    task, data, local_context, tmp_path
):
    process = fed_avg.build(fed_avg.Hparams(), of_task(task))
    _, rows = train(tmp_path, process, task, data, HPARAMS, local_context)
    for plain, ours in zip(of(rows, "test/clients/"), of(rows, "global_on_same/"), strict=True):
        assert {k.removeprefix("test/clients/") for k in plain} == {
            k.removeprefix("global_on_same/") for k in ours
        }
        for key, value in ours.items():
            wanted = plain[key.replace("global_on_same", "test/clients")]
            np.testing.assert_allclose(value, wanted, rtol=1e-5)
    last = rows[-1]
    assert last["personal/clients"] == 10 and "personal/clients_without_state" not in last
    assert last["personal/loss/mean"] < last["global_on_same/loss/mean"]
    kept = table(tmp_path)
    assert [row["client"] for row in kept] == sorted(data.test.client_ids)
    assert {row["round"] for row in kept} == {"3"}
    # Six digits are kept of each client's.
    for name, prefix in (
        ("test/accuracy", "test/clients/accuracy"),
        ("personal/loss", "personal/loss"),
        ("global_on_same/accuracy", "global_on_same/accuracy"),
    ):
        values = column(kept, name)
        np.testing.assert_allclose(np.mean(values), last[f"{prefix}/mean"], rtol=1e-5)
        np.testing.assert_allclose(np.percentile(values, 10), last[f"{prefix}/p10"], rtol=1e-5)
    accuracy = np.average(column(kept, "test/accuracy"), weights=column(kept, "examples"))
    np.testing.assert_allclose(accuracy, last["test/accuracy"], rtol=1e-5)


def test_the_evaluation_changes_nothing_in_the_training(task, data, local_context, tmp_path):
    without = dataclasses.replace(HPARAMS, eval_personalized=False)
    process = ditto.build(ditto.Hparams(), of_task(task))
    a, _ = train(tmp_path / "a", process, task, data, HPARAMS, local_context)
    b, _ = train(tmp_path / "b", process, task, data, without, local_context)
    for x, y in zip(tf.nest.flatten(a), tf.nest.flatten(b), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    states = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in files}
        for name in "ab"
        for files in [(tmp_path / name).glob("client_states/*/*")]
    ]
    trimmed = [{str(p).split("client_states")[1]: b for p, b in s.items()} for s in states]
    assert trimmed[0] == trimmed[1] and trimmed[0]


def test_so_many_clients_are_the_same_ones_in_all_rounds(task, data, local_context, tmp_path):
    hparams = dataclasses.replace(
        HPARAMS, eval_personalized_clients=4, eval_personalized_epochs=0, rounds=2
    )
    process = fed_avg.build(fed_avg.Hparams(), of_task(task))
    state, rows = train(tmp_path, process, task, data, hparams, local_context)
    assert [row["personal/clients"] for row in rows] == [4, 4]
    names = sampling.subset(data.test.client_ids, 4, seed=0)
    w, b = process.get_model_weights(state).trainable
    accuracies = []
    for name in names:
        examples = data.test.examples(name)
        x = examples["images"].reshape(len(examples["labels"]), -1) / 255
        accuracies.append(np.mean(np.argmax(x @ w + b, 1) == examples["labels"]))
    for prefix in ("personal", "global_on_same"):
        np.testing.assert_allclose(rows[-1][f"{prefix}/accuracy/mean"], np.mean(accuracies))
        kept = {row["client"]: row[f"{prefix}/accuracy"] for row in table(tmp_path)}
        np.testing.assert_allclose([float(kept.pop(name)) for name in names], accuracies, rtol=1e-5)
        assert set(kept.values()) == {""}


@pytest.mark.parametrize("module", [ditto, pytest.param(local_only, marks=pytest.mark.slow)])
def test_a_run_that_was_killed_ends_with_the_same_models_and_metrics(
    module, task, data, local_context, tmp_path
):
    hparams = dataclasses.replace(HPARAMS, rounds=7, checkpoint_every=3, eval_every=2)
    process = module.build(module.Hparams(), of_task(task))
    whole, rows = train(tmp_path / "whole", process, task, data, hparams, local_context)

    cut = tmp_path / "cut"
    with pytest.raises(RuntimeError, match="killed"):
        train(cut, process, task, data, hparams, local_context, on_round=kill_at(5))
    assert checkpoints.rounds(cut / "checkpoints") == [3] and table(cut)[0]["round"] == "4"
    with local.use(local.Hparams(client_workers=1)) as context:
        resumed, rows_again = train(cut, process, task, data, hparams, context)
    for x, y in zip(tf.nest.flatten(whole), tf.nest.flatten(resumed), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()
    assert rows == rows_again
    kept = [(path / "clients.csv").read_bytes() for path in (tmp_path / "whole", cut)]
    assert kept[0] == kept[1] and b"\n7," in kept[0]
    newest = lambda path: {
        client.name: max(client.glob("*")).read_bytes()
        for client in (path / "client_states").glob("*")
    }
    assert newest(tmp_path / "whole") == newest(cut)
    seen = set()
    for round_num in range(1, 8):
        seen |= set(
            sampling.sample(data.train.counts, 3, how="uniform", seed=0, round_num=round_num)
        )
    assert rows[-1]["personal/clients_without_state"] == 10 - len(seen)
    assert len(newest(cut)) == len(seen)


@pytest.mark.slow
@pytest.mark.parametrize("name", algorithms.BY_NAME)
def test_every_algorithm_can_be_evaluated_so(name, task, data, local_context, tmp_path):
    module = algorithms.BY_NAME[name]
    own = module.Hparams(**OWN.get(name, {}))
    if hasattr(module, "adapt_task"):
        task = module.adapt_task(own, task)
    process = module.build(
        own,
        of_task(
            task,
            num_clients=10,
            clients_per_round=3,
            num_classes=10,
            per_example_loss=lambda y, output: task.per_example(y, output)["loss"],
            weights_of_seed=task.weights_of_seed,
        ),
    )
    _, rows = train(tmp_path, process, task, data, HPARAMS, local_context)
    assert rows[-1]["personal/clients"] == 10
    assert all(np.isfinite(value) for value in of(rows, "personal/")[-1].values())


@pytest.mark.slow
def test_states_are_on_disk_only(local_context, tmp_path):
    """40 clients with models of 4 MB: memory grows by a few, the disk holds all."""
    num = 40
    columns = {"images": np.zeros((2 * num, 8, 8), np.uint8), "labels": np.zeros(2 * num, np.int32)}
    names = tuple(f"client_{i}" for i in range(num))
    split = federated_data.ClientExamples(names, columns, 2 * np.arange(num + 1))
    data = federated_data.FederatedData("two each", split, split, num_classes=10)
    task = tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=data, seed=0)
    dense = tf.keras.layers.Dense
    wide = dataclasses.replace(
        task, build_layers=lambda: [tf.keras.layers.Flatten(), dense(14_000), dense(10)]
    )
    process = local_only.build(local_only.Hparams(), of_task(wide))
    hparams = training.Hparams(rounds=1, clients_per_round=4, eval_every=0)
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    train(tmp_path, process, wide, data, hparams, local_context)
    gc.collect()
    before = peak()
    hparams = dataclasses.replace(
        hparams, rounds=2, clients_per_round=num, eval_personalized=True, checkpoint_every=0
    )
    _, rows = train(tmp_path, process, wide, data, hparams, local_context)
    on_disk = sum(path.stat().st_size for path in tmp_path.glob("client_states/*/*"))
    assert rows[-1]["personal/clients_without_state"] == 0
    assert on_disk > num * 4e6
    assert peak() - before < on_disk / 2


def test_what_can_not_be_evaluated_so_is_refused(ten_clients, data):
    hparams = dataclasses.replace(HPARAMS, eval_clients=False)
    with pytest.raises(ValueError, match=r"test set of digits.* is not divided into.*'all'"):
        training.check(hparams, ten_clients)
    other = dataclasses.replace(data.test, client_ids=("x", *data.test.client_ids[1:]))
    with pytest.raises(ValueError, match=r"1 of its 10 are not among them, such as 'x'"):
        training.check(hparams, dataclasses.replace(data, test=other))
    training.check(hparams, data)
    with pytest.raises(ValueError, match="eval_personalized_epochs must be >= 0, got -1"):
        training.Hparams(eval_personalized_epochs=-1)
