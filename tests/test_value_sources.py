"""What clients hold, from a tiny data set, a law and files."""

import numpy as np
import pytest

from tff_experiments.analytics import value_sources


def load(data=None, **hparams):
    return value_sources.load(value_sources.Hparams(**hparams), data, seed=0)


def test_labels_are_numbers_and_words_of_a_public_list(tiny):
    held = load(tiny)
    assert held.clients == ("a", "b", "c")
    assert [x.tolist() for x in held.numbers] == [[1], [1, 0], [0, 0, 1]]
    assert [x.tolist() for x in held.words] == [["1"], ["1", "0"], ["0", "0", "1"]]
    assert (held.domain, held.lower, held.upper) == (("0", "1"), 0, 1)


def test_numbers_of_examples_have_no_public_range(tiny):
    held = load(tiny, value="num_examples")
    assert [x.tolist() for x in held.numbers] == [[1], [2], [3]]
    assert not held.is_range_public
    with pytest.raises(ValueError, match="give --mean_upper"):
        held.bounds("mean", np.nan, np.nan, private=True)
    assert held.bounds("mean", np.nan, 5.0, private=True) == (0, 5)


def test_a_pixel_mean_is_a_share_of_white(tiny):
    # The image of row r is r everywhere; client a has row 3.
    assert load(tiny, value="pixel_mean").numbers[0].tolist() == [3 / 255]


def test_words_are_emnists_names_or_the_writers_own(tiny):
    assert load(tiny, value="word").words[1].tolist() == ["digit_1", "digit_0"]
    assert load(tiny, value="writer").words[1].tolist() == ["b", "b"]


def test_zipfs_words_follow_the_law_and_are_a_function_of_the_seed():
    asked = {"value": "zipf", "zipf_clients": 400, "zipf_examples": 50, "zipf_words": 30}
    held = load(**asked)
    counts = np.unique(np.concatenate(held.words), return_counts=True)[1]
    law = np.arange(1, 31) ** -1.1
    expected = 20_000 * law / law.sum()
    # Chi-squared of 29 degrees of freedom: 58.3 is passed once in a thousand.
    assert ((counts - expected) ** 2 / expected).sum() < 58.3
    np.testing.assert_array_equal(held.words, load(**asked).words)
    assert held.domain[:2] == ("w00", "w01")


def test_a_file_has_a_word_a_line(tmp_path):
    path = tmp_path / "words.csv"
    path.write_text("word,client\nhello,ann\nworld,bob\nhello,bob\n")
    held = load(value="file", words=str(path))
    assert held.clients == ("ann", "bob")
    assert [x.tolist() for x in held.words] == [["hello"], ["world", "hello"]]
    assert held.domain == ()


def test_a_vocabulary_is_the_public_list(tmp_path):
    words, vocabulary = tmp_path / "words.csv", tmp_path / "list.txt"
    words.write_text("client,word\nann,c\nann,a\nann,b\n")
    vocabulary.write_text("b\n\nc\nb\n")
    held = load(value="file", words=str(words), vocabulary=str(vocabulary))
    assert held.domain == ("b", "c")
    assert held.positions()[0].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("client;word\n", "has the columns client,word, got 'client;word'"),
        ("", "must begin with a line"),
        ("client,word\n", "has no words"),
        ("client,word\nann,\n", "line 2: no client or no word"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, said):
    path = tmp_path / "words.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        load(value="file", words=str(path))


def test_a_vocabulary_is_of_words(tiny, tmp_path):
    (tmp_path / "list.txt").write_text("a\n")
    with pytest.raises(ValueError, match="is of words, and --value=pixel_mean is numbers"):
        load(tiny, value="pixel_mean", vocabulary=str(tmp_path / "list.txt"))


@pytest.mark.parametrize(
    ("hparams", "said"),
    [
        ({"value": "file"}, "go together"),
        ({"words": "x.csv"}, "go together"),
        ({"zipf_exponent": 0.0}, "zipf_exponent must be > 0"),
        ({"zipf_words": 0}, "zipf_words must be >= 1"),
    ],
)
def test_knobs_that_can_not_be_are_refused(hparams, said):
    with pytest.raises(ValueError, match=said):
        value_sources.Hparams(**hparams)
