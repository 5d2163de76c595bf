"""Sums in the clear: the ideal functionality, which the protocols must equal.

Hides: nothing. The server sees each client's vector.
SIMULATION ONLY: there is no cryptography here.
"""

import dataclasses
import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tff_experiments.secure_sum import group_sum, stages, vectors


@dataclasses.dataclass(frozen=True)
class Hparams:
    """The plain sum has no knobs."""


class Round:
    """One round's sum; clients may be added from several threads, in any order."""

    def __init__(self, segments: Sequence[vectors.Segment], drops: Mapping[str, str]):
        """Starts from zero."""
        self._layout = vectors.Layout(segments)
        self._sum = self._layout.zeros()
        self._uploads = {c for c, s in drops.items() if stages.first_missing(s) > stages.UPLOAD}
        self._lock = threading.Lock()

    def add(self, client: str, vector: np.ndarray) -> None:
        """Adds a client's vector, int64 [length], entries in [0, modulus), unless it dropped."""
        words = self._layout.words(vector)
        if client in self._uploads:
            with self._lock:
                self._layout.add(self._sum, words)

    def group(self, clients: Iterable[str]) -> group_sum.Group:
        """What these clients need to upload elsewhere: nothing is masked."""
        return group_sum.Group(self._layout, {c: [] for c in clients if c in self._uploads})

    def add_group(self, uploaded: group_sum.Uploaded) -> None:
        """Adds what came of a group."""
        with self._lock:
            self._layout.add(self._sum, uploaded.words)

    def finish(self) -> np.ndarray:
        """The sum of all that were added, int64 [length], entries in [0, modulus)."""
        return self._layout.vector(self._sum)

    def metrics(self) -> dict[str, float]:
        """Nothing is sent, so nothing is counted."""
        return {}


class Plain:
    """The protocol."""

    is_secure = False
    supports_groups = True

    def check(self, num_clients: int) -> None:
        """Takes any number of clients."""
        del num_clients

    def start(
        self,
        segments: Sequence[vectors.Segment],
        drops: Mapping[str, str],
        *,
        seed: tuple[int, int] | None = None,
    ) -> Round:
        """Begins a round.

        Args:
            segments: Of the clients' vectors.
            drops: Each client, and the stage at which it drops, "" if it stays.
            seed: Taken for all protocols; there is no secret here.
        """
        del seed
        return Round(segments, drops)


def build(hparams: Hparams) -> Plain:
    """Makes the protocol."""
    del hparams
    return Plain()
