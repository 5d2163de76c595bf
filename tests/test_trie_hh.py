"""TrieHH against prefixes counted in Python, under secagg, noise and sampling."""

import collections
import math

import numpy as np
import pytest
from analytics_helpers import SECAGG, ask, prepare, words

from tff_experiments.privacy import plan

TEXTS = ["abc"] * 5 + ["ab"] * 3 + ["b"] * 2 + ["cab", "aBc", "abcab", ""]
OWN = {"alphabet": "abc", "max_letters": 4, "prefixes": 6}


def frequent(texts, threshold):
    """Words whose every prefix, and whose end, has votes enough."""
    can_vote = [t for t in texts if t and len(t) <= 4 and set(t) <= set("abc")]
    ends = collections.Counter(can_vote)
    return {word: n for word, n in ends.items() if n >= threshold}


def found(answer, scale=1.0):
    return dict(zip(answer.names, answer.estimates / scale, strict=True))


@pytest.mark.parametrize("threshold", [2.0, 3.0, 6.0])
def test_the_words_with_votes_enough_are_found_with_their_votes(threshold):
    answer = ask(prepare("trie_hh", words(*TEXTS), {**OWN, "threshold": threshold})).answer
    assert found(answer) == frequent(TEXTS, threshold)


def test_under_secagg_those_who_drop_out_have_no_vote(monkeypatch):
    made = prepare("trie_hh", words(*TEXTS), {**OWN, "threshold": 3.0})
    result = ask(made, monkeypatch, protocol=SECAGG, leaving=(0, 5))
    left = [text for i, text in enumerate(TEXTS) if i not in (0, 5)]
    assert found(result.answer) == frequent(left, 3.0)


def test_of_a_length_the_prefixes_with_the_most_votes_stay():
    texts = ["aa"] * 4 + ["bb"] * 3 + ["cc"] * 2
    answer = ask(prepare("trie_hh", words(*texts), {**OWN, "prefixes": 2})).answer
    assert found(answer) == {"aa": 4, "bb": 3}


def test_rounds_end_with_the_trie():
    result = ask(prepare("trie_hh", words("a", "a", "b"), OWN))
    assert len(result.metrics) == 2


def test_a_client_of_several_words_votes_for_one_a_round_as_often_as_it_has_it():
    query = prepare("trie_hh", words("a a a b"), OWN).query
    votes = [query.client_value(0, np.random.default_rng(i)) for i in range(400)]
    # 400 draws of probability 3/4: a standard deviation is 2.2 %.
    assert votes.count("a") / 400 == pytest.approx(0.75, abs=0.09)


def test_letters_may_be_of_any_script():
    answer = ask(prepare("trie_hh", words("äß", "äß"), {**OWN, "alphabet": "äß"})).answer
    assert found(answer) == {"äß": 2}


def test_under_noise_frequent_words_are_found_and_epsilon_is_the_privacy_rooms():
    texts = ["ab"] * 15 + ["c"] * 15
    own = {"alphabet": "abc", "max_letters": 2, "prefixes": 6}
    asked = {"mechanism": "skellam", "noise_multiplier": 1.0, "bits": 20}
    made = prepare("trie_hh", words(*texts), own, asked)
    result = ask(made, protocol=SECAGG)
    assert set(result.answer.names) == {"ab", "c"}
    # Five standard deviations of the noise.
    np.testing.assert_allclose(result.answer.estimates, 15, atol=5 * 1.0)
    # Less than one of 24 candidates in 3 rounds: the quantile of 1 / 72.
    assert made.query.threshold(made.summed) == pytest.approx(2.2004, abs=1e-3)
    expected = plan.answer(
        plan.Hparams(
            mechanism="skellam", num_clients=30, clients_per_round=30, rounds=3, dim=24,
            noise_multiplier=1.0, clip=1.0, bits=20,
            client_sampling="round_robin",
        )
    )  # fmt: skip
    assert result.metrics[-1]["privacy/epsilon"] == expected.actual


def test_sampling_tells_words_and_no_votes():
    texts = ["a"] * 900 + ["b"] * 100
    own = {"alphabet": "ab", "max_letters": 1, "prefixes": 2}
    asked = {"mechanism": "sampling", "client_sampling": "uniform"}
    made = prepare("trie_hh", words(*texts), own, asked, {"target_epsilon": 1.0})
    assert (made.sampled.threshold, made.hparams.clients_per_round) == (7, 56)
    result = ask(made)
    assert "a" in result.answer.names
    assert np.isnan(result.answer.estimates).all()
    epsilon = -2 * math.log(1 - 56 * 7 / 1000)
    assert ("epsilon", f"{epsilon:.4g} at delta 0.000248, of the words alone") in result.lines


@pytest.mark.parametrize(
    ("asked", "shared", "said"),
    [
        ({}, {"target_epsilon": 4.0}, "take --client_sampling=uniform, not round_robin"),
        ({"client_sampling": "uniform"}, {"target_epsilon": 4.0}, "threshold of 4 to sqrt"),
        ({"client_sampling": "uniform", "clients_per_round": 5}, {"target_epsilon": 4.0},
         "leave them out"),
        ({"client_sampling": "uniform", "rounds": 3}, {}, "threshold of 4"),
    ],
)  # fmt: skip
def test_sampling_outside_of_the_theorem_is_refused(asked, shared, said):
    with pytest.raises(ValueError, match=said):
        prepare("trie_hh", words(*TEXTS), OWN, {"mechanism": "sampling", **asked}, shared)


def test_an_alphabet_with_a_letter_twice_is_refused():
    with pytest.raises(ValueError, match="different letters, got 'aa'"):
        prepare("trie_hh", words("a"), {"alphabet": "aa"})
