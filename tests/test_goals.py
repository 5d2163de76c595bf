"""--stop_at: what it says, and a run that it ends."""

import dataclasses

import pytest
from test_training import HPARAMS, build, rows_of, run

from tff_experiments import checkpoints, goals, tasks, training
from tff_experiments.reporting import runs


@pytest.mark.parametrize(
    ("text", "below", "at", "above"),
    [("test/accuracy>=0.5", False, True, True), ("test/accuracy <= 0.5", True, True, False)],
)
def test_a_goal_is_a_bound_that_may_be_equalled(text, below, at, above):
    goal = goals.parse(text)
    met = [goal.is_met({"test/accuracy": value}) for value in (0.4999, 0.5, 0.5001)]
    assert met == [below, at, above]
    assert not goal.is_met({"train/loss": 1.0}) and not goal.is_met({"test/accuracy": None})


@pytest.mark.parametrize("text", ["test/accuracy", "test/accuracy>0.5", ">=0.5", "a>=b", "a>=nan"])
def test_what_is_no_goal_is_refused(text):
    with pytest.raises(ValueError, match=r"stop_at must be METRIC>=VALUE .*, got"):
        training.Hparams(stop_at=text)


@pytest.fixture(scope="module")
def linear(ten_clients):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)


def test_a_run_ends_where_it_meets_its_goal_and_does_nothing_more(
    linear, ten_clients, local_context, tmp_path
):
    train = lambda name, hparams: run(
        tmp_path / name, build(linear), linear, ten_clients, hparams, local_context
    )
    hparams = dataclasses.replace(HPARAMS, rounds=12, eval_every=2, checkpoint_every=5)
    train("whole", hparams)
    whole = rows_of(tmp_path / "whole")
    # The third evaluation is the first to be as good as itself, of a curve that rises.
    accuracies = [row["test/accuracy"] for row in whole if "test/accuracy" in row]
    assert accuracies[:3] == sorted(set(accuracies[:3]))
    stopping = dataclasses.replace(hparams, stop_at=f"test/accuracy>={accuracies[2]}")
    weights = train("stopped", stopping)
    rows = rows_of(tmp_path / "stopped")
    assert rows == [*whole[:5], whole[5] | {goals.MET: 1}]
    assert checkpoints.rounds(tmp_path / "stopped" / "checkpoints")[-1] == 6
    # Again, and with more rounds: the same weights, nothing new.
    for more in (12, 20):
        again = train("stopped", dataclasses.replace(stopping, rounds=more))
        assert all((a == b).all() for a, b in zip(again, weights, strict=True))
    assert rows_of(tmp_path / "stopped") == rows


def test_a_goal_that_no_evaluation_can_meet_is_an_error(
    linear, ten_clients, local_context, tmp_path
):
    hparams = dataclasses.replace(HPARAMS, stop_at="test/acuracy>=0.5")
    with pytest.raises(ValueError, match=r"there is no test/acuracy; .* test/accuracy, test/loss"):
        run(tmp_path / "run", build(linear), linear, ten_clients, hparams, local_context)


def test_a_goal_met_between_evaluations_is_evaluated(linear, ten_clients, local_context, tmp_path):
    hparams = dataclasses.replace(HPARAMS, rounds=4, eval_every=10, stop_at="train/loss<=100")
    run(tmp_path / "run", build(linear), linear, ten_clients, hparams, local_context)
    (row,) = rows_of(tmp_path / "run")
    assert row[goals.MET] == 1 and "test/accuracy" in row


def test_a_round_without_clients_does_not_end_a_run_whose_goal_is_of_training(
    linear, ten_clients, local_context, tmp_path
):
    hparams = dataclasses.replace(
        HPARAMS, rounds=6, eval_every=1, client_sampling="poisson", clients_per_round=1, seed=3
    )
    stopping = dataclasses.replace(hparams, stop_at="train/loss<=0.0001")
    run(tmp_path / "run", build(linear), linear, ten_clients, stopping, local_context)
    rows = rows_of(tmp_path / "run")
    assert len(rows) == 6 and any("train/loss" not in row for row in rows)


def test_what_was_done_before_a_wrong_goal_was_noticed_is_kept(
    linear, ten_clients, local_context, tmp_path
):
    hparams = dataclasses.replace(
        HPARAMS, rounds=3, eval_every=0, checkpoint_every=0, stop_at="test/acuracy>=0.5"
    )
    with pytest.raises(ValueError, match="there is no test/acuracy"):
        run(tmp_path / "run", build(linear), linear, ten_clients, hparams, local_context)
    assert checkpoints.rounds(tmp_path / "run" / "checkpoints") == [2]


def test_reports_know_that_such_a_run_is_whole():
    whole = runs.Run(None, {"rounds": "9"}, {}, [{"round": 4, goals.MET: 1}])
    assert whole.shortcoming == ""
    assert runs.Run(None, {"rounds": "9"}, {}, [{"round": 4}]).shortcoming.startswith("unfinished")
