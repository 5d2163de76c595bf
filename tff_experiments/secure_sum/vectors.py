"""What is summed: vectors of integers, each entry modulo its segment's number.

A vector stands in words. Entries modulo 2^b are uint32 (b <= 32) or uint64: sums wrap at the word,
which 2^b divides, and are cut to b bits where they leave. Entries modulo another number are uint64
and are reduced after each addition.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tff_experiments.secure_sum import packing

MAX_BITS = 62  # Two entries' sum fits an int64.


class Segment(NamedTuple):
    """Neighbouring entries of a vector that are summed with one modulus."""

    length: int
    modulus: int  # 1 to 2^62.
    # The largest entry that a client may have, where it is known to be below modulus - 1. What
    # adds without a modulus (homomorphic encryption) needs no more room than the sum takes.
    largest: int | None = None

    @property
    def bound(self) -> int:
        """The largest entry that a client may have."""
        return self.modulus - 1 if self.largest is None else self.largest


class Run(NamedTuple):
    """Neighbouring segments of one modulus."""

    length: int
    modulus: int
    largest: int | None = None

    @property
    def bound(self) -> int:
        """The largest entry that a client may have."""
        return self.modulus - 1 if self.largest is None else self.largest

    @property
    def bits(self) -> int:
        """Bits of an entry."""
        return (self.modulus - 1).bit_length()

    @property
    def wraps(self) -> bool:
        """Whether the modulus is a power of two, so that words need no reduction."""
        return self.modulus & (self.modulus - 1) == 0

    @property
    def dtype(self) -> type:
        """Of its words."""
        return np.uint32 if self.wraps and self.bits <= 32 else np.uint64


class Layout:
    """How vectors of given segments stand in words, and travel."""

    def __init__(self, segments: Sequence[Segment]):
        """Joins neighbours of one modulus; raises ValueError for a modulus that is out of range."""
        runs: list[Run] = []
        for segment in segments:
            length, modulus, bound = segment.length, segment.modulus, segment.bound
            if length < 0:
                raise ValueError(f"a segment's length must be >= 0, got {length}.")
            if not 1 <= modulus <= 2**MAX_BITS:
                raise ValueError(f"a modulus must be in 1 .. 2^{MAX_BITS}, got {modulus}.")
            if not 0 <= bound < modulus:
                raise ValueError(f"a largest entry must be in 0 .. {modulus - 1}, got {bound}.")
            if runs and runs[-1].modulus == modulus:
                before = runs.pop()
                length, bound = length + before.length, max(bound, before.bound)
            runs.append(Run(length, modulus, bound))
        self.runs = [run for run in runs if run.length]
        self.length = sum(run.length for run in self.runs)
        # Bytes of a vector on the wire.
        self.num_bytes = sum(packing.num_bytes(run.length, run.bits) for run in self.runs)

    def zeros(self) -> list[np.ndarray]:
        """The zero vector's words."""
        return [np.zeros(run.length, run.dtype) for run in self.runs]

    def check(self, vector: np.ndarray) -> None:
        """Raises ValueError unless it is int64 [length]."""
        if vector.shape != (self.length,) or vector.dtype != np.int64:
            raise ValueError(
                f"expected an int64 vector of length {self.length}, got {vector.dtype} "
                f"{list(vector.shape)}."
            )

    def words(self, vector: np.ndarray) -> list[np.ndarray]:
        """New words of a vector, int64 [length], entries in [0, bound].

        Raises:
            ValueError: The vector does not fit.
        """
        self.check(vector)
        parts = np.split(vector, np.cumsum([run.length for run in self.runs])[:-1])
        for part, run in zip(parts, self.runs, strict=False):
            if part.min() < 0 or part.max() > run.bound:
                raise ValueError(f"a vector's entries must be in 0 .. {run.bound}.")
        return [part.astype(run.dtype) for part, run in zip(parts, self.runs, strict=False)]

    def add(self, total: list[np.ndarray], words: list[np.ndarray]) -> None:
        """Adds words to `total`, in place."""
        for run, into, part in zip(self.runs, total, words, strict=True):
            np.add(into, part, out=into)
            if not run.wraps:
                np.remainder(into, np.uint64(run.modulus), out=into)

    def vector(self, words: list[np.ndarray]) -> np.ndarray:
        """The vector, int64 [length], entries in [0, modulus)."""
        parts = [np.zeros(0, np.int64)]
        for run, part in zip(self.runs, words, strict=True):
            # Words modulo 2^32 have no room for the modulus itself.
            entries = part & part.dtype.type(run.modulus - 1) if run.wraps else part
            parts.append(entries.astype(np.int64))
        return np.concatenate(parts)

    def pack(self, words: list[np.ndarray]) -> bytes:
        """The words as they travel, `num_bytes` bytes."""
        pairs = zip(self.runs, words, strict=True)
        return b"".join(packing.pack(part, run.bits) for run, part in pairs)

    def unpack(self, data: bytes) -> list[np.ndarray]:
        """The words that travelled; ValueError where these are no such vector's."""
        if len(data) != self.num_bytes:
            raise ValueError(f"a vector takes {self.num_bytes} bytes, got {len(data)}.")
        words, start = [], 0
        for run in self.runs:
            stop = start + packing.num_bytes(run.length, run.bits)
            part = packing.unpack(data[start:stop], run.length, run.bits, run.dtype)
            if not run.wraps and part.max() >= run.modulus:
                raise ValueError(f"a vector's entries must be below {run.modulus}.")
            words.append(part)
            start = stop
        return words
