"""scripts/analyze.py as a user starts it."""

import sys

import launch
import pytest
from conftest import REPO


def run(*flags, fresh=False):
    command = [sys.executable, "scripts/analyze.py", *flags]
    done = launch.run(command, cwd=REPO, timeout=600, fresh=fresh)
    return done.returncode, done.stdout, done.stderr


def test_a_private_histogram_under_secagg_is_a_table_and_a_picture(tmp_path):
    path = tmp_path / "labels.svg"
    code, out, err = run(
        "--query=histogram", "--value=label", "--mechanism=skellam", "--target_epsilon=3",
        "--histogram_max_per_client=10", "--secure_sum=secagg", "--dropout_rate=0.1",
        "--partition_clients=20", f"--plot={path}", fresh=True,
    )  # fmt: skip
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["estimate", "(values)", "truth", "error"]
    assert [line.split()[0] for line in lines[1:11]] == [str(label) for label in range(10)]
    said = dict(line.split("  ", 1) for line in lines[12:])
    assert "at delta 0.05, 3 were planned" in said["epsilon"]
    assert path.read_bytes().startswith(b"<?xml")


def test_words_of_a_file_are_found(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("client,word\n" + "".join(f"c{i},hello\nc{i},own{i}\n" for i in range(9)))
    code, out, _ = run(
        "--query=trie_hh", "--value=file", f"--words={path}", "--trie_hh_threshold=3", "--seed=1"
    )
    assert code == 0
    assert out.splitlines()[1].split()[0] == "hello"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--plot=x.pdf"], "--plot must end in .png or .svg, got x.pdf"),
        (["--plugin=nothing.py"], "--plugin=nothing.py is not a Python file"),
        (["--flagfile=no.cfg"], "Unable to open flagfile"),
        (["--value=zipf", "--dataset=digits"], "has clients of its own"),
        (["surplus"], "unexpected argument 'surplus'"),
        (["--value=file", "--words=/nowhere.csv"], "No such file"),
        (["--mechanism=local_gaussian", "--secure_sum=secagg"], "is to hide it"),
    ],
)
def test_bad_input_is_one_clear_line(flags, message):
    code, out, err = run(*flags)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
