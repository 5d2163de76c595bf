"""What the protocols of threshold decryption have in common but the scheme."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tff_experiments.secure_sum import (
    he_limbs,
    he_parties,
    he_protocol,
    keys,
    openfhe_schemes,
    secagg,
    secagg_plus,
    threshold_parties,
    threshold_round,
    vectors,
)

Choose = Callable[[openfhe_schemes.Size], tuple[int, Callable[[int], Any]]]
"""Size -> (largest value of a limb, largest value in use -> scheme); ValueError where none fits."""


class Protocol:
    """A protocol of the room."""

    is_secure = True

    def __init__(self, committee: int, fraction: float, choose: Choose):
        """Takes the parties' number, 0 for all clients; the fraction that opens; the scheme."""
        self._committee, self._fraction, self._choose = committee, fraction, choose

    def check(self, num_clients: int) -> None:
        """Raises ValueError for too few clients, too many, or where OpenFHE is not installed."""
        he_protocol.check_clients(num_clients)
        if self._committee > num_clients:
            raise ValueError(
                f"a committee of {self._committee} can't be drawn from {num_clients} clients."
            )
        self._choose(openfhe_schemes.Size(num_clients, self._committee or num_clients))

    def start(
        self,
        segments: Sequence[vectors.Segment],
        drops: Mapping[str, str],
        *,
        seed: tuple[int, int] | None = None,
        tamper=None,
    ) -> threshold_round.Round:
        """Begins a round.

        Args:
            segments: Of the clients' vectors.
            drops: Each client, and the stage at which it drops, "" if it stays.
            seed: (seed, round) of a repeatable simulation: sessions, committees and shares repeat,
                OpenFHE's randomness does not.
            tamper: See `transport.Transport`.

        Raises:
            AbortedError: Too few clients are left.
            ValueError: OpenFHE is not installed.
        """
        random_bytes = secagg.source(seed, 0)
        session, count = random_bytes(keys.SESSION_SIZE), len(drops)
        size = min(self._committee or count, count)
        drawn = secagg_plus.permutation(count, random_bytes)[:size]
        threshold = secagg.threshold(secagg.Hparams("semi_honest", self._fraction), size)
        layout = vectors.Layout(segments)
        capacity, scheme_fn = self._choose(openfhe_schemes.Size(max(count, 1), max(size, 1)))
        limbs = he_limbs.Limbs(layout, capacity)
        least = he_protocol.threshold(0.0, count)
        scheme = scheme_fn(limbs.largest)
        sums = he_parties.Config(count, least, session, layout, limbs, scheme)
        config = threshold_parties.Config(tuple(sorted(i + 1 for i in drawn)), threshold, sums)
        randoms = lambda i: secagg.source(seed, i)
        return threshold_round.Round(config, drops, randoms=randoms, tamper=tamper)


def check_hparams(committee: int, threshold: float) -> None:
    """Raises ValueError for a committee or threshold that protects nothing."""
    if committee < 0 or committee == 1:
        raise ValueError(f"a committee has at least 2 parties, or 0 for all, got {committee}.")
    if threshold and not 0.5 < threshold <= 1:
        raise ValueError(f"threshold must be in (1/2, 1], or 0 to choose it, got {threshold}.")
