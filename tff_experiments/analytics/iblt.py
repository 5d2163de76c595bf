"""All words that clients hold, without a list of them: invertible Bloom lookup tables.

Goodrich and Mitzenmacher 2011 (https://arxiv.org/abs/1101.2245), as in
`tff.analytics.heavy_hitters.iblt`, which this wraps. Each client adds its words to a table of
`repetitions` rows: for word w with hash h_r(w) in row r

    T[r, h_r(w)] += [chunks of w, check(w), 1]  modulo a prime,     counts[r, h_r(w)] += count of w

The tables' sum is the table of all words; cells with one word are read, the word is taken out of
its other cells, and so on. Up to about `capacity` different words come out, exactly; beyond, hardly
any, which is said. Sums are secure; one round.

No differential privacy, and none can be had from it: noise in the cells leaves nothing to be read,
and noise in what was read would not do, because whether a table can be read at all hangs on the
words of each single client. No accountant covers that; `trie_hh` finds words under noise.

Who learns what: under a real secure sum the server the words of all clients of the round together
and how often each occurs, a word of one client alone as well, but not whose; `k_anonymity` only
keeps the rare ones out of the answer.
"""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_federated as tff
from tensorflow_federated.python.analytics.heavy_hitters import iblt as tff_iblt

from tff_experiments.analytics import answers, sums, values

_COUNT_BITS = 20


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the table."""

    capacity: int = 1000
    """Different words that can be read."""
    max_bytes: int = 16
    """Bytes of a word; more are cut off."""
    max_words: int = 10
    """Different words of a client that count, those it has most often."""
    k_anonymity: int = 2
    """Clients that a word needs to be told."""
    repetitions: int = 3
    """Rows of the table, >= 3."""

    def __post_init__(self):
        for name, least in (
            ("capacity", 1), ("max_bytes", 1), ("max_words", 1), ("k_anonymity", 1),
            ("repetitions", 3),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}.")


def build(hparams: Hparams, held: values.Values, *, private: bool) -> "Iblt":
    """Makes the query; see `analytics`. Raises ValueError for what can't be asked."""
    del private
    return Iblt(hparams, held.need_words("iblt"))


class Iblt:
    """The query; see `analytics`."""

    rounds = 1
    bounds = sums.Bounds(0, 0.0, 0.0)  # Nothing goes through a `sums.Sum`.
    refuses = (
        "whether an IBLT can be read at all hangs on the words of each single client, which no "
        "accountant covers; take --query=trie_hh, or --mechanism=none"
    )

    def __init__(self, hparams: Hparams, words: Sequence[np.ndarray]):
        """Takes the knobs and the clients' words."""
        self.hparams, self._words = hparams, words

    def process(self, summed: sums.Sum) -> tff.templates.IterativeProcess:
        """Makes the process: (state, batches of words at clients) -> (state, {words, clients})."""
        del summed
        read = tff_iblt.build_iblt_computation(
            capacity=self.hparams.capacity,
            string_max_bytes=self.hparams.max_bytes,
            max_words_per_user=self.hparams.max_words,
            multi_contribution=False,
            repetitions=self.hparams.repetitions,
            secure_sum_bitwidth=_COUNT_BITS,
        )

        @tff.tensorflow.computation(read.type_signature.result.member)
        def told(output):
            return collections.OrderedDict(
                words=output.heavy_hitters,
                clients=output.heavy_hitters_unique_counts,
                unread=output.num_not_decoded,
            )

        @tff.federated_computation
        def initialize():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(initialize.type_signature.result, read.type_signature.parameter)
        def next_fn(state, words):
            return state, tff.federated_map(told, read(words))

        return tff.templates.IterativeProcess(initialize, next_fn)

    def client_value(self, client: int, rng: np.random.Generator) -> list[np.ndarray]:
        """A client's words, one batch."""
        del rng
        words = self._words[client]
        return [words.astype(object)] if len(words) else []

    def is_done(self, state: Any) -> bool:
        """Whether the one round was."""
        del state
        return False

    def answer(self, state: Any, outputs: Sequence[Any], summed: sums.Sum) -> answers.Answer:
        """The words of so many clients that they are told; clients stand for all."""
        del state
        scale = len(self._words) / summed.arrivals
        (output,) = outputs
        pairs = [
            (word.decode(errors="replace"), int(clients))
            for word, clients in zip(output["words"], output["clients"], strict=True)
            if clients >= self.hparams.k_anonymity
        ]
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
        held = collections.Counter(str(word) for words in self._words for word in set(words))
        votes = scale * np.array([clients for _, clients in pairs], np.float64)
        answer = answers.found([word for word, _ in pairs], votes, held, "clients")
        unread = int(output["unread"])
        if not unread:
            return answer
        note = f"{unread:,} words could not be read; give more --iblt_capacity"
        return dataclasses.replace(answer, notes=[*answer.notes, ("incomplete", note)])
