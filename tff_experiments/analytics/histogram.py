"""How often each of many bins occurs: the words of a public list, or ranges of numbers.

    x_i[b] = number of the client's values in bin b     (contribution: all)       ||x_i|| <= m
           = whether it has one there                   (distinct)                ||x_i|| <= sqrt(m)
    estimate[b] = (N / n) sum_i x_i[b]

A client takes part with m = `max_per_client` values at most, drawn at random in each round; with
`distinct` a client with many values of one bin moves it by one. Under distributed noise with a
secure sum the server has the noisy histogram alone (Kairouz, Liu, Steinke 2021,
https://arxiv.org/abs/2102.06387; Agarwal et al. 2021, https://arxiv.org/abs/2110.04995), and 10^5
bins are as good as 10: the noise of a bin depends on m and epsilon, not on their number. Bins that
are empty are noise: estimates are neither cut at 0 nor rounded, which would bias sums of them.

Deviation from `tff.analytics.histogram_processing`, whose bounds (sub-sampling, distinct) these
are: it has the server add noise from TensorFlow's generator.
"""

import dataclasses
import math
from typing import Literal

import numpy as np
import tensorflow as tf

from tff_experiments.analytics import answers, linear, sums, values


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the histogram."""

    max_per_client: int = 0
    """Values of a client that count, at most; 0 is all, which no noise can hide."""
    contribution: Literal["all", "distinct"] = "all"
    """Whether a client counts in a bin as often as it has it, or once."""
    bins: int = 100
    """Ranges that numbers are put into; words have a bin each."""
    lower: float = math.nan
    """Numbers below are in the first bin; by default the least that there can be."""
    upper: float = math.nan
    """Numbers from here on are in the last bin; by default the most that there can be."""

    def __post_init__(self):
        linear.check_max_per_client(self)
        if self.bins < 1:
            raise ValueError(f"bins must be >= 1, got {self.bins}.")


def build(hparams: Hparams, held: values.Values, *, private: bool) -> linear.Linear:
    """Makes the query; see `analytics`. Raises ValueError for what can't be asked."""
    names, items = _bins(hparams, held, private=private)
    distinct = hparams.contribution == "distinct"
    most = linear.most_items("histogram", hparams, items, private=private)

    def encode(positions):
        counts = tf.math.bincount(
            tf.cast(positions, tf.int32), minlength=len(names), maxlength=len(names)
        )
        # The length is not known to the type of `bincount`.
        counts = tf.reshape(counts, [len(names)])
        return tf.cast(tf.minimum(counts, 1) if distinct else counts, tf.float64)

    once = (lambda x: np.unique(x)) if distinct else (lambda x: x)
    whole = np.concatenate([once(x) for x in items]).astype(np.int64)
    truth = np.bincount(whole, minlength=len(names)).astype(np.float64)
    unit = "clients" if distinct else "values"
    return linear.Linear(
        bounds=sums.Bounds(
            dim=len(names),
            l2_norm=math.sqrt(min(most, len(names))) if distinct else most,
            largest=1 if distinct else most,
        ),
        items=items,
        most_items=most,
        encode=encode,
        decode=lambda total, noise: answers.Answer(
            names, total, truth, unit, len(names) > answers.MAX_BARS, noise_stddev=noise
        ),
    )


def _bins(hparams: Hparams, held: values.Values, *, private: bool):
    """The bins' names, and the bin of each value, float64 [n_i] per client."""
    if held.domain:
        return list(held.domain), held.positions()
    if held.numbers is None:
        raise ValueError(
            f"--query=histogram of words needs a public list of them, --vocabulary=FILE; to find "
            f"the frequent of unknown words (--value={held.name}) take --query=trie_hh or iblt."
        )
    lower, upper = held.bounds("histogram", hparams.lower, hparams.upper, private=private)
    width = (upper - lower) / hparams.bins
    place = lambda x: np.clip(np.floor((x - lower) / width), 0, hparams.bins - 1)
    edges = lower + width * np.arange(hparams.bins)
    return [f"{edge:.6g} .." for edge in edges], [place(x) for x in held.numbers]
