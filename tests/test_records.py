"""A run's folder: what is written, what a resume may change, who may write."""

import json

import pytest
from tensorboard.backend.event_processing import event_accumulator

from tff_experiments import records

FLAGS = ["--rounds=10", "--seed=1"]
ABOUT = {"data": "tiny"}


@pytest.fixture
def folder(tmp_path):
    run = records.RunFolder(tmp_path / "run")
    yield run
    run.close()


def test_rows_after_the_checkpoint_and_half_lines_are_dropped_on_resume(folder):
    folder.restart_after(0)
    for round_num in (1, 2, 3):
        folder.record({"round": round_num, "train/loss": 1 / round_num})
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"round": 4, "tra')
    folder.restart_after(2)
    folder.record({"round": 3, "train/loss": 0.5})
    folder.sync()
    rows = records.read_metrics(folder.path)
    assert [(row["round"], row["train/loss"]) for row in rows] == [(1, 1), (2, 0.5), (3, 0.5)]
    events = event_accumulator.EventAccumulator(str(folder.path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Tensors("train/loss")] == [1, 2, 3]


def clients_of(folder):
    return (folder.path / "clients.csv").read_text()


def test_clients_are_those_of_the_last_evaluation_sorted_with_nothing_for_what_they_lack(folder):
    folder.restart_after(0)
    folder.record({"round": 1}, {"a": {"examples": 9, "test/accuracy": 1.0}})
    folder.record({"round": 2}, {})
    assert clients_of(folder) == "round,client,examples,test/accuracy\n1,a,9,1\n"
    own = {"b, c": {"examples": 3, "test/accuracy": 2 / 3}, "a": {"examples": 1_234_567, "x": 0.5}}
    folder.record({"round": 3}, own)
    assert clients_of(folder).splitlines() == [
        "round,client,examples,test/accuracy,x",
        "3,a,1234567,,0.5",
        '3,"b, c",3,0.666667,',
    ]


def test_clients_of_rounds_that_are_dropped_are_dropped_with_them(folder):
    folder.restart_after(0)
    for round_num in (1, 2):
        folder.record({"round": round_num}, {"a": {"test/accuracy": 0.5}})
    folder.restart_after(2)
    assert clients_of(folder).endswith("2,a,0.5\n")
    folder.restart_after(1)
    assert not (folder.path / "clients.csv").exists()
    (folder.path / "clients.csv").write_text("")
    folder.restart_after(1)
    assert not (folder.path / "clients.csv").exists()


def test_a_kill_while_clients_are_written_leaves_those_of_the_evaluation_before(
    folder, monkeypatch
):
    folder.restart_after(0)
    folder.record({"round": 1}, {"a": {"test/accuracy": 0.5}})

    def kill(_):
        raise SystemExit

    monkeypatch.setattr(records.os, "fsync", kill)
    with pytest.raises(SystemExit):
        folder.record({"round": 2}, {"a": {"test/accuracy": 0.7}})
    monkeypatch.undo()
    assert clients_of(folder).endswith("1,a,0.5\n")
    assert [row["round"] for row in records.read_metrics(folder.path)] == [1]


def test_numbers_that_json_lacks_become_null(folder):
    folder.restart_after(0)
    folder.record({"round": 1, "train/loss": float("nan"), "train/accuracy": float("inf")})
    text = (folder.path / "metrics.jsonl").read_text()
    assert json.loads(text) == {"round": 1, "train/loss": None, "train/accuracy": None}


def test_a_resume_may_have_more_rounds_and_nothing_else(folder):
    folder.claim(FLAGS, ABOUT, may_grow="rounds")
    folder.claim(["--rounds=20", "--seed=1"], ABOUT, may_grow="rounds")
    for changed, message in (
        (["--rounds=15", "--seed=1"], "--rounds was 20, is 15"),
        (["--rounds=20", "--seed=2"], "--seed was 1, is 2"),
        (["--rounds=20", "--seed=1", "--mu=1"], "--mu was absent, is 1"),
    ):
        with pytest.raises(ValueError, match=message):
            folder.claim(changed, ABOUT, may_grow="rounds")
    with pytest.raises(ValueError, match="was run on tiny, now the data is big"):
        folder.claim(["--rounds=20", "--seed=1"], {"data": "big"}, may_grow="rounds")
    about = json.loads((folder.path / "run.json").read_text())
    assert about == {**ABOUT, "earlier": [ABOUT]}
    assert (folder.path / "flags.txt").read_text() == "--rounds=20\n--seed=1\n"


def test_two_runs_can_not_write_to_one_folder(folder):
    with pytest.raises(ValueError, match="another run is writing to"):
        records.RunFolder(folder.path)


def test_a_folder_that_can_not_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"can't be written .* name a folder of yours"):
        records.RunFolder(tmp_path / "file" / "run")
