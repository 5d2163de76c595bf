"""Examples and small scripts run as their texts say."""

import re
import subprocess
import sys

import pytest
from conftest import REPO


def run(*command):
    return subprocess.run(
        [sys.executable, *command], cwd=REPO, capture_output=True, text=True, timeout=120
    )


def test_the_quickstart_learns():
    done = run("examples/quickstart.py")
    losses = [float(text) for text in re.findall(r"loss ([\d.]+)", done.stdout)]
    assert done.returncode == 0 and len(losses) == 10
    assert losses[-1] < losses[0]


def test_the_partition_report_prints_and_plots(tmp_path):
    done = run("scripts/partition_report.py", "--partition=iid", f"--plot={tmp_path}/p.png")
    assert done.returncode == 0 and "skew" in done.stdout and done.stderr == ""
    assert (tmp_path / "p.png").exists()


@pytest.mark.parametrize("flag", ["--dataset=npz", "--partition=natural", "--data_dir=/no/such"])
def test_the_partition_report_refuses_in_one_line(flag):
    done = run("scripts/partition_report.py", flag)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_published_files_hold_the_evaluated_rounds_without_local_paths(tmp_path):
    trained = run(
        "scripts/run.py", "--task=digits_linear", "--rounds=5", "--eval_every=2",
        f"--output_dir={tmp_path}/run",
    )  # fmt: skip
    assert trained.returncode == 0
    name = f"test-{tmp_path.name}"
    try:
        done = run("scripts/publish.py", f"--name={name}", "--rounds=2,5", f"{tmp_path}/run")
        text = (REPO / "results" / name / "run.jsonl").read_text()
    finally:
        for path in (REPO / "results" / name).glob("*"):
            path.unlink()
        (REPO / "results" / name).rmdir()
    assert re.search(r"test/accuracy after 5: mean 0\.\d{4}, std - ", done.stdout)
    assert len(text.splitlines()) == 4 and str(tmp_path) not in text
