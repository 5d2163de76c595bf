"""The number of cores is no part of a run."""

import os
import subprocess
import sys

import launch
import pytest
from conftest import REPO

from tff_experiments import records
from tff_experiments.runtime import sessions

RUN = ["scripts/run.py", "--task=emnist_cnn", "--dataset=synthetic_emnist", "--rounds=2"]
RUN += ["--synthetic_emnist_writers=8", "--clients_per_round=3", "--eval_every=1"]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_a_run_has_the_same_bits_on_one_core_and_on_all(tmp_path):
    """With convolutions, whose gradients TensorFlow adds up in an order that threads change."""
    found = []
    for name, command in (("one", ["tests/on_one_core.py", *RUN]), ("all", RUN)):
        out_dir = f"--output_dir={tmp_path}/{name}"
        done = launch.run([sys.executable, *command, out_dir], cwd=REPO)
        assert done.returncode == 0, done.stderr
        rows = records.read_metrics(tmp_path / name)
        tested = [(row["test/loss"], row["train/loss"]) for row in rows]
        found.append(((tmp_path / name / "checkpoints/round_00000002.ckpt").read_bytes(), tested))
    assert found[0] == found[1]


def test_who_ran_tensorflow_before_the_import_is_told():
    code = "import tensorflow as tf; tf.constant(1); import tff_experiments.runtime"
    env = {k: v for k, v in os.environ.items() if k != sessions.OWN_THREADS}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0 and "TensorFlow ran before" in done.stderr
