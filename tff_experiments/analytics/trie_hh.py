"""Frequent words of a list that nobody has: a trie that grows by a letter a round.

Zhu, Kairouz, McMahan, Sun, Li, AISTATS 2020, algorithms 1 to 4 (https://arxiv.org/abs/1902.08534).
The server sends the prefixes of length r that are in the trie. Each client of round r + 1 draws one
of its words, as often as it has it, and if the word's first r letters are among them, votes for
that prefix with one letter more, or for its end. What has `threshold` votes or more enters the
trie; a word whose end does is found. The words of up to L - 1 letters take L rounds.

    sampling   no noise: m of n clients come, and nobody knows who. Theorem 1, corollary 1:
               epsilon = L ln(1 + 1 / (n / (m theta) - 1)),
               delta = (theta - 2) / ((theta - 3) theta!)
               is of the words alone: votes are not told (`privacy.sample_and_threshold`).
    noise      votes are a vector, one 1 over (prefixes, letters): its noisy sum is as private as
               any, whatever is read from it, and tells votes as well.
    none       no privacy but the threshold.

Deviations: votes are a vector over the prefixes and a public alphabet, so that secure sums take
them, in place of a list of strings; at most `prefixes` of a length stay, those with the most votes.
Words with other letters or of more than `max_letters` have no vote. Under noise, a threshold of 0
is set so that less than one prefix of noise alone is expected in all rounds.

Who learns what: the clients the trie; the server beside it the sum of the votes, exactly without
noise: `sampling` is private towards those who see the words, not towards the server.
"""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.analytics import answers, sums, values

WORD = tff.TensorType(np.str_)


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of TrieHH."""

    max_letters: int = 10
    """Letters of the longest word that can be found."""
    alphabet: str = "abcdefghijklmnopqrstuvwxyz"
    """The letters, public."""
    threshold: float = 0.0
    """Votes that a prefix needs, theta; 0 chooses it: by epsilon and delta, or by the noise."""
    prefixes: int = 100
    """Prefixes of a length that are kept, at most."""

    def __post_init__(self):
        for name in ("max_letters", "prefixes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}.")
        if not self.alphabet or len(set(self.alphabet)) != len(self.alphabet):
            raise ValueError(f"alphabet must be different letters, got {self.alphabet!r}.")
        if not self.threshold >= 0:
            raise ValueError(f"threshold must be >= 0, got {self.threshold}.")


def build(hparams: Hparams, held: values.Values, *, private: bool) -> "TrieHH":
    """Makes the query; see `analytics`. Raises ValueError for what can't be asked."""
    del private  # A client has one vote, whatever it holds.
    return TrieHH(hparams, held.need_words("trie_hh"))


