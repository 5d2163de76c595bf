"""scripts/run.py as a user starts it: bad input, pipes, signals, kill -9, resume."""

import functools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import launch
import pytest
from conftest import REPO

RUN = [sys.executable, "scripts/run.py", "--task=digits_linear", "--partition_clients=20"]
QUICK = [*RUN, "--rounds=3", "--clients_per_round=4", "--eval_every=2"]


def start(command):
    pipe = subprocess.PIPE
    return launch.Forked(command, cwd=REPO, stdout=pipe, stderr=pipe, text=True)


def run(command, **kwargs):
    done = launch.run(command, cwd=REPO, **kwargs)
    return done.returncode, done.stdout, done.stderr


def workers_of(pid):
    """Process ids of TFF workers whose parent is `pid`."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = path.read_text().rsplit(")", 1)
        except OSError:
            continue
        if "worker_binary" in name and int(rest.split()[1]) == pid:
            found.append(int(path.parent.name))
    return found


def alive(pid):
    try:
        return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_run_says_what_it_did_and_nothing_else(tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    code, out, err = run([*QUICK, f"--output_dir={tmp_path}/run"], env=env, fresh=True)
    assert code == 0
    assert [line.split(":")[0] for line in err.splitlines()] == ["round 2", "round 3"]
    names = [line.split("  ")[0] for line in out.splitlines()]
    assert names == ["data", "rounds", "test/loss", "test/accuracy", "seconds per round", "files"]
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["packages"]["tensorflow-federated"] == "0.87.0"
    # flags.txt repeats the run.
    again = [sys.executable, "scripts/run.py", f"--flagfile={tmp_path}/run/flags.txt"]
    code, _, _ = run([*again, f"--output_dir={tmp_path}/again"])
    rows = [
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("run", "again")
    ]
    assert code == 0
    assert [r["train/loss"] for r in rows[0]] == [r["train/loss"] for r in rows[1]]
    # More rounds resume it; other flags are refused.
    code, _, err = run([*QUICK, f"--output_dir={tmp_path}/run", "--batch_size=7"])
    assert code == 2 and "--batch_size was 20, is 7" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--algorithm=fedavg"], "value should be one of <agnostic_fed_avg|"),
        (["--dataset=npz", "--data_dir=/no/such"], "Three ways to get data"),
        (
            ["--clients_per_round=21"],
            "must be in 1 .. 20, the number of clients in the data, got 21",
        ),
        (["--eval_personalized"], "not divided into the clients of the training set"),
        (["--algorithm=fed_recon"], "fed_recon_local_layers must leave something global"),
        (["--algorithm=hypcluster"], "give --hypcluster_init_noise"),
        (["--batch_size=-1"], "batch_size must be >= 0, got -1"),
        (["--output_dir=/proc/run"], "--output_dir=/proc/run can't be written"),
        (["--client_momentum=2"], "momentum must be in [0, 1), got 2"),
        (["--task=emnist_cnn", "--dataset=digits"], "wants images of shape (28, 28)"),
        (["--batch_sise=5"], "error: Unknown command line flag 'batch_sise'. Did you mean: batch"),
        (["rounds=5"], "unexpected argument 'rounds=5'"),
    ],
)
def test_bad_input_is_one_clear_line(flags, message, tmp_path):
    code, _, err = run([*QUICK, f"--output_dir={tmp_path}/run", *flags])
    assert code == 2
    # A warning may stand before it.
    assert message in err and len(err.splitlines()) <= 2
    assert err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "run" / "flags.txt").exists()


def test_a_pipe_sees_the_end():
    command = " ".join(QUICK) + " --output_dir=$(mktemp -d)/run | tail -n 1"
    process = subprocess.run(
        ["sh", "-c", command], cwd=REPO, capture_output=True, text=True, timeout=60
    )
    assert process.stdout.startswith("files")


LONG = [*RUN, "--clients_per_round=4", "--eval_every=0", "--checkpoint_every=5"]


# Enough rounds to be in the middle of them when the signal comes.
RUNTIMES = {
    "local": [*LONG, "--runtime=local", "--rounds=150"],
    "native": [*LONG, "--runtime=native", "--rounds=30"],
}


def checkpoints(run):
    return sorted((run / "checkpoints").glob("*.ckpt"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Runtime -> the folder of a run on it that nothing interrupted."""

    @functools.cache
    def run_on(runtime):
        path = tmp_path_factory.mktemp("whole") / "run"
        command = [*RUNTIMES[runtime], f"--output_dir={path}"]
        # Another seed of hashes than that of the runs which are ended and go on.
        assert run(command, fresh=True)[0] == 0
        return path

    return run_on


@pytest.mark.parametrize(
    ("runtime", "number", "code"),
    [
        ("local", signal.SIGINT, 130),
        pytest.param("local", signal.SIGTERM, 143, marks=pytest.mark.slow),
        ("local", signal.SIGKILL, -9),
        pytest.param("native", signal.SIGKILL, -9, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_is_ended_leaves_no_worker_and_goes_on_bit_for_bit(
    runtime, number, code, uninterrupted, tmp_path
):
    command = [*RUNTIMES[runtime], f"--output_dir={tmp_path}/run"]
    process = start(command)
    metrics = tmp_path / "run" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.read_text().count("\n") > 12)
    workers = workers_of(process.pid)
    assert len(workers) == (runtime == "native")
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    wait_until(lambda: not any(map(alive, workers)), 10)
    assert process.returncode == code
    assert "Traceback" not in err
    done = int(checkpoints(tmp_path / "run")[-1].stem.removeprefix("round_"))
    recorded = len(metrics.read_text().splitlines())
    assert done >= 10 and recorded - done <= (5 if number == signal.SIGKILL else 1)
    if number != signal.SIGKILL:
        assert f"--output_dir={tmp_path}/run goes on" in err
    # The number of threads is no part of a run.
    again = [*command, "--client_workers=1"]
    assert run(again)[0] == 0
    assert (
        checkpoints(tmp_path / "run")[-1].read_bytes()
        == checkpoints(uninterrupted(runtime))[-1].read_bytes()
    )


def test_verbosity_brings_the_noise_back(tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    command = [*QUICK, f"--output_dir={tmp_path}/run", "--verbosity=0"]
    code, _, err = run(command, env=env, fresh=True)
    assert code == 0 and "cpu_feature_guard" in err


def test_helpshort_lists_what_all_runs_share():
    _, out, _ = run([sys.executable, "scripts/run.py", "--helpshort"])
    assert "--client_learning_rate: Step size." in out
    assert "--task: <digits_linear|emnist_2nn|" in out
    assert "fed_avg_weighting" not in out
