"""Which run goes on next and how far, and which setting is the best."""

import math
import pathlib

import pytest
import reporting_helpers as helpers

from tff_experiments.reporting import summary
from tff_experiments.sweeps import choice, space, trials

QUESTION = summary.Question("test/accuracy", higher=True)
TO_TARGET = trials.Plan(100, QUESTION, target=0.6, step=20, stop_factor=1.5)
WHOLE = trials.Plan(30, QUESTION)
AXES = space.parse(["rate=0.1,0.3,1"])


def trial(rate, curve=(), *, seed=0, rounds=100, plan=TO_TARGET, diverged=False):
    made = trials.Trial({"rate": rate}, f"rate={rate}", seed, pathlib.Path("none"))
    if curve:
        rows = helpers.rows(curve)
        rows[-1] |= {"train/loss": None} if diverged else {}
        made.run = helpers.run(rows, rounds=str(rounds), seed=str(seed))
        if not math.isnan(plan.target):
            spent = trials.curves.to_target(made.run, "test/accuracy", plan.target, higher=True)
            made.reached = spent["round"]
    return made


def test_the_shortest_run_grows_by_a_step():
    tried = [trial("0.1", [0.2, 0.3], rounds=20), trial("0.3"), trial("1")]
    assert trials.choose(tried, [], TO_TARGET) == (tried[1], 20)
    assert trials.choose(tried, [tried[1]], TO_TARGET) == (tried[2], 20)
    assert trials.choose(tried, tried[1:], TO_TARGET) == (tried[0], 40)
    assert trials.choose(tried, tried, TO_TARGET) is None


def test_a_run_that_met_its_own_goal_has_ended_and_has_a_score():
    ended = trial("0.1", [0.1, 0.6], plan=WHOLE)
    ended.run.rows[-1]["train/goal_met"] = 1
    assert trials.next_rounds(ended, [], WHOLE) == 0 and trials.status(ended, WHOLE) == ""
    assert chosen([ended], WHOLE, last_evals=1).best == "rate=0.1"


def test_without_a_target_a_run_is_given_all_its_rounds_once():
    assert trials.next_rounds(trial("0.1", plan=WHOLE), [], WHOLE) == 30
    assert trials.next_rounds(trial("0.1", [0.1] * 3, plan=WHOLE), [], WHOLE) == 0


def test_a_run_that_reached_the_target_diverged_or_failed_is_over():
    reached = trial("0.1", [0.2, 0.7], rounds=20)
    assert reached.reached == pytest.approx(18)
    failed = trial("0.1")
    failed.failure = "no"
    for over in (reached, failed, trial("0.1", [0.1], rounds=10, diverged=True)):
        assert trials.next_rounds(over, [over], TO_TARGET) == 0


def test_a_run_stops_past_the_factor_times_the_best_other_settings_mean():
    # Seeds of 0.3 reached the target after 18 and 20 rounds: 1.5 x 19 = 28.5.
    best = [trial("0.3", [0.2, 0.7], rounds=20), trial("0.3", [0.2, 0.6], seed=1, rounds=20)]
    worse = trial("0.1", [0.1, 0.2], rounds=20)
    assert trials.limit(worse, [*best, worse], TO_TARGET) == 29
    assert trials.next_rounds(worse, [*best, worse], TO_TARGET) == 29
    past = trial("0.1", [0.1, 0.2, 0.3], rounds=30)
    assert trials.next_rounds(past, [*best, past], TO_TARGET) == 0
    assert trials.status(past, TO_TARGET) == "stopped after 30 rounds"
    # A slow seed of the best setting itself goes on: there is nothing that beats it.
    slow = trial("0.3", [0.1, 0.2, 0.3], seed=2, rounds=30)
    assert trials.next_rounds(slow, [*best, slow], TO_TARGET) == 50


def test_a_setting_stops_others_only_once_all_of_its_seeds_have_reached_the_target():
    lucky = [trial("0.3", [0.7], rounds=10), trial("0.3", [0.1] * 3, seed=1, rounds=30)]
    other = trial("0.1", [0.1, 0.2], rounds=20)
    assert math.isinf(trials.limit(other, [*lucky, other], TO_TARGET))
    assert trials.next_rounds(other, [*lucky, other], TO_TARGET) == 40


