"""IBLT against a Counter; under secagg with a client that drops out; refused under noise."""

import collections

import pytest
from analytics_helpers import SECAGG, ask, prepare, words

from tff_experiments import runtime

TEXTS = ["apple pear pear", "pear fig", "", "pear apple", "kiwi"]
OWN = {"capacity": 20, "max_bytes": 8, "max_words": 3}


def held_by(texts, at_least):
    counts = collections.Counter(word for text in texts for word in set(text.split()))
    return {word: n for word, n in counts.items() if n >= at_least}


def test_words_of_k_clients_are_told_with_their_clients_under_secagg(monkeypatch):
    made = prepare("iblt", words(*TEXTS), OWN)
    with runtime.use(secure_sum=SECAGG) as context:
        for leaving in ((), (0,)):
            answer = ask(made, monkeypatch, leaving=leaving, context=context).answer
            left = [text for i, text in enumerate(TEXTS) if i not in leaving]
            assert dict(zip(answer.names, answer.estimates, strict=True)) == held_by(left, 2)


def test_more_words_than_the_table_holds_are_said_to_be_missing():
    texts = [f"word{i} word{i + 1}" for i in range(60)]
    answer = ask(prepare("iblt", words(*texts), {**OWN, "capacity": 5, "k_anonymity": 1})).answer
    assert any(name == "incomplete" for name, _ in answer.notes)


@pytest.mark.parametrize("mechanism", ["gaussian", "skellam", "local_gaussian"])
def test_under_noise_it_is_refused_with_the_reason(mechanism):
    with pytest.raises(ValueError, match="hangs on the words of each single client"):
        prepare("iblt", words(*TEXTS), OWN, {"mechanism": mechanism})


@pytest.mark.parametrize("own", [{"capacity": 0}, {"repetitions": 2}, {"k_anonymity": 0}])
def test_knobs_out_of_range_are_refused(own):
    with pytest.raises(ValueError, match=f"{next(iter(own))} must be >= "):
        prepare("iblt", words(*TEXTS), own)
