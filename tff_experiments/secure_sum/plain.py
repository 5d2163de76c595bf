"""Sums in the clear: the ideal functionality, which the protocols must equal.

Hides: nothing. The server sees each client's vector.
SIMULATION ONLY: there is no cryptography here.
"""

import dataclasses
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


@dataclasses.dataclass(frozen=True)
class Hparams:
    """The plain sum has no knobs."""


class Segment(NamedTuple):
    """Neighbouring entries of a vector that are summed with one modulus."""

    length: int
    modulus: int  # At most 2^62: two entries' sum fits 63 bits.


class Round:
    """One round's sum; clients may be added from several threads, in any order."""

    def __init__(self, segments: Sequence[Segment]):
        """Starts from zero."""
        lengths = [segment.length for segment in segments]
        self._moduli = np.repeat(np.array([s.modulus for s in segments], np.int64), lengths)
        self._sum = np.zeros(sum(lengths), np.int64)
        self._lock = threading.Lock()

    def add(self, client: str, vector: np.ndarray) -> None:
        """Adds one client's vector, int64 [length] with entries in [0, modulus)."""
        del client
        with self._lock:
            self._sum = (self._sum + vector) % self._moduli

    def finish(self) -> np.ndarray:
        """The sum of all that were added, int64 [length], entries in [0, modulus)."""
        return self._sum


class Plain:
    """The protocol."""

    is_secure = False

    def start(self, segments: Sequence[Segment]) -> Round:
        """Begins a round of vectors that consist of `segments`."""
        return Round(segments)


def build(hparams: Hparams) -> Plain:
    """Makes the protocol."""
    del hparams
    return Plain()