def test_a_run_that_was_ended_before_its_first_round_keeps_the_rounds_it_was_begun_with(tmp_path):
    (tmp_path / "flags.txt").write_text("--seed=0\n--rounds=50\n")
    begun = trials.Trial({"rate": "1"}, "rate=1", 0, tmp_path)
    assert trials.next_rounds(begun, [begun], TO_TARGET) == 50
    assert trials.next_rounds(begun, [begun], WHOLE) == 50


def test_an_interrupted_run_is_not_given_fewer_rounds_than_it_was_begun_with():
    best = trial("0.3", [0.2, 0.7], rounds=20)
    begun = trial("0.1", [0.1, 0.2], rounds=40)
    assert trials.next_rounds(begun, [best, begun], TO_TARGET) == 40


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rounds": 0}, "--rounds must be >= 1"),
        ({"target": 0.5, "step": 0}, "--step must be >= 1"),
        ({"stop_factor": 0.5}, "--stop_factor must be >= 1"),
    ],
)
def test_a_plan_that_can_t_be_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        trials.Plan(**{"rounds": 10, "question": QUESTION, **kwargs})


def chosen(tried, plan, last_evals=2):
    return choice.choose(tried, plan, AXES, last_evals=last_evals)


def test_the_best_has_the_best_mean_of_the_last_evaluations_over_its_seeds():
    tried = [
        trial("0.1", [0.1, 0.8, 0.6], plan=WHOLE),
        trial("0.1", [0.1, 0.6, 0.6], seed=1, plan=WHOLE),
        trial("0.3", [0.9, 0.7, 0.69], plan=WHOLE),
        trial("0.3", [0.9, 0.7, 0.71], seed=1, plan=WHOLE),
    ]
    found = chosen(tried, WHOLE)
    assert found.best == "rate=0.3"
    assert found.text == (
        "best: rate=0.3, 0.7000 by the rule: mean of test/accuracy over the last 2 evaluations, "
        "mean over 2 seeds."
    )
    scores = [row["score"].text for row in found.table.rows]
    assert scores == ["0.6500", "* 0.7000"]
    # By the last one alone it is the other way for seed 0, not for the mean.
    assert chosen(tried, WHOLE, last_evals=1).best == "rate=0.3"


def test_a_setting_of_which_a_seed_diverged_is_not_the_best():
    tried = [
        trial("0.1", [0.5, 0.5, 0.5], plan=WHOLE),
        trial("0.1", [0.5, 0.5, 0.5], seed=1, plan=WHOLE),
        trial("0.3", [0.9, 0.9, 0.9], plan=WHOLE),
        trial("0.3", [0.9], seed=1, plan=WHOLE, diverged=True),
    ]
    found = chosen(tried, WHOLE)
    assert found.best == "rate=0.1"
    notes = found.table.rows[1]["notes"].text
    assert notes == "seed 1 diverged in round 10 (train/loss is not finite)"


def test_with_a_target_the_best_is_the_first_at_it_and_the_edge_is_said():
    tried = [trial("0.1", [0.2, 0.3], rounds=20), trial("0.3", [0.2, 0.7]), trial("1", [0.7])]
    found = chosen(tried, TO_TARGET)
    assert found.best == "rate=1"
    assert "fewest rounds to test/accuracy 0.6, one seed" in found.text
    assert "at the edge of rate (0.1 .. 1): better ones may lie beyond" in found.text
    assert found.table.rows[0]["notes"].text == "seed 0 stopped after 20 rounds"
    assert "edge" not in chosen(tried[:2], TO_TARGET).text


def test_nothing_is_best_where_nothing_has_a_score():
    found = chosen([trial("0.1"), trial("0.3", [0.1])], TO_TARGET)
    assert found.best == "" and found.text.startswith("no setting has a score by the rule:")
    assert [row["group"].text for row in found.table.rows] == ["rate=0.3"]
