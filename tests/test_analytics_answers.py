"""Tables and pictures of what queries answer."""

import math

import numpy as np
import pytest

from tff_experiments.analytics import answers

FEW = answers.Answer(["a", "b"], np.array([12.5, 3.0]), np.array([10.0, 4.0]), "values")
MANY = answers.Answer(
    [f"bin {i}" for i in range(100)],
    np.arange(100.0) + 1,
    np.arange(100.0),
    "values",
    is_ranked=True,
    noise_stddev=2.0,
)


def test_errors_are_those_of_the_estimates():
    assert FEW.errors() == {
        "rmse": pytest.approx(math.sqrt((2.5**2 + 1) / 2)),
        "largest": 2.5,
        "relative": pytest.approx(3.5 / 14),
    }


def test_of_ranked_answers_the_relative_error_is_that_of_the_most_frequent():
    assert MANY.errors()["relative"] == pytest.approx(20 / sum(range(80, 100)))


def test_the_table_has_estimate_truth_and_error():
    assert answers.as_text(FEW, show=20).splitlines()[1].split() == ["a", "12.5", "10", "2.5"]


def test_the_largest_come_first_and_the_rest_is_counted():
    lines = answers.as_text(MANY, show=2).splitlines()
    assert [line.split()[1] for line in lines[1:3]] == ["99", "98"]
    assert lines[3] == "... 98 more"


def test_what_is_only_there_has_no_number():
    told = answers.Answer(["a"], np.array([np.nan]), np.array([7.0]), "votes")
    assert answers.as_text(told, show=9).splitlines()[1].split() == ["a", "found", "7", "-"]
    assert "error" not in dict(answers.summary(told))


def test_found_words_are_compared_with_the_most_frequent():
    true = {"a": 5.0, "b": 4.0, "c": 1.0}
    answer = answers.found(["a", "c"], np.array([5.0, 1.0]), true, "clients")
    notes = dict(answer.notes)
    assert notes["found"] == "1 of the 2 found are among the 2 most frequent"
    assert notes["missed, the most frequent"] == "b"


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("answer", [FEW, MANY], ids=["few", "many"])
def test_the_picture_is_one(tmp_path, suffix, answer):
    path = tmp_path / "new" / f"x.{suffix}"
    answers.plot(answer, path, title="t")
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml")


def test_nothing_has_no_picture_and_other_suffixes_are_refused(tmp_path):
    nothing = answers.Answer([], np.zeros(0), np.zeros(0), "votes")
    assert "nothing was found" in answers.as_text(nothing, show=3)
    with pytest.raises(ValueError, match="nothing to draw"):
        answers.plot(nothing, tmp_path / "x.png", title="t")
    with pytest.raises(ValueError, match="must end in"):
        answers.plot(FEW, tmp_path / "x.pdf", title="t")
