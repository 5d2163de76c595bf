"""How many values the clients hold, or how many of a kind.

    x_i = [number of the client's values that are of the kind],    estimate = (N / n) sum_i x_i

n of N clients are counted on, over all rounds. A client takes part with at most `max_per_client`
values of the kind: |x_i| <= max_per_client, which is what noise is for.

The simplest secure sum there is; no paper. Bias: clients with more of the kind than that count for
less.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from tff_experiments.analytics import answers, linear, sums, values


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the count."""

    max_per_client: int = 0
    """Values of the kind that count for a client, at most; 0 is all, which no noise can hide."""
    at_least: float = -math.inf
    """Counts numbers from here on."""
    word: str = ""
    """Counts the values that are this word."""

    def __post_init__(self):
        linear.check_max_per_client(self)
        if self.word and self.at_least > -math.inf:
            raise ValueError("at_least is of numbers and word of words; give one of them.")


def build(hparams: Hparams, held: values.Values, *, private: bool) -> linear.Linear:
    """Makes the query; see `analytics`. Raises ValueError for what can't be asked."""
    if hparams.word:
        are = [words == hparams.word for words in held.need_words("count with --count_word")]
    elif hparams.at_least > -math.inf:
        are = [n >= hparams.at_least for n in held.need_numbers("count with --count_at_least")]
    else:
        are = [np.ones(n) for n in held.counts]
    items = [np.ones(np.count_nonzero(is_one)) for is_one in are]
    most = linear.most_items("count", hparams, items, private=private)
    truth = np.array([float(sum(len(ones) for ones in items))])
    return linear.Linear(
        bounds=sums.Bounds(dim=1, l2_norm=most, largest=most),
        items=items,
        most_items=most,
        encode=lambda x: tf.reshape(tf.reduce_sum(x), [1]),
        decode=lambda total, noise: answers.Answer(
            ["count"], total, truth, "values", noise_stddev=noise
        ),
    )
