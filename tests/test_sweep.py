"""scripts/sweep.py as a user starts it, with what stands in for run.py, and with run.py itself."""

import contextlib
import csv
import fcntl
import json
import os
import pathlib
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from conftest import REPO

from tff_experiments.sweeps import jobs

SWEEP = [sys.executable, str(REPO / "scripts" / "sweep.py")]
FAKE = [*SWEEP, f"--script={REPO / 'tests' / 'fake_run.py'}", "--rounds=20"]
RATES = "--sweep=client_learning_rate=0.1,0.3,0.9"


def start(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(command):
    process = start(command)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def rounds_of(folder):
    return {
        str(path.parent.relative_to(folder)): len(path.read_text().splitlines())
        for path in sorted(folder.rglob("metrics.jsonl"))
    }


def runs_of(folder):
    """Living runs below a folder, and whatever lives in their process groups: {group: [pid]}."""
    groups, leaders = {}, set()
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state, _, group = (path / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            line = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if state != "Z":
            groups.setdefault(int(group), []).append(int(path.name))
        # A run leads a group of its own; the search is in the group of whoever started it.
        if int(group) == int(path.name) and f"--output_dir={folder}/s/".encode() in line:
            leaders.add(int(group))
    return {group: groups[group] for group in leaders & groups.keys()}


def is_alive(pid):
    try:
        return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_until(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_grid_is_run_once_and_the_best_is_said_in_the_table(tmp_path):
    command = [*FAKE, RATES, "--seeds=2", "--jobs=3", f"--output_dir={tmp_path}/s"]
    code, out, err = run(command)
    assert code == 0
    first = "best: client_learning_rate=0.9, 0.8"
    assert out.startswith(first) and "mean over 2 seeds" in out and "at the edge" in out
    assert len(err.splitlines()) == 6
    expected = [f"client_learning_rate={r}/seed_{s}" for r in (0.1, 0.3, 0.9) for s in (0, 1)]
    assert rounds_of(tmp_path / "s") == dict.fromkeys(expected, 20)
    assert (tmp_path / "s" / "table.md").read_text().startswith(first)
    with (tmp_path / "s" / "table.csv").open() as file:
        assert [row["seeds"] for row in csv.DictReader(file)] == ["2", "2", "2"]
    # Again: nothing runs, the same is said. More seeds: only they run.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("metrics.jsonl")}
    assert run(command)[:2] == (0, out)
    assert run([*command, "--seeds=3"])[0] == 0
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert len(rounds_of(tmp_path / "s")) == 9


def test_each_run_at_a_time_has_its_share_of_the_cores(tmp_path):
    code, *_ = run([*FAKE, RATES, "--jobs=2", f"--output_dir={tmp_path}/s", "--"])
    abouts = [json.loads(path.read_text()) for path in (tmp_path / "s").rglob("run.json")]
    cores = [set(about["cores"]) for about in abouts]
    assert code == 0 and len(cores) == 3
    assert all(used in jobs.shares(2) for used in cores)


@pytest.mark.parametrize("num_jobs", [1, 2, 3, 100])
def test_jobs_share_the_cores_out_and_each_has_one(num_jobs):
    cores = os.sched_getaffinity(0)
    dealt = jobs.shares(num_jobs)
    assert len(dealt) == num_jobs and all(dealt) and set.union(*dealt) == cores
    if num_jobs <= len(cores):
        assert sum(map(len, dealt)) == len(cores)


def test_more_rounds_go_on_where_runs_were(tmp_path):
    command = [*FAKE, RATES, f"--output_dir={tmp_path}/s"]
    assert run(command)[0] == 0
    assert run([*command, "--rounds=25"])[0] == 0
    assert set(rounds_of(tmp_path / "s").values()) == {25}


def test_with_a_target_runs_grow_and_those_that_are_too_slow_are_stopped(tmp_path):
    # 1 - exp(-r / 10 * 0.9) = 0.5 at r = 7.7; interpolated and x 1.5, rounded up: 12.
    args = ["--target=0.5", "--step=4", "--rounds=100", "--jobs=1", f"--output_dir={tmp_path}/s"]
    code, out, _ = run([*FAKE, RATES, *args])
    assert code == 0 and out.startswith("best: client_learning_rate=0.9, 7.7 by the rule: fewest")
    assert rounds_of(tmp_path / "s") == {
        "client_learning_rate=0.1/seed_0": 12,
        "client_learning_rate=0.3/seed_0": 12,
        "client_learning_rate=0.9/seed_0": 8,
    }
    assert "seed 0 stopped after 12 rounds" in out


def test_random_search_draws_so_many_settings(tmp_path):
    draws = ["--sweep=client_learning_rate=log:0.01:1", "--samples=3"]
    code, out, _ = run([*FAKE, *draws, f"--output_dir={tmp_path}/s"])
    assert code == 0 and len(rounds_of(tmp_path / "s")) == 3
    assert out.startswith("best: client_learning_rate=0.")


def test_a_setting_that_fails_or_diverges_is_told_and_the_others_go_on(tmp_path):
    rates = "--sweep=client_learning_rate=0.5,2,-1"
    code, out, err = run([*FAKE, rates, "--jobs=1", f"--output_dir={tmp_path}/s"])
    assert code == 1
    assert "best: client_learning_rate=0.5" in out
    assert "client_learning_rate=2: seed 0 diverged in round 3" in out
    told = "failed: client_learning_rate=-1 seed 0: learning_rate must be > 0, got -1.0."
    assert err.splitlines()[-1] == told


def test_a_run_that_was_killed_is_told_so_and_not_by_what_it_said_before(tmp_path):
    rate = "--sweep=client_learning_rate=0.5"
    code, _, err = run([*FAKE, rate, f"--output_dir={tmp_path}/s", "--", "--killed=1"])
    assert code == 1
    assert "client_learning_rate=0.5 seed 0: killed by signal 9, often for lack" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--sweep=client_learning_rate=-1,0.1"], "client_learning_rate=-1: learning_rate must"),
        (["--sweep=client_learning_rate"], "--sweep must be name=value,value"),
        (["--sweep=seed=1,2"], "--sweep=seed: the search gives each run this flag itself"),
        (["--sweep=rounds=3,5"], "--sweep=rounds: the search gives each run this flag itself"),
        (["--", "--seed", "5"], "--seed after '--'"),
        (["--", "--seed=5"], "--seed after '--': the search gives each run this flag itself"),
        (["--rounds=0"], "say how long runs are"),
        (["stray"], "unexpected argument 'stray'; a run's flags come after '--'."),
        (["--target=0.5", "--stop_factor=0.5"], "--stop_factor must be >= 1"),
        (["--", "--flagfile=no/such"], "no/such"),
    ],
)
def test_bad_input_is_one_clear_line_and_starts_nothing_more(tmp_path, args, message):
    code, _, err = run([*FAKE, f"--output_dir={tmp_path}/s", "--jobs=1", *args])
    assert code != 0 and message in err and "Traceback" not in err
    assert rounds_of(tmp_path) == {}


def test_a_flags_value_may_be_a_word_of_its_own(tmp_path):
    without = [word for word in FAKE if not word.startswith("--rounds")]
    command = [*without, RATES, f"--output_dir={tmp_path}/s", "--", "--rounds", "7", "-clients=3"]
    code, _, err = run(command)
    assert code == 0, err
    assert set(rounds_of(tmp_path / "s").values()) == {7}


def test_flags_of_all_runs_may_come_from_a_flagfile_and_may_not_change(tmp_path):
    (tmp_path / "all.cfg").write_text("--rounds=7\n--task=x\n")
    command = [*FAKE, RATES, f"--output_dir={tmp_path}/s", "--rounds=0"]
    base = ["--", f"--flagfile={tmp_path}/all.cfg"]
    assert run([*command, *base])[0] == 0
    assert set(rounds_of(tmp_path / "s").values()) == {7}
    assert json.loads((tmp_path / "s" / "sweep.json").read_text()) == {"base": ["--task=x"]}
    code, _, err = run([*command, *base, "--batch_size=5"])
    assert code == 2 and "a search with other flags (--batch_size=5)" in err


def test_a_terminal_sees_one_bar_for_all_runs(tmp_path):
    terminal, end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    command = [*FAKE, RATES, f"--output_dir={tmp_path}/s", "--", "--round_seconds=0.05"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=end)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # The other end was closed.
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    assert process.wait() == 0
    bars = shown.decode().split("\r")
    assert any("60/60" in bar and "3 of 3 runs over" in bar for bar in bars[-3:])
    # Rounds count while runs are under way.
    assert any("0 of 3 runs over" in bar and " 0/60" not in bar for bar in bars)


def test_flags_that_no_run_took_bind_nobody(tmp_path):
    command = [*FAKE, f"--output_dir={tmp_path}/s", "--jobs=1", "--rounds=3", "--"]
    code, _, err = run([*command, "--client_learning_rate=-1"])
    assert code == 2 and "learning_rate must be > 0" in err
    assert run([*command, "--client_learning_rate=0.1"])[0] == 0
    code, _, err = run([*command, "--client_learning_rate=0.3"])
    assert code == 2 and "a search with other flags" in err


def test_a_mistyped_flag_ends_the_search_with_what_run_py_says_of_it(tmp_path):
    command = [*SWEEP, f"--output_dir={tmp_path}/s", "--jobs=1", "--rounds=1"]
    code, out, err = run([*command, "--sweep=client_learnig_rate=0.1,0.3"])
    assert code == 2 and out == ""
    assert "Did you mean: client_learning_rate ?" in err.splitlines()[-1]
    assert [path.name for path in tmp_path.rglob("*.log")] == ["seed_0.log"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_process_and_the_same_command_goes_on(tmp_path, number):
    command = [*FAKE, RATES, "--jobs=2", f"--output_dir={tmp_path}/s"]
    process = start([*command, "--", "--round_seconds=0.2"])
    # Two runs, each with its child.
    wait_until(lambda: len(rounds_of(tmp_path / "s")) == 2)
    there = [pid for group in runs_of(tmp_path).values() for pid in group]
    assert len(there) == 4
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert number != signal.SIGINT or "interrupted; the same command goes on." in err
    wait_until(lambda: not any(map(is_alive, there)), seconds=5)
    assert max(rounds_of(tmp_path / "s").values()) < 20
    (tmp_path / "s" / "sweep.json").unlink()  # So that the rest may be quick.
    assert run(command)[0] == 0
    assert set(rounds_of(tmp_path / "s").values()) == {20}


def test_a_kill_of_the_search_ends_its_runs_too(tmp_path):
    command = [*FAKE, RATES, "--jobs=2", f"--output_dir={tmp_path}/s", "--", "--round_seconds=0.2"]
    process = start(command)
    wait_until(lambda: len(rounds_of(tmp_path / "s")) == 2)
    groups = runs_of(tmp_path)
    process.kill()
    process.communicate(timeout=60)
    try:
        wait_until(lambda: not any(map(is_alive, groups)), seconds=10)
    finally:
        # Unlike run.py, what stands in for it leaves its child behind.
        for group in groups:
            os.killpg(group, signal.SIGKILL)


def test_what_ignores_the_request_to_stop_is_killed_with_its_children(tmp_path):
    script = "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    script += "print(subprocess.Popen(['sleep', '3600']).pid, flush=True); time.sleep(3600)"
    log = tmp_path / "log"
    process = jobs.start([sys.executable, "-c", script], log)
    wait_until(lambda: log.read_text().strip())
    child = int(log.read_text())
    jobs.end([process], patience=0.5)
    assert process.returncode == -signal.SIGKILL
    wait_until(lambda: not is_alive(child), seconds=5)


@pytest.mark.slow
def test_a_search_with_the_real_script_is_interrupted_and_goes_on(tmp_path):
    command = [*SWEEP, RATES, "--jobs=2", "--rounds=60", f"--output_dir={tmp_path}/s"]
    base = ["--", "--task=digits_linear", "--partition_clients=20", "--clients_per_round=4"]
    process = start([*command, *base])
    wait_until(lambda: len(rounds_of(tmp_path / "s")) == 2, seconds=300)
    there = [pid for group in runs_of(tmp_path).values() for pid in group]
    assert len(there) >= 2
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT
    wait_until(lambda: not any(map(is_alive, there)), seconds=5)
    code, out, _ = run([*command, *base])
    assert code == 0 and out.startswith("best: client_learning_rate=")
    assert set(rounds_of(tmp_path / "s").values()) == {60}
