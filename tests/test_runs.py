"""Run folders and published files: what is read, what is skipped, and why."""

import json

import numpy as np
import pytest
import reporting_helpers as helpers
from conftest import REPO

from tff_experiments.reporting import runs

CURVE = [0.5, 0.7, 0.8]


def test_a_folder_is_read_as_it_was_written(tmp_path):
    run = runs.load(helpers.write(tmp_path / "a", helpers.rows(CURVE), seed="3"))
    assert (run.seed, run.rounds, run.data, run.shortcoming) == (3, 30, helpers.DATA, "")
    assert run.command == "python scripts/run.py"
    assert run.series("test/accuracy")[[9, 19, 29]].tolist() == CURVE


def test_clients_are_those_of_the_last_evaluation_or_none(tmp_path):
    table = 'round,client,examples,test/accuracy\n{0},"a, b",4,0.25\n{0},c,2,\n'
    for name, round_num in (("whole", 30), ("behind", 20)):
        helpers.write(tmp_path / name, helpers.rows(CURVE), clients=table.format(round_num))
    kept = runs.load(tmp_path / "whole").clients
    assert list(kept) == ["examples", "test/accuracy"] and kept["examples"].tolist() == [4, 2]
    np.testing.assert_array_equal(kept["test/accuracy"], [0.25, np.nan])
    # As after a kill between an evaluation and its record.
    assert runs.load(tmp_path / "behind").clients == {}


def test_published_results_are_read_and_say_a_command_that_repeats_them():
    found, skipped = runs.load_all([str(REPO / "results")])
    assert [run.seed for run in found if "femnist_fed_avg" in str(run.path)] == [0, 1, 2]
    assert "--clients_per_round=10" in found[0].command
    # What reproduce.py and benchmark.py keep of secure sums is no run.
    names = [left.path.name for left in skipped]
    assert names == ["bonawitz2017.jsonl", "secure_sum.jsonl"]
    assert all("not a published run" in left.reason for left in skipped)


def test_folders_globs_and_repeated_names_find_each_run_once_in_order(tmp_path):
    for name in ("b/seed_0", "b/seed_1", "a"):
        helpers.write(tmp_path / name, helpers.rows(CURVE))
    found = runs.find([f"{tmp_path}/b/seed_*", str(tmp_path)])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["b/seed_0", "b/seed_1", "a"]


def test_a_folder_is_found_by_its_name_whatever_is_in_it(tmp_path):
    helpers.write(tmp_path / "a[1]", helpers.rows(CURVE))
    helpers.write(tmp_path / "a1", helpers.rows(CURVE))
    assert [path.name for path in runs.find([f"{tmp_path}/a[1]"])] == ["a[1]"]


@pytest.mark.parametrize("name", ["no/such", "*"])
def test_a_name_that_means_nothing_is_an_error(tmp_path, name):
    with pytest.raises(ValueError, match="there is no run at"):
        runs.find([str(tmp_path / name)])


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("flags.txt", None, "no flags.txt"),
        ("run.json", None, "no run.json"),
        ("metrics.jsonl", None, "no metrics.jsonl"),
        ("run.json", '{"data": ', "run.json is not JSON"),
        ("run.json", "[]", "run.json is not a JSON object"),
        ("run.json", "{}", "does not say its data"),
        ("metrics.jsonl", "", "no round was recorded"),
        ("metrics.jsonl", '{"rou', "no round was recorded"),
        ("metrics.jsonl", '{"round": 1}\n{"rou\n{"round": 3}\n', "line 2 of the metrics is not"),
        ("metrics.jsonl", '{"round": 2}\n{"round": 1}\n', "round 1 comes after 2"),
        ("metrics.jsonl", '{"loss": 2}\n', "line 1 of the metrics has no round"),
        ("metrics.jsonl", '{"round": 1, "test/accuracy": "a"}\n', "test/accuracy is no number"),
        ("metrics.jsonl", b"\xff\xfe", "can't be read"),
        ("flags.txt", "--rounds=30\n--seed=\n", "--seed= of its flags is no whole number"),
        ("flags.txt", "--rou\n--rounds=\n", "--rounds= of its flags is no whole number"),
        ("run.json", '{"data": 3}', "does not say its data"),
        ("run.json", '{"data": "d", "packages": null}', "its packages are not a JSON object"),
        ("clients.csv", "", "clients.csv is not a table of clients"),
        ("clients.csv", "client,examples\na,3\n", "clients.csv is not a table of clients"),
        ("clients.csv", "round,client,examples\n30,a,b\n", "clients.csv is not a table of clients"),
        ("clients.csv", "round,client,examples\n30,a\n30\n", "clients.csv is not a table"),
    ],
)
def test_a_broken_run_is_skipped_with_its_reason(tmp_path, file, text, reason):
    helpers.write(tmp_path / "good", helpers.rows(CURVE))
    path = helpers.write(tmp_path / "bad", helpers.rows(CURVE)) / file
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found, skipped = runs.load_all([str(tmp_path)])
    assert [run.path.name for run in found] == ["good"]
    assert [left.path.name for left in skipped] == ["bad"] and reason in skipped[0].reason


def test_a_folder_of_a_run_that_was_ended_at_its_start_is_skipped(tmp_path):
    helpers.write(tmp_path / "good", helpers.rows(CURVE))
    (tmp_path / "bad" / "checkpoints").mkdir(parents=True)
    (tmp_path / "bad" / ".lock").touch()
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "curves.png").touch()
    for names in ([str(tmp_path)], [f"{tmp_path}/good", f"{tmp_path}/bad"]):
        found, skipped = runs.load_all(names)
        assert [run.path.name for run in found] == ["good"]
        assert [(left.path.name, left.reason) for left in skipped] == [("bad", "no run.json")]


def test_links_to_runs_are_followed(tmp_path):
    run = helpers.write(tmp_path / "run", helpers.rows(CURVE))
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a").symlink_to(run)
    assert [path.name for path in runs.find([str(tmp_path / "links")])] == ["a"]


def test_a_run_that_was_cut_off_is_skipped_unless_it_is_asked_for(tmp_path):
    path = helpers.write(tmp_path / "run", helpers.rows(CURVE)) / "metrics.jsonl"
    path.write_text(path.read_text()[:-20])
    found, skipped = runs.load_all([str(tmp_path)])
    assert not found and skipped[0].reason == "unfinished, 29 of 30 rounds"
    found, skipped = runs.load_all([str(tmp_path)], unfinished=True)
    assert found[0].rounds == 29 and not skipped


def test_a_run_that_diverged_says_where_and_in_what(tmp_path):
    bad = [*helpers.rows(CURVE), helpers.row(31, **{"train/loss": None})]
    helpers.write(tmp_path / "run", bad, rounds="100")
    _, skipped = runs.load_all([str(tmp_path)])
    assert skipped[0].reason == "diverged in round 31 (train/loss is not finite)"


def test_a_published_file_holds_its_flags_in_its_first_line(tmp_path):
    about = {"data": "d", "flags": ["--seed=4", "--rounds=30"]}
    lines = [about, *helpers.rows(CURVE)[9::10]]
    (tmp_path / "seed_4.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = runs.load(tmp_path / "seed_4.jsonl")
    assert (run.seed, run.rounds, len(run.rows)) == (4, 30, 3)
    assert run.command == "python scripts/run.py --seed=4 --rounds=30"
