"""Examples and small scripts run as their texts say."""

import re
import shutil
import sys

import launch
import numpy as np
import pytest
from conftest import REPO

from tff_experiments import plugins
from tff_experiments.secure_sum import vectors


def run(*command, **kwargs):
    return launch.run([sys.executable, *command], cwd=REPO, **kwargs)


def test_the_quickstart_learns():
    done = run("examples/quickstart.py", fresh=True)
    losses = [float(text) for text in re.findall(r"loss ([\d.]+)", done.stdout)]
    assert done.returncode == 0 and len(losses) == 10
    assert losses[-1] < losses[0]


def test_the_partition_report_prints_and_plots(tmp_path):
    flags = ["--partition=iid", f"--plot={tmp_path}/p.png"]
    done = run("scripts/partition_report.py", *flags, fresh=True)
    assert done.returncode == 0 and "skew" in done.stdout and done.stderr == ""
    assert (tmp_path / "p.png").exists()


def test_the_partition_report_takes_a_data_set_of_ones_own():
    done = run("scripts/partition_report.py", *OWN_DATA, "--my_dataset_clients=7", "--plot=")
    assert done.returncode == 0 and "digits turned 4 ways, 7 clients" in done.stdout


OWN_DATA = ["--plugin=examples/my_dataset.py", "--dataset=my_dataset"]


@pytest.mark.parametrize(
    "flag", ["--dataset=npz", "--partition=natural", "--data_dir=/no/such", "plot", "--plugin=/no"]
)
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
        flags = [f"--name={name}", "--rounds=2,5", f"{tmp_path}/run"]
        done = run("scripts/publish.py", *flags, fresh=True)
        text = (REPO / "results" / name / "run.jsonl").read_text()
    finally:
        for path in (REPO / "results" / name).glob("*"):
            path.unlink()
        (REPO / "results" / name).rmdir()
    assert re.search(r"test/accuracy after 5: mean 0\.\d{4}, std - ", done.stdout)
    assert len(text.splitlines()) == 4 and str(tmp_path) not in text


# What shows that the plug-in was at work.
OWN = {
    "my_algorithm": (["--algorithm=my_algorithm", "--my_algorithm_decay=0.5"], "test/accuracy"),
    "my_task": (["--task=my_task", "--my_task_units=8"], "test/accuracy"),
    "my_dataset": (
        ["--dataset=my_dataset", "--my_dataset_ways=2"],
        "digits turned 2 ways, 40 clients",
    ),
    "my_aggregator": (["--aggregator=my_aggregator", "--my_aggregator_norm=0.5"], "test/accuracy"),
    "my_protocol": (["--secure_sum=my_protocol", "--aggregator=secure_mean"], "test/accuracy"),
}


@pytest.mark.parametrize("name", OWN)
def test_a_plug_in_outside_of_the_package_runs(name, tmp_path):
    shutil.copy(REPO / "examples" / f"{name}.py", tmp_path)
    flags, shown = OWN[name]
    own = [f"--plugin={tmp_path}/{name}.py", f"--output_dir={tmp_path}/run", *flags]
    done = run("scripts/run.py", "--task=digits_linear", "--rounds=2", *own)
    assert done.returncode == 0 and shown in done.stdout, done.stderr
    flagfile = (tmp_path / "run" / "flags.txt").read_text()
    assert f"--plugin={tmp_path}/{name}.py" in flagfile
    again = run("scripts/run.py", f"--flagfile={tmp_path}/run/flags.txt", own[1], "--rounds=3")
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("name", OWN)
def test_an_example_is_under_60_lines(name):
    assert len((REPO / "examples" / f"{name}.py").read_text().splitlines()) < 60


@pytest.mark.parametrize(
    ("flag", "wrong"),
    [
        ("--plugin=/no/such.py", "--plugin=/no/such.py is not a Python file."),
        (
            "--flagfile=no.cfg",
            "Unable to open flagfile: [Errno 2] No such file or directory: 'no.cfg'",
        ),
    ],
)
def test_a_plug_in_or_flagfile_that_is_not_there_is_one_line(flag, wrong):
    done = run("scripts/run.py", flag)
    assert (done.returncode, done.stderr) == (2, f"error: {wrong}\n")


def test_the_examples_protocol_has_the_sum_of_those_who_uploaded():
    rooms = {"secure_sum": {}}
    plugins.load([str(REPO / "examples" / "my_protocol.py")], rooms)
    protocol = rooms["secure_sum"]["my_protocol"].build(None)
    segments = [vectors.Segment(3, 2**20), vectors.Segment(2, 1009)]
    drops = {"a": "", "b": "before_upload", "c": "before_unmasking"}
    vector = {name: np.arange(5) * (i + 100) for i, name in enumerate(drops)}
    made = protocol.start(segments, drops)
    for name, value in vector.items():
        made.add(name, value)
    wanted = (vector["a"] + vector["c"]) % np.array([2**20] * 3 + [1009] * 2)
    np.testing.assert_array_equal(made.finish(), wanted)
