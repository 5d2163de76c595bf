"""What the protocols under homomorphic encryption with one key have in common but the scheme."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tff_experiments.secure_sum import (
    he_limbs,
    he_parties,
    he_simulation,
    keys,
    secagg,
    vectors,
)

Choose = Callable[[vectors.Layout, int], tuple[int, Any]]
"""(Layout, number of clients) -> (largest value of a limb, scheme); ValueError where none fits."""


class Protocol:
    """A protocol of the room."""

    is_secure = True

    def __init__(self, fraction: float, choose: Choose):
        """Takes the fraction of clients that must be left, 0 for more than half; and the scheme."""
        self._fraction, self._choose = fraction, choose

    def check(self, num_clients: int) -> None:
        """Raises ValueError for too few or too many clients, or without the library."""
        check_clients(num_clients)
        self._choose(vectors.Layout([vectors.Segment(1, 2)]), num_clients)

    def start(
        self,
        segments: Sequence[vectors.Segment],
        drops: Mapping[str, str],
        *,
        seed: tuple[int, int] | None = None,
        tamper=None,
    ) -> he_simulation.Round:
        """Begins a round.

        Args:
            segments: Of the clients' vectors.
            drops: Each client, and the stage at which it drops, "" if it stays.
            seed: (seed, round) of a repeatable simulation: the session's number and the key
                holder's signing key repeat, which is then not secret. A library's keys and
                ciphertexts do not repeat, as it draws its own randomness; sums do all the same.
            tamper: See `transport.Transport`.

        Raises:
            AbortedError: Too few clients are left.
            ValueError: The scheme can't serve such a round, or its library is not installed.
        """
        random_bytes = secagg.source(seed, 0)
        layout = vectors.Layout(segments)
        capacity, scheme = self._choose(layout, max(len(drops), 1))
        config = he_parties.Config(
            num_clients=len(drops),
            threshold=threshold(self._fraction, len(drops)),
            session=random_bytes(keys.SESSION_SIZE),
            layout=layout,
            limbs=he_limbs.Limbs(layout, capacity),
            scheme=scheme,
        )
        return he_simulation.Round(config, drops, random_bytes=random_bytes, tamper=tamper)


def check_clients(num_clients: int) -> None:
    """Raises ValueError where there is nothing to hide a vector among."""
    if num_clients < 2:
        raise ValueError(
            f"a sum of {num_clients} clients is one client's vector; take at least 2 a round."
        )


def threshold(fraction: float, num_clients: int) -> int:
    """Fewest clients in a sum that is opened: a sum of one is that client's vector."""
    return max(2, math.ceil(fraction * num_clients) if fraction else num_clients // 2 + 1)


def check_fraction(fraction: float) -> None:
    """Raises ValueError unless it is a threshold's."""
    if fraction and not 0 < fraction <= 1:
        raise ValueError(f"threshold must be in (0, 1], or 0 to choose it, got {fraction}.")
