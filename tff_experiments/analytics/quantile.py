"""Quantiles of the clients' numbers, followed from round to round.

Andrew et al. 2021, algorithm 1 (https://arxiv.org/abs/1905.03871), for several quantiles at once. A
client sends for each the fraction of its numbers up to the estimate, less 1/2:

    b_k = sum_i (|{j: x_ij <= C_k}| / n_i - 1/2) / n + 1/2,      cut to 0 .. 1
    C_k <- C_k exp(-rate (b_k - q_k))                            (geometric, for numbers > 0)
    C_k <- C_k - rate (upper - lower) (b_k - q_k)                (linear)

n clients are counted on. All K fractions are one vector of norm sqrt(K) / 2, noised together.

Deviations: a client of several numbers has a fraction in place of a bit, so that all clients count
the same and not all numbers; the rate falls as round^-decay (the paper's does not), and estimates
stay within the numbers' range. One number a client, one quantile, decay 0 and no noise are
`tff.aggregators.PrivateQuantileEstimationProcess`, which draws its noise from TensorFlow.

Who learns what: everybody the estimates of all rounds, which is what is accounted for.
"""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.analytics import answers, linear, sums, values


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the quantiles."""

    quantiles: str = "0.5"
    """Which, in 0 .. 1, with commas between."""
    steps: int = 30
    """Rounds."""
    update: Literal["linear", "geometric"] = "linear"
    """Whether estimates move by a part of the range, or by a factor."""
    rate: float = 0.5
    """Learning rate of the first round."""
    decay: float = 0.5
    """The rate of a round is that of the first times round^-decay; 0 as published."""
    first: float = math.nan
    """Estimates before the first round; by default the middle of the range."""
    lower: float = math.nan
    """No number is below; by default the least that there can be."""
    upper: float = math.nan
    """No number is above; by default the most that there can be."""

    def __post_init__(self):
        self.levels()
        if self.steps < 1:
            raise ValueError(f"steps must be >= 1, got {self.steps}.")
        if not self.rate > 0 or not self.decay >= 0:
            raise ValueError(f"rate must be > 0 and decay >= 0, got {self.rate}, {self.decay}.")

    def levels(self) -> list[float]:
        """The quantiles; raises ValueError where one is none."""
        try:
            found = [float(text) for text in self.quantiles.split(",")]
        except ValueError:
            found = [math.nan]
        if not all(0 <= level <= 1 for level in found):
            raise ValueError(f"quantiles must be numbers in 0 .. 1, got {self.quantiles!r}.")
        return found


def build(hparams: Hparams, held: values.Values, *, private: bool) -> "Quantiles":
    """Makes the query; see `analytics`. Raises ValueError for what can't be asked."""
    items = held.need_numbers("quantile")
    lower, upper = held.bounds("quantile", hparams.lower, hparams.upper, private=private)
    first = (lower + upper) / 2 if math.isnan(hparams.first) else hparams.first
    if not lower <= first <= upper:
        raise ValueError(f"first must be within {lower} .. {upper}, got {first}.")
    if hparams.update == "geometric" and not (lower >= 0 and first > 0):
        raise ValueError("--quantile_update=geometric is for numbers > 0; take linear.")
    return Quantiles(hparams, held.name, items, lower, upper, first)


class Quantiles:
    """The query; see `analytics`."""

    refuses = ""

    def __init__(
        self,
        hparams: Hparams,
        unit: str,
        items: Sequence[np.ndarray],
        lower: float,
        upper: float,
        first: float,
    ):
        """Takes the knobs, the clients' numbers and their range, and the first estimate."""
        self._hparams, self._unit, self._items = hparams, unit, items
        self._lower, self._upper, self._first = lower, upper, first
        self._levels = np.array(hparams.levels())
        self.rounds = hparams.steps
        count = len(self._levels)
        self.bounds = sums.Bounds(count, math.sqrt(count) / 2, 0.5, step=2.0**-20)

    def process(self, summed: sums.Sum) -> tff.templates.IterativeProcess:
        """Makes the process: (state, numbers at clients) -> (state, {estimates})."""
        total = summed.create()

        @tff.tensorflow.computation
        def first():
            estimates = tf.fill([self.bounds.dim], tf.constant(self._first, tf.float64))
            return collections.OrderedDict(estimates=estimates, round_num=tf.constant(0))

        state_type = first.type_signature.result

        @tff.tensorflow.computation(linear.ITEMS, summed.type)
        def fractions(numbers, estimates):
            below = tf.cast(numbers[:, tf.newaxis] <= estimates[tf.newaxis], tf.float64)
            some = tf.cast(tf.size(numbers) > 0, tf.float64)
            count = tf.cast(tf.maximum(tf.size(numbers), 1), tf.float64)
            return tf.reduce_sum(below, 0) / count - some / 2

        @tff.tensorflow.computation(state_type, summed.type)
        def step(state, moved):
            return self._step(state, moved / summed.arrivals + 0.5)

        @tff.tensorflow.computation(state_type)
        def estimates_of(state):
            return state["estimates"]

        @tff.federated_computation
        def initialize():
            own = tff.federated_eval(first, tff.SERVER)
            return tff.federated_zip(collections.OrderedDict(own=own, summing=total.initialize()))

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(linear.ITEMS, tff.CLIENTS)
        )
        def next_fn(state, numbers):
            now = tff.federated_broadcast(tff.federated_map(estimates_of, state["own"]))
            output = total.next(state["summing"], tff.federated_map(fractions, (numbers, now)))
            own = tff.federated_map(step, (state["own"], output.result))
            result = collections.OrderedDict(estimates=tff.federated_map(estimates_of, own))
            state = collections.OrderedDict(own=own, summing=output.state)
            return tff.federated_zip(state), tff.federated_zip(result)

        return tff.templates.IterativeProcess(initialize, next_fn)

    def _step(self, state, below):
        round_num = state["round_num"] + 1
        rate = self._hparams.rate * tf.cast(round_num, tf.float64) ** -self._hparams.decay
        off = rate * (tf.clip_by_value(below, 0.0, 1.0) - self._levels)
        if self._hparams.update == "geometric":
            moved = state["estimates"] * tf.exp(-off)
        else:
            moved = state["estimates"] - (self._upper - self._lower) * off
        kept = tf.clip_by_value(moved, self._lower, self._upper)
        return collections.OrderedDict(estimates=kept, round_num=round_num)

    def client_value(self, client: int, rng: np.random.Generator) -> np.ndarray:
        """A client's numbers, all of them."""
        del rng
        return self._items[client]

    def is_done(self, state: Any) -> bool:
        """Never before the last round."""
        del state
        return False

    def answer(self, state: Any, outputs: Sequence[Any], summed: sums.Sum) -> answers.Answer:
        """The last estimates, beside the quantiles where every client weighs the same."""
        del outputs, summed
        estimates = np.asarray(state["own"]["estimates"])
        numbers = np.concatenate(self._items)
        weights = np.concatenate([np.full(len(x), 1 / len(x)) for x in self._items if len(x)])
        order = np.argsort(numbers, kind="stable")
        reached = np.cumsum(weights[order]) / weights.sum()
        at = np.minimum(np.searchsorted(reached, self._levels - 1e-12), len(order) - 1)
        ranks = [f"{weights[numbers <= e].sum() / weights.sum():.4f}" for e in estimates]
        return answers.Answer(
            [f"quantile {level:g}" for level in self._levels],
            estimates,
            numbers[order][at],
            self._unit,
            notes=[("fraction up to the estimates", ", ".join(ranks))],
        )