class TrieHH:
    """The query; see `analytics`."""

    refuses = ""

    def __init__(self, hparams: Hparams, words: Sequence[np.ndarray]):
        """Takes the knobs and the clients' words."""
        self.hparams, self._words = hparams, words
        self.rounds = hparams.max_letters + 1
        self._choices = len(hparams.alphabet) + 1  # The last is the end of a word.
        self.bounds = sums.Bounds(hparams.prefixes * self._choices, 1.0, 1.0)

    def threshold(self, summed: sums.Sum) -> float:
        """Votes that a prefix needs."""
        if self.hparams.threshold:
            return self.hparams.threshold
        if not summed.noise_stddev:
            return 2.0  # Nobody alone.
        rare = 1 / (self.bounds.dim * self.rounds)
        return max(2.0, summed.noise_stddev * float(scipy.stats.norm.isf(rare)))

    def process(self, summed: sums.Sum) -> tff.templates.IterativeProcess:
        """Makes the process: (state, a word at clients) -> (state, {words, votes})."""
        total = summed.create()
        prefixes, threshold = self.hparams.prefixes, self.threshold(summed)

        @tff.tensorflow.computation
        def first():
            return collections.OrderedDict(
                prefixes=tf.fill([prefixes], ""),
                is_alive=tf.range(prefixes) < 1,  # The empty prefix.
                letters=tf.constant(0),
            )

        trie_type = first.type_signature.result

        @tff.tensorflow.computation(WORD, trie_type)
        def vote(word, trie):
            return self._vote(word, trie)

        @tff.tensorflow.computation(trie_type, summed.type)
        def grow(trie, votes):
            return self._grow(trie, tf.reshape(votes, [prefixes, self._choices]), threshold)

        @tff.federated_computation
        def initialize():
            trie = tff.federated_eval(first, tff.SERVER)
            return tff.federated_zip(collections.OrderedDict(trie=trie, summing=total.initialize()))

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(WORD, tff.CLIENTS)
        )
        def next_fn(state, words):
            trie = tff.federated_broadcast(state["trie"])
            output = total.next(state["summing"], tff.federated_map(vote, (words, trie)))
            grown, found = tff.federated_map(grow, (state["trie"], output.result))
            state = collections.OrderedDict(trie=grown, summing=output.state)
            return tff.federated_zip(state), found

        return tff.templates.IterativeProcess(initialize, next_fn)

    def _vote(self, word, trie):
        length, r = tf.strings.length(word, "UTF8_CHAR"), trie["letters"]
        known = tf.logical_and(trie["is_alive"], tf.equal(trie["prefixes"], _part(word, 0, r)))
        letter = tf.equal(tf.constant(list(self.hparams.alphabet)), _part(word, r, 1))
        choice = tf.concat([tf.logical_and(letter, r < length), [tf.equal(r, length)]], 0)
        can_vote = tf.logical_and(length > 0, r <= length)
        votes = tf.logical_and(known[:, tf.newaxis], choice[tf.newaxis])
        return tf.reshape(tf.cast(tf.logical_and(votes, can_vote), tf.float64), [-1])

    def _grow(self, trie, votes, threshold: float):
        """The next trie, and the words whose end has votes enough."""
        enough = tf.logical_and(trie["is_alive"][:, tf.newaxis], votes >= threshold)
        found = collections.OrderedDict(
            words=trie["prefixes"], votes=votes[:, -1], is_found=enough[:, -1]
        )
        letters = tf.constant(list(self.hparams.alphabet))
        prefixes, letters = (
            tf.repeat(trie["prefixes"], self._choices - 1),
            tf.tile(letters, [self.hparams.prefixes]),
        )
        longer = tf.strings.join([prefixes, letters])
        kept = tf.where(enough[:, :-1], votes[:, :-1], -math.inf)
        best, at = tf.math.top_k(tf.reshape(kept, [-1]), self.hparams.prefixes)
        is_alive = best > -math.inf
        words = tf.where(is_alive, tf.gather(longer, at), "")
        grown = collections.OrderedDict(
            prefixes=words, is_alive=is_alive, letters=trie["letters"] + 1
        )
        return grown, found

    def client_value(self, client: int, rng: np.random.Generator) -> str:
        """The word that a client votes for in a round, "" where it has none that could be found."""
        words = self._words[client]
        word = str(words[rng.integers(len(words))]) if len(words) else ""
        letters = set(self.hparams.alphabet)
        can_be = len(word) <= self.hparams.max_letters and set(word) <= letters
        return word if can_be else ""

    def is_done(self, state: Any) -> bool:
        """Whether no prefix is left to grow."""
        return not np.any(state["trie"]["is_alive"])

    def answer(self, state: Any, outputs: Sequence[Any], summed: sums.Sum) -> answers.Answer:
        """The words that were found; votes stand for all clients."""
        del state
        pairs = [
            (word.decode(), float(votes))
            for output in outputs
            for word, votes, ok in zip(*output.values(), strict=True)
            if ok
        ]
        scale = len(self._words) / summed.arrivals
        true: dict[str, float] = collections.defaultdict(float)
        for words in self._words:
            for word in words:
                true[str(word)] += 1 / len(words)
        votes = np.array([scale * v for _, v in pairs], np.float64)
        answer = answers.found([word for word, _ in pairs], votes, true, "clients' votes")
        notes = [*answer.notes, ("threshold", f"{self.threshold(summed):.4g} votes")]
        return dataclasses.replace(answer, notes=notes, noise_stddev=scale * summed.noise_stddev)


def _part(word: tf.Tensor, start, count) -> tf.Tensor:
    """Some letters of a word, fewer at its end."""
    length = tf.strings.length(word, "UTF8_CHAR")
    # `substr` refuses a start beyond the end.
    return tf.strings.substr(word, tf.minimum(start, length), count, unit="UTF8_CHAR")
