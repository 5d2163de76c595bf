"""What is averaged, what is not, and what groups are called."""

import pytest
import reporting_helpers as helpers

from tff_experiments.reporting import groups, runs

ROWS = helpers.rows([0.5, 0.7])


def made(*of_flags, **kwargs):
    return groups.make(
        [helpers.run(ROWS, **flags) for flags in of_flags], metric="test/accuracy", **kwargs
    )


def test_seeds_are_averaged_wherever_their_data_lay():
    (group,) = made({"seed": "0"}, {"seed": "1", "data_dir": "/elsewhere"})
    assert len(group.runs) == 2 and group.name == "emnist_cnn, fed_avg"
    assert not group.differing and not group.notes and group.comparable


def test_flags_that_differ_make_groups_named_by_the_fewest_of_them():
    found = made(
        {"algorithm": "fed_avg"},
        {"algorithm": "fed_adam", "client_learning_rate": "0.03"},
        {"algorithm": "fed_yogi", "client_learning_rate": "0.03"},
    )
    assert [group.name for group in found] == ["fed_avg", "fed_adam", "fed_yogi"]
    assert found[1].differing == {"algorithm": "fed_adam", "client_learning_rate": "0.03"}


def test_a_second_flag_is_named_where_one_does_not_do():
    grid = [
        {"aggregator": name, "client_learning_rate": rate}
        for name in ("mean", "median")
        for rate in ("0.1", "0.3")
    ]
    names = [group.name for group in made(*grid)]
    assert names == [
        f"{name}, client_learning_rate={rate}" for name in ("mean", "median") for rate in (0.1, 0.3)
    ]


def test_flags_of_plug_ins_that_a_run_does_not_use_do_not_count():
    used = {"algorithm": "fed_prox", "fed_prox_mu": "0.5"}
    other = {"fed_prox_mu": "1.0"}
    found = made({}, {**other, "seed": "1"}, used)
    # --fed_prox_mu says nothing of fed_avg, so these two runs are seeds of one setting.
    assert [len(group.runs) for group in found] == [2, 1]


def test_a_flag_that_a_run_lacks_is_not_any_value():
    found = made({}, {"dropout_rate": "0.1"})
    assert [group.differing for group in found] == [
        {"dropout_rate": "absent"},
        {"dropout_rate": "0.1"},
    ]


def test_ignored_flags_make_no_groups_and_unequal_lengths_are_said():
    long = helpers.run(helpers.rows([0.5, 0.7, 0.8]), seed="1")
    short = helpers.run(ROWS)
    assert len(groups.make([short, long], metric="test/accuracy")) == 2
    (group,) = groups.make([short, long], metric="test/accuracy", ignore=["rounds"])
    assert group.notes == ["runs of 20 to 30 rounds"]


def test_other_data_and_other_metrics_are_marked_and_not_averaged():
    no_accuracy = [{**row, "test/mse": 1.0} for row in ROWS]
    no_accuracy = [{k: v for k, v in row.items() if k != "test/accuracy"} for row in no_accuracy]
    other = "mnist, 100 clients (iid)"
    found = groups.make(
        [
            helpers.run(ROWS, data=other),
            helpers.run(ROWS),
            helpers.run(ROWS, seed="1"),
            helpers.run(no_accuracy),
        ],
        metric="test/accuracy",
    )
    assert [(len(group.runs), group.comparable) for group in found] == [
        (1, False),
        (2, True),
        (1, False),
    ]
    assert found[0].notes == [f"other data: {other}"] and found[2].notes == ["no test/accuracy"]
    assert [group.name for group in found] == [
        "mnist, metric=test/accuracy",
        "npz letters, metric=test/accuracy",
        "npz letters, metric=absent",
    ]


def test_runs_without_the_metric_do_not_say_which_data_are_compared():
    no_accuracy = [{k: v for k, v in row.items() if k != "test/accuracy"} for row in ROWS]
    found = groups.make(
        [
            helpers.run(no_accuracy),
            helpers.run(no_accuracy, seed="1"),
            helpers.run(ROWS, data="mnist, 100 clients (iid), 60,000 train"),
        ],
        metric="test/accuracy",
    )
    assert [group.comparable for group in found] == [False, True]


def test_the_same_examples_on_other_clients_can_be_compared_and_are_not_averaged():
    size = "60,000 train / 10,000 test examples"
    labels = [f"mnist, 100 clients ({how}), {size}" for how in ("iid", "label_shards")]
    found = made(*({"data": label, "seed": str(i)} for i, label in enumerate(labels)))
    assert [(len(group.runs), group.comparable, group.notes) for group in found] == [
        (1, True, []),
        (1, True, []),
    ]
    other = f"mnist, 100 clients (iid), {size}; stand-in: half of it"
    assert not made({"data": labels[0]}, {"data": labels[0], "seed": "1"}, {"data": other})[
        1
    ].comparable


def test_lengths_are_told_only_where_nothing_else_tells_groups_apart():
    lengths = [(rate, f"{rounds}") for rate, rounds in (("0.1", 20), ("0.3", 19), ("1", 18))]
    found = made(*({"client_learning_rate": rate, "rounds": n} for rate, n in lengths))
    assert [group.name for group in found] == [f"client_learning_rate={r}" for r, _ in lengths]
    found = made({"rounds": "19"}, {"rounds": "18"})
    assert [group.name for group in found] == ["rounds=19", "rounds=18"]


def test_data_of_the_same_first_words_get_their_whole_label():
    labels = "mnist, 100 clients (iid)", "mnist, 50 clients (iid)"
    found = made({"data": labels[0]}, {"data": labels[1]})
    assert [group.name for group in found] == list(labels)


def test_seeds_that_were_left_out_are_counted_in_their_group():
    diverged = helpers.run([*ROWS, helpers.row(21, **{"train/loss": None})], rounds="20")
    unfinished = helpers.run(ROWS[:15], rounds="20", seed="7")
    skipped = [runs.Skipped(run.path, run.shortcoming, run) for run in (diverged, unfinished)]
    skipped.append(runs.Skipped(diverged.path, "no flags.txt"))
    (group,) = made({"seed": "2"}, skipped=skipped)
    assert group.notes == ["1 diverged", "1 unfinished"]
    assert group.diverged == 1


def test_a_seed_that_came_twice_and_a_run_that_was_taken_unfinished_are_said():
    (group,) = made({"rounds": "40"}, {"rounds": "40"})
    assert group.notes[0] == "seed 0 is there 2 times"
    assert group.notes[1:] == ["seed 0 unfinished, 20 of 40 rounds"] * 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_shorter_plug_in_name_does_not_take_the_flags_of_a_longer_one(order):
    flags = {"secagg_threshold": "0.5", "secagg_plus_bits": "40"}
    both = [
        {**flags, "secure_sum": "secagg_plus", "secagg_threshold": "0.9"},
        {**flags, "secure_sum": "secagg", "secagg_plus_bits": "20"},
    ]
    found = made(*(both[i] for i in order), {**flags, "secure_sum": "secagg", "seed": "1"})
    assert sorted(len(group.runs) for group in found) == [1, 2]
