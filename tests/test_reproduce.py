"""scripts/reproduce.py as a user starts it, with what stands in for run.py."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPO
from test_evidence import CELL, write
from test_published import of
from test_sweep import is_alive, rounds_of, runs_of, wait_until

from tff_experiments import datasets

REPRODUCE = [sys.executable, str(REPO / "scripts" / "reproduce.py")]
FAKE = f"--script={REPO / 'tests' / 'fake_run.py'}"
STAND_IN = "karimireddy2020/table3/scaffold_e5_s100"


def start(*args):
    return subprocess.Popen(
        [*REPRODUCE, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def reproduce(*args, seconds=120):
    process = start(*args)
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.terminate()  # It ends its runs; nothing happens where it has ended.
        process.wait(timeout=100)
    return process.returncode, out, err


def test_the_list_has_each_row_with_its_number_and_its_minutes():
    code, out, err = reproduce("--list")
    assert code == 0 and err == ""
    lines = {line.split()[0]: line.split(maxsplit=1)[1] for line in out.splitlines() if "/" in line}
    assert lines["mcmahan2017/table2/iid_e5_b10"].split() == ["20", "about", "23", "min"]
    assert lines["mcmahan2017/table1/iid_c0.1"].startswith("87 (R)")
    assert lines["bonawitz2017/communication/formula_2^10_2^20"].endswith("at once")


def test_kept_runs_are_held_against_the_paper_without_running_anything(tmp_path):
    code, out, err = reproduce(CELL, f"--output_dir={tmp_path}", FAKE)
    assert code == 0 and err == ""
    assert out.startswith("McMahan et al. 2017")
    assert "data: mnist, 100 clients (iid), 60,000 train / 10,000 test examples" in out
    row = next(line for line in out.splitlines() if line.startswith("FedAvg E 5, B 10"))
    # 21.71 / 20, within 1.3.
    assert row.split()[-7:] == ["21.71", "1.09", "within", "1.3x", "inside", "0.1", "1"]
    assert "| 21.71 |" in (tmp_path / "mcmahan2017" / "table2_iid_e5_b10.md").read_text()


def test_a_dry_run_prints_the_commands_and_writes_nothing(tmp_path):
    code, out, _ = reproduce(CELL, "--dry_run", "--results=", f"--output_dir={tmp_path}/x")
    assert code == 0 and not (tmp_path / "x").exists()
    head, command = out.splitlines()
    assert head == f"# {CELL}: about 23 min"
    assert command.startswith("python ") and "scripts/sweep.py" in command
    assert "--sweep=client_learning_rate=0.0464,0.1,0.2154" in command
    assert command.endswith("'--stop_at=test/accuracy>=0.99'")


def test_a_dry_run_has_the_row_that_a_row_is_relative_to(tmp_path):
    name = "kairouz2021/utility/skellam_e10_b16"
    _, out, _ = reproduce(name, "--dry_run", "--results=", f"--output_dir={tmp_path}/x")
    heads = [line.split(":")[0] for line in out.splitlines() if line.startswith("#")]
    assert heads == ["# kairouz2021/utility/gaussian_e10", f"# {name}"]


def test_more_seeds_than_are_kept_are_told(tmp_path):
    _, _, err = reproduce(CELL, "--norun", "--seeds=3", f"--output_dir={tmp_path}")
    assert err == f"{CELL}: kept runs have 1 of 3 seeds; --results= runs all anew.\n"


def test_generated_glyphs_do_not_stand_in_where_settings_are_for_handwriting(tmp_path):
    code, _, err = reproduce(STAND_IN, "--stand_in", "--results=", f"--output_dir={tmp_path}")
    assert code == 2 and err.splitlines()[-1] == (
        f"error: {STAND_IN} takes no generated glyphs: give train.npz and test.npz by --data_dir."
    )


def test_papers_data_that_can_not_be_had_is_refused_in_one_line(tmp_path):
    code, out, err = reproduce(
        "reddi2021/recognition/fed_avg", f"--data_dir={tmp_path}", f"--output_dir={tmp_path}/out",
        f"--results={tmp_path}", FAKE,
    )  # fmt: skip
    assert code == 2 and out == "" and len(err.splitlines()) == 1
    assert "federated EMNIST, 62 classes, 3,400 writers can't be had:" in err
    assert "emnist_all.sqlite does not exist" in err and "--stand_in takes other data" in err
    assert rounds_of(tmp_path) == {}


def test_other_data_than_the_papers_are_refused_and_what_is_kept_is_shown(tmp_path, shared):
    code, out, err = reproduce(
        "mcmahan2017/table2", f"--data_dir={shared / 'femnist20'}", f"--output_dir={tmp_path}", FAKE
    )
    assert code == 2
    assert "3,256 train" in err and "is not the paper's data, MNIST, complete" in err
    assert "FedAvg E 5, B 10, IID               20  21.71" in out


def test_a_row_that_was_run_before_is_shown_where_the_data_are_gone(tmp_path):
    write(tmp_path / of(CELL).folder / "a", CELL, [0.9, 0.99])
    code, out, err = reproduce(
        CELL, "--results=", f"--output_dir={tmp_path}", f"--data_dir={tmp_path}", FAKE
    )
    assert code == 2 and "MNIST, complete" in err
    row = next(line for line in out.splitlines() if line.startswith("FedAvg E 5, B 10, IID"))
    assert row.split()[6:9] == ["20", "2", "0.10"]


def test_a_stand_in_is_searched_beyond_the_edge_and_the_first_line_says_so(tmp_path):
    where = (f"--output_dir={tmp_path}", f"--results={tmp_path}/none", f"--data_dir={tmp_path}")
    args = (STAND_IN, "--stand_in", *where, FAKE)
    code, out, _ = reproduce(*args)
    assert code == 0
    assert out.startswith("STAND-IN DATA, not the paper's (federated EMNIST")
    assert "stand-in" in out and "inside" not in out
    # Accuracy 1 - exp(-r rate / 10) rises with the rate: the search goes on to 1.0, and 2.1544
    # diverges.
    folder = tmp_path / f"{of(STAND_IN).folder}_stand_in"
    tried = {path.split("/")[0].partition("=")[2] for path in rounds_of(folder)}
    assert {"0.00464", "0.0215", "0.1", "1.0", "2.1544"} <= tried and "4.6416" not in tried
    # ln 2 / (1 / 10) = 6.9; interpolated between rounds 6 and 7.
    row = next(line for line in out.splitlines() if line.startswith("SCAFFOLD"))
    assert " 6.9" in row and " 1.0 " in row
    # Again: nothing runs, the same is said.
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.jsonl")}
    assert reproduce(*args)[:2] == (0, out)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("metrics.jsonl")} == before
    # And without running, the same too.
    assert reproduce(*args, "--norun")[1] == out


def test_kept_runs_that_give_no_number_do_not_keep_the_row_from_being_run(tmp_path):
    write(tmp_path / "kept" / of(CELL).folder / "a", CELL, [0.5])
    args = [CELL, f"--results={tmp_path}/kept", f"--output_dir={tmp_path}/out", FAKE]
    code, out, _ = reproduce(*args, "--norun")
    assert code == 0 and "not reached" in out and rounds_of(tmp_path / "out") == {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process(tmp_path, number):
    slow = tmp_path / "slow.py"
    fake = (REPO / "tests" / "fake_run.py").read_text()
    slow.write_text(fake.replace('flags.get("round_seconds", 0)', "0.2"))
    process = start(
        STAND_IN, "--stand_in", f"--output_dir={tmp_path}/s", "--results=", f"--script={slow}",
        "--jobs=2", f"--data_dir={tmp_path}",
    )  # fmt: skip
    wait_until(lambda: len(rounds_of(tmp_path / "s")) == 2)
    there = [pid for group in runs_of(tmp_path).values() for pid in group]
    # The search, two runs, and a child of each.
    assert len(there) == 5
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    wait_until(lambda: not any(map(is_alive, there)), seconds=5)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "name one PAPER, PAPER/TABLE or PAPER/TABLE/ROW; --list shows them."),
        (("a", "b"), "name one PAPER"),
        (("mcmahan",), "there is no paper 'mcmahan'; there are mcmahan2017"),
    ],
)
def test_bad_input_is_one_clear_line(args, message):
    code, out, err = reproduce(*args)
    assert code == 2 and out == "" and message in err and len(err.splitlines()) == 1


@pytest.mark.slow
def test_a_row_is_run_with_the_real_script(tmp_path):
    glyphs = datasets.load("synthetic_emnist", datasets.synthetic_emnist.Hparams())
    (tmp_path / "glyphs").mkdir()
    for name, split in (("train", glyphs.train), ("test", glyphs.test)):
        np.savez(tmp_path / "glyphs" / f"{name}.npz", **split.all())
    code, out, err = reproduce(
        "karimireddy2020/table3/fed_avg_e5_s100", "--stand_in", f"--output_dir={tmp_path}",
        f"--results={tmp_path}/none", f"--data_dir={tmp_path}/glyphs", seconds=1800,
    )  # fmt: skip
    assert code == 0, err
    assert "data: npz glyphs, 100 clients (similarity)" in out
    assert os.listdir(tmp_path / "karimireddy2020")
