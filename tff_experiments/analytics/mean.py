"""The mean of the clients' numbers: a noisy sum over a noisy count.

    y = clip((x - c) / h, -1, 1),    c = (upper + lower) / 2,  h = (upper - lower) / 2
    v_i = [sum_j y_ij, n_i]          every number counts the same            (weighting: values)
        = [mean_j y_ij, 1]           every client with numbers counts the same          (clients)
    estimate = c + h S / N,          (S, N) = sum_i v_i

||v_i|| <= sqrt(2) m, where a client takes part with m numbers at most (clients: 1). Centring halves
what noise a number of one sign would need. Both sums get their noise together, as one vector.

Nothing published; the noisy average of Dwork and Roth 2014, section 3.3, for vectors. Deviation: N
below 1 is taken as 1, and a mean outside of the range is put on its edge, which costs nothing.
Exact sums cut y to multiples of 2^-16 of a client's own sum.
"""

import dataclasses
import math
from typing import Literal

import numpy as np
import tensorflow as tf

from tff_experiments.analytics import answers, linear, sums, values

STEP = 2.0**-16


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the mean."""

    max_per_client: int = 0
    """Numbers of a client that count, at most; 0 is all, which no noise can hide."""
    weighting: Literal["values", "clients"] = "values"
    """Whether every number counts the same, or every client."""
    lower: float = math.nan
    """Numbers below count as it; by default the least that there can be."""
    upper: float = math.nan
    """Numbers above count as it; by default the most that there can be."""

    def __post_init__(self):
        linear.check_max_per_client(self)


def build(hparams: Hparams, held: values.Values, *, private: bool) -> linear.Linear:
    """Makes the query; see `analytics`. Raises ValueError for what can't be asked."""
    items = held.need_numbers("mean")
    lower, upper = held.bounds("mean", hparams.lower, hparams.upper, private=private)
    by_client = hparams.weighting == "clients"
    most = 1 if by_client else linear.most_items("mean", hparams, items, private=private)
    centre, half = (upper + lower) / 2, (upper - lower) / 2

    def encode(x):
        total = tf.reduce_sum(tf.clip_by_value((x - centre) / half, -1.0, 1.0))
        count = tf.cast(tf.size(x), tf.float64)
        if by_client:
            return tf.stack([tf.math.divide_no_nan(total, count), tf.minimum(count, 1.0)])
        return tf.stack([total, count])

    def decode(total, noise):
        count = max(total[1], 1.0)
        scaled = total[0] / count
        mean = np.clip(centre + half * scaled, lower, upper)
        # To first order: that of the sum, and of the count as it moves the quotient.
        stddev = half * noise * math.hypot(1.0, scaled) / count
        return answers.Answer(
            ["mean"], np.array([mean]), np.array([truth]), held.name, noise_stddev=stddev
        )

    means = [x.mean() for x in items if len(x)]
    truth = float(np.mean(means if by_client else np.concatenate(items)))
    return linear.Linear(
        bounds=sums.Bounds(dim=2, l2_norm=math.sqrt(2) * most, largest=most, step=STEP),
        items=items,
        most_items=hparams.max_per_client,
        encode=encode,
        decode=decode,
    )
