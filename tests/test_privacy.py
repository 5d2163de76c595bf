"""scripts/privacy.py as a user starts it."""

import subprocess
import sys

import pytest
from conftest import REPO

TUTORIAL = ["--num_clients=3383", "--clients_per_round=120", "--delta=1e-5"]


def run(*flags):
    done = subprocess.run(
        [sys.executable, "scripts/privacy.py", *flags],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_noise_gives_epsilon():
    code, out, err = run(*TUTORIAL, "--noise_multiplier=1.2")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].split() == ["epsilon", "1.986"]


def test_noise_in_prefix_sums_is_told_in_clips():
    code, out, _ = run(*TUTORIAL, "--noise_multiplier=1.2")
    (line,) = (line for line in out.splitlines() if line.startswith("in prefix sums"))
    # Independent noise in each of 100 rounds: 1.2 sqrt((100 + 1) / 2).
    assert code == 0 and line.split()[3] == "8.528"


def test_epsilons_give_noise():
    code, out, err = run(*TUTORIAL, "--target_epsilon=1.986,4")
    assert (code, err) == (0, "")
    noise = [line.split()[-1] for line in out.splitlines() if line.startswith("noise")]
    assert noise[0] == "1.2" and float(noise[1]) < 1.2


def test_a_table_and_its_plot(tmp_path):
    flags = ["--mechanism=skellam", "--target_epsilon=6", "--over=bits", "--values=3,16,20"]
    code, out, err = run(*flags, f"--plot={tmp_path}/bits.svg")
    assert (code, err) == (0, "") and (tmp_path / "bits.svg").exists()
    assert [line.split()[0] for line in out.splitlines()[2:5]] == ["3", "16", "20"]
    assert out.splitlines()[-1] == f"plot  {tmp_path}/bits.svg"


def test_all_is_in_the_short_help():
    _, out, _ = run("--helpshort")
    for name in ("mechanism", "target_epsilon", "over", "plot", "expected_dropout"):
        assert f"--{name}" in out or f"--[no]{name}" in out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mechanism=laplace"], "value should be one of"),
        (["--mechanism=tree_aggregation"], "take client_sampling round_robin"),
        (["--mechanism=skellam", "--bits=12", "--target_epsilon=0.1"], "bits would do"),
        (["--target_epsilon=0"], "target_epsilon must be > 0"),
        (["--values=1"], "take --over=FLAG, too"),
        (["--over=rounds", "--values=9", "--plot=x.pdf"], "must end in .png or .svg"),
        (["--over=rounds", "--values=9", "--plot=/proc/x/y.png"], "/proc/x"),
        (["3"], "unexpected argument '3'"),
    ],
)
def test_bad_input_is_one_clear_line(flags, message):
    code, out, err = run(*flags)
    assert code != 0 and message in err
    assert "Traceback" not in err and len(err.splitlines()) <= 2 and not out.startswith("plan")
