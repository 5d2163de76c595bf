"""How well a run's canaries can be found in its model: an estimate of epsilon beside the bound.

See `clients.canaries` for what is measured, `privacy.auditing` for what is made of it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tff_experiments.algorithms import client_side
from tff_experiments.clients import canaries as canaries_lib
from tff_experiments.privacy import auditing


class Auditor:
    """Knows the canaries of a run, and which of them took part."""

    def __init__(self, canaries: Mapping[str, int], first: Any, delta: float):
        """Takes each canary's seed, the trainable weights before round 1, and the delta at which
        epsilon is estimated.
        """
        self.canaries, self._first, self._delta = canaries, first, delta
        self._seen: set[str] = set()

    def observe(self, clients: Iterable[str]) -> None:
        """Takes the clients whose updates are in a round that was released."""
        self._seen |= self.canaries.keys() & set(clients)

    def measure(self, weights: Any) -> dict[str, float]:
        """{metric: value} for trainable weights: the canaries seen, the mean of their cosines in
        deviations of one who took no part, and where enough were seen epsilon.
        """
        row: dict[str, float] = {"audit/canaries": len(self._seen)}
        if not self._seen:
            return row
        way = tf.nest.map_structure(tf.subtract, weights, self._first)
        dim = sum(int(np.prod(x.shape)) for x in tf.nest.flatten(way))
        cosines = np.array([cosine(way, self.canaries[c]) for c in sorted(self._seen)])
        row["audit/mean_cosine"] = float(np.mean(cosines) * np.sqrt(dim))
        if len(cosines) >= canaries_lib.LEAST and np.all(np.isfinite(cosines)):
            row["audit/epsilon"] = auditing.epsilon_of_gaussians(
                float(np.mean(cosines)), float(np.std(cosines, ddof=1)), dim**-0.5, self._delta
            )
        return row


def cosine(way: Any, seed: int) -> float:
    """Between a way of the weights and the direction of a canary's seed; 0 where it is no way."""
    direction = client_side.direction(way, tf.constant(seed, tf.int64))
    pairs = zip(tf.nest.flatten(way), tf.nest.flatten(direction), strict=True)
    product = sum(float(tf.reduce_sum(x * y)) for x, y in pairs)
    length = np.sqrt(sum(float(tf.reduce_sum(tf.square(x))) for x in tf.nest.flatten(way)))
    return product / length if length else 0.0
