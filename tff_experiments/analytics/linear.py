"""Queries that are one sum over clients: how many, how much, how often.

    total <- total + sum_i x_i,    estimate = total clients / (rounds * arrivals)

Each round adds the sum of its clients' vectors; a sample stands for all by a constant, since the
number of those who came would tell of one. Rounds that were aborted add nothing and count for none.
"""

import collections
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.analytics import answers, sums

ITEMS = tff.TensorType(np.float64, [None])


@dataclasses.dataclass(frozen=True)
class Linear:
    """A query of `analytics.BY_NAME`.

    Attributes:
        bounds: Of a client's vector.
        items: What each client holds, float64 [n_i].
        most_items: How many of them a client takes part with in a round, drawn at random; 0: all.
        encode: In TensorFlow: items [n] -> vector [dim].
        decode: (the sum over all clients as estimated, float64 [dim], standard deviation of its
            noise) -> what is answered.
        rounds: See `analytics`.
        refuses: See `analytics`.
    """

    bounds: sums.Bounds
    items: Sequence[np.ndarray]
    most_items: int
    encode: Callable[[tf.Tensor], tf.Tensor]
    decode: Callable[[np.ndarray, float], answers.Answer]
    rounds: int = 0
    refuses: str = ""

    def process(self, summed: sums.Sum) -> tff.templates.IterativeProcess:
        """Makes the process: (state, items at clients) -> (state, the round's sum)."""
        total = summed.create()
        encode = tff.tensorflow.computation(self.encode, ITEMS)

        @tff.tensorflow.computation
        def zeros():
            return tf.zeros([self.bounds.dim], tf.float64)

        @tff.tensorflow.computation(summed.type, summed.type)
        def add(before, new):
            return before + new

        @tff.federated_computation
        def initialize():
            first = tff.federated_eval(zeros, tff.SERVER)
            return tff.federated_zip(
                collections.OrderedDict(total=first, summing=total.initialize())
            )

        @tff.federated_computation(
            initialize.type_signature.result, tff.FederatedType(ITEMS, tff.CLIENTS)
        )
        def next_fn(state, items):
            output = total.next(state["summing"], tff.federated_map(encode, items))
            state = collections.OrderedDict(
                total=tff.federated_map(add, (state["total"], output.result)),
                summing=output.state,
            )
            result = collections.OrderedDict(total=output.result)
            return tff.federated_zip(state), tff.federated_zip(result)

        return tff.templates.IterativeProcess(initialize, next_fn)

    def client_value(self, client: int, rng: np.random.Generator) -> np.ndarray:
        """What a client takes part with in a round."""
        items = self.items[client]
        if not 0 < self.most_items < len(items):
            return items
        return items[np.sort(rng.choice(len(items), self.most_items, replace=False))]

    def is_done(self, state: Any) -> bool:
        """Whether more rounds would add nothing."""
        return False

    def answer(self, state: Any, outputs: Sequence[Any], summed: sums.Sum) -> answers.Answer:
        """What is answered after some rounds, at least one."""
        scale = len(self.items) / (len(outputs) * summed.arrivals)
        noise = summed.noise_stddev * math.sqrt(len(outputs)) * scale
        return self.decode(np.asarray(state["total"], np.float64) * scale, noise)


def most_items(query: str, hparams: Any, held: Sequence[np.ndarray], *, private: bool) -> int:
    """The bound on a client's part: the flag's, or without noise what the largest client holds.

    Raises:
        ValueError: Without a bound no noise hides what a client holds.
    """
    if hparams.max_per_client:
        return hparams.max_per_client
    if private:
        raise ValueError(
            f"noise hides a client only where its part is bounded: give "
            f"--{query}_max_per_client, which must not be taken from the clients' own data."
        )
    return max(1, *(len(items) for items in held))


def check_max_per_client(hparams: Any) -> None:
    """Raises ValueError for a bound below 0."""
    if hparams.max_per_client < 0:
        raise ValueError(f"max_per_client must be >= 0, got {hparams.max_per_client}.")
