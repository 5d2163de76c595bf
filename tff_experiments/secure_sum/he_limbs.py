"""Entries as limbs that a homomorphic scheme can add without wrapping.

A scheme adds integers up to some capacity. An entry x of b bits that may be too large is cut into
limbs of w bits, x = sum_j 2^(w j) x_j; limbs are summed apart, their carries and all, and

    sum x mod M = sum_j 2^(w j) (sum x_j) mod M.

Whoever sees the sums of limbs sees the sum before it is reduced modulo M, its carry, and carries
of limbs, not of the sum alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tff_experiments.secure_sum import stages, vectors


class Cut(NamedTuple):
    """How the entries of a run are cut."""

    number: int  # Limbs of an entry; none where the modulus is 1.
    width: int  # Bits of a limb.
    largest: int  # A limb's largest value.


def cut(run: vectors.Run, capacity: int) -> Cut:
    """Cuts into the fewest limbs of at most `capacity`, of one width."""
    bits = run.bound.bit_length()
    if run.bound <= capacity:
        return Cut(int(run.bound > 0), bits, run.bound)
    number = -(-bits // ((capacity + 1).bit_length() - 1))
    width = -(-bits // number)
    return Cut(number, width, 2**width - 1)


def count(layout: vectors.Layout, capacity: int) -> int:
    """Limbs of a vector."""
    return sum(run.length * cut(run, capacity).number for run in layout.runs)


class Limbs:
    """Vectors of one layout, as limbs of at most `capacity`, int64 [length].

    The first limbs of a run's entries come first, then the second ones, and so on.
    """

    def __init__(self, layout: vectors.Layout, capacity: int):
        """Plans the cuts; raises ValueError where a limb can't hold a bit."""
        if capacity < 1:
            raise ValueError(f"a limb must hold at least 1, got {capacity}.")
        self._layout = layout
        self._cuts = [cut(run, capacity) for run in layout.runs]
        self.length = count(layout, capacity)
        self.largest = max((how.largest for how in self._cuts), default=0)

    def split(self, vector: np.ndarray) -> np.ndarray:
        """The limbs of a vector, int64 [length of the layout]; ValueError where it does not fit."""
        parts = [np.zeros(0, np.int64)]
        for words, how in zip(self._layout.words(vector), self._cuts, strict=True):
            entries = words.astype(np.int64)
            if how.number == 1:
                parts.append(entries)
            else:
                parts += [entries >> how.width * j & how.largest for j in range(how.number)]
        return np.concatenate(parts)

    def join(self, sums: np.ndarray, num_clients: int) -> list[np.ndarray]:
        """The words of the sum of vectors from the sums of their limbs.

        Args:
            sums: int64 [length].
            num_clients: Vectors that were summed.

        Raises:
            ProtocolError: So many vectors do not have such sums.
        """
        words, start = [], 0
        for run, how in zip(self._layout.runs, self._cuts, strict=True):
            stop = start + how.number * run.length
            limbs = sums[start:stop].reshape(how.number, run.length)
            largest = num_clients * how.largest
            if limbs.size and not 0 <= limbs.min() <= limbs.max() <= largest:
                raise stages.ProtocolError("no such clients have this sum: it was altered.")
            words.append(_join(run, how, limbs))
            start = stop
        return words


def _join(run: vectors.Run, how: Cut, limbs: Sequence[np.ndarray]) -> np.ndarray:
    total = np.zeros(run.length, np.uint64)
    for limb in reversed(limbs):
        total = _shift(total, run, how.width) + limb.astype(np.uint64)
        if not run.wraps:
            total %= np.uint64(run.modulus)
    return total.astype(run.dtype)


def _shift(words: np.ndarray, run: vectors.Run, bits: int) -> np.ndarray:
    """2^bits times the words; a limb's sum, below 2^62, may be added to it."""
    if run.wraps:
        return words << np.uint64(bits)
    while bits:
        step = min(bits, 63 - run.bits)
        words = (words << np.uint64(step)) % np.uint64(run.modulus)
        bits -= step
    return words
