"""Sums of a group of clients who upload elsewhere: on the machine that trains them.

A round that can be spread has `supports_groups` and

    group = sum_of.group(clients)      # what these clients need to upload; it travels to them
    group.add(client, vector)          # there, for each client that is left, one after another
    sum_of.add_group(group.uploaded()) # back here, once

What comes back is one sum of what the clients would have sent, and who is in it: in the clear where
the protocol is plain, masked where it masks. Masked vectors add up as the vectors do, so whoever
adds a group sees no more than a server that adds them one by one.

Simulated is where a client's own secrets are made: with the round, in one process, as all of the
protocol's other steps are. A group carries its clients' mask keys to the machine that trains them,
which is theirs in this simulation. A group that is trained again uses its mask keys again: where
clients' work repeats bit for bit the same vectors are masked; private noise from the operating
system does not repeat, and whoever saw both uploads of a client learns how the two noises differ.
"""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tff_experiments.secure_sum import masks, vectors

SignedKeys = Sequence[tuple[bytes, int]]
"""What masks a client's vector: keys, and 1 or -1 for each, as `masks.add` wants them."""


class Uploaded(NamedTuple):
    """What a group's clients sent, added up."""

    clients: list[str]  # Who is in the sum.
    words: list[np.ndarray]  # As `vectors.Layout.words` has them.
    seconds: dict[str, float]  # CPU seconds of each client.


class Group:
    """Clients who upload here. It travels: it holds bytes and arrays."""

    def __init__(self, layout: vectors.Layout, signed_keys: Mapping[str, SignedKeys]):
        """Takes the vectors' layout, and what masks each client's; others don't upload."""
        self._layout, self._signed_keys = layout, dict(signed_keys)
        # Made where it is needed: what travels can be read there, but not be written.
        self._sum: list[np.ndarray] = []
        self._seconds: dict[str, float] = {}

    def add(self, client: str, vector: np.ndarray) -> None:
        """Adds what a client sends for its vector, int64 [length]; nothing if it has dropped.

        Raises:
            ValueError: The vector does not fit; nothing of it is added.
        """
        self._layout.check(vector)
        if client not in self._signed_keys:
            return
        start = time.thread_time()
        words = self._layout.words(vector)
        masks.add(words, self._layout, self._signed_keys[client])
        self._sum = self._sum or self._layout.zeros()
        self._layout.add(self._sum, words)
        self._seconds[client] = time.thread_time() - start

    def uploaded(self) -> Uploaded:
        """What goes back."""
        return Uploaded(list(self._seconds), self._sum or self._layout.zeros(), self._seconds)
