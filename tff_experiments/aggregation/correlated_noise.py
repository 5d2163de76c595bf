"""The server's noise from round to round: independent, of a tree, or of a banded matrix.

Each is a recurrence over rounds whose state the server keeps; its output of unit scale is the noise
in one round's update, so that noise in the model is its prefix sum.
"""

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tff_experiments import private_noise


class Noise(Protocol):
    """A recurrence."""

    def first(self, size: int) -> Any:
        """The state before round 1, a structure of tensors, for vectors [size]."""

    def next(self, state: Any, size: int) -> tuple[Any, tf.Tensor]:
        """(state, float32 [size]): a round's noise where that of `noise_multiplier` * clip is 1."""


class Independent:
    """A Gaussian of its own in each round."""

    def first(self, size: int):
        """Nothing is kept."""
        del size
        return ()

    def next(self, state, size: int):
        """Fresh noise."""
        return state, private_noise.normal([size])


class Tree:
    """The nodes of a binary tree over rounds, its prefix sums those of the least variance.

    Kairouz et al. 2021, appendix B (https://arxiv.org/abs/2103.00039), with Honaker's estimate of
    a node from all below it: a node of level l has the variance s_l^2 = 2^l / (2^(l+1) - 1).

    A round completes a leaf, and as many nodes above it as its number has trailing zeros: two draws
    a round are enough, since a node's own noise may be drawn half of its width before it is needed.
    """

    def __init__(self, restart_every: int):
        """Takes the rounds of a tree, after which a new one begins."""
        self._rounds = restart_every
        self._levels = restart_every.bit_length()

    def first(self, size: int):
        """The rounds in the tree; the latest node of each level, and the own noise of the next."""
        return {
            "round": tf.constant(0),
            "nodes": tf.zeros([self._levels, size]),
            "drawn": tf.zeros([self._levels, size]),
        }

    def next(self, state, size: int):
        """The newest node, less those that it replaces in the prefix sum."""
        number = state["round"] % self._rounds + 1
        zeros = _trailing_zeros(number, self._levels)
        fresh = private_noise.normal([2, size])
        node, replaced = fresh[0], tf.zeros([size])
        for level in range(1, self._levels):
            left = state["nodes"][level - 1]
            s_squared = 2.0**level / (2.0 ** (level + 1) - 1)
            estimate = s_squared * state["drawn"][level] + (1 - s_squared) * (left + node)
            node = tf.where(level <= zeros, estimate, node)
            replaced += tf.where(level <= zeros, left, 0.0)
        row = lambda level: tf.one_hot(level, self._levels, on_value=True, off_value=False)
        put = lambda rows, level, x: tf.where(row(level)[:, tf.newaxis], x, rows)
        new = {
            "round": number,
            "nodes": put(state["nodes"], zeros, node),
            "drawn": put(state["drawn"], zeros + 1, fresh[1]),
        }
        return new, node - replaced


def _trailing_zeros(number: tf.Tensor, most: int) -> tf.Tensor:
    # Not `==`, which inside of TFF's graphs compares Python objects.
    divides = [tf.cast(tf.equal(number % 2**i, 0), tf.int32) for i in range(1, most + 1)]
    return tf.add_n(divides)


class Banded:
    """n_t = (Z_t - sum_j c_j n_{t-j}) / c_0; see `privacy.matrix_factorization`."""

    def __init__(self, coefficients: np.ndarray):
        """Takes c, float [bands]."""
        self._c = np.asarray(coefficients, np.float32)

    def first(self, size: int):
        """The noise of the rounds before, the newest first."""
        return {"past": tf.zeros([len(self._c) - 1, size])}

    def next(self, state, size: int):
        """One step of the recurrence."""
        fresh, past = private_noise.normal([size]), state["past"]
        noise = (fresh - tf.linalg.matvec(past, self._c[1:], transpose_a=True)) / self._c[0]
        return {"past": tf.concat([noise[tf.newaxis], past], 0)[: len(self._c) - 1]}, noise
