"""SecAgg+: Bell, Bonawitz, Gascon, Lepoint, Raykova, "Secure Single-Server Aggregation with
(Poly)Logarithmic Overhead", CCS 2020.

As SecAgg, but a client masks with and shares with k neighbours on a random graph, k and t computed
(see `graph`) such that the honest clients stay connected and no client has t corrupt neighbours.

semi_honest     Hides: each client's vector from the server and a fraction `corrupt_rate` of the
                clients, who follow the protocol but look at what they get.
semi_malicious  The same where the server is honest until the keys are out, and then does what it
                likes, the corrupt clients too. Keys are signed. t is so high that the honest
                neighbours of a client can't be split to open both of its secrets, and a client
                gives shares only after t neighbours have signed that it is in the sum.
Assumes:        what SecAgg does; that the graph is drawn at random after who is corrupt is fixed;
                at most `corrupt_rate` corrupt clients and `max_dropout_rate` dropouts.
Reveals:        the sum, the graph, who took part and who dropped out when. Fails to hide with
                probability 2^-security_bits.
Not covered:    a server that draws the graph to its liking (the paper's malicious protocol, where
                clients draw their neighbours and the server commits to keys); spoilt sums.
Simulated:      network, machines and directory (see `simulation`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np

from tff_experiments.secure_sum import (
    client,
    graph,
    keys,
    secagg,
    simulation,
    stages,
    statements,
    vectors,
)


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of SecAgg+."""

    adversary: graph.Adversary = "semi_malicious"
    """What the server may do: look, or lie after the keys are out."""
    corrupt_rate: float = 0.1
    """Fraction of clients that may collude with the server (gamma)."""
    max_dropout_rate: float = 0.1
    """Fraction of clients that may drop out (delta); with more before the upload the round aborts,
    unless all clients are neighbours.
    """
    security_bits: int = 40
    """2^-this: probability that the graph does not hide."""
    correctness_bits: int = 20
    """2^-this: probability that a sum with no more dropouts does not open."""

    def __post_init__(self):
        adversaries = get_args(graph.Adversary)
        if self.adversary not in adversaries:
            raise ValueError(f"adversary must be one of {adversaries}, got {self.adversary!r}.")
        for name in ("corrupt_rate", "max_dropout_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}.")
        for name in ("security_bits", "correctness_bits"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}.")


class SecAggPlus:
    """The protocol."""

    is_secure = True
    supports_groups = True

    def __init__(self, hparams: Hparams):
        """Takes the knobs."""
        self._hparams = hparams

    def check(self, num_clients: int) -> None:
        """Raises ValueError where no graph serves so few clients."""
        self.parameters(num_clients)

    def parameters(self, num_clients: int) -> graph.Parameters:
        """Degree and threshold for so many clients; ValueError where no graph serves."""
        return graph.parameters(
            num_clients,
            corrupt_rate=self._hparams.corrupt_rate,
            dropout_rate=self._hparams.max_dropout_rate,
            adversary=self._hparams.adversary,
            security_bits=self._hparams.security_bits,
            correctness_bits=self._hparams.correctness_bits,
        )

    def start(
        self,
        segments: Sequence[vectors.Segment],
        drops: Mapping[str, str],
        *,
        seed: tuple[int, int] | None = None,
        tamper=None,
        make_client=client.Client,
    ) -> simulation.Round:
        """Begins a round; see `secagg.SecAgg.start`.

        Raises:
            AbortedError: Too few clients are left, or no graph serves so few.
        """
        try:
            degree, threshold = self.parameters(len(drops))
        except ValueError as error:
            raise stages.AbortedError(str(error)) from error
        random_bytes = secagg.source(seed, 0)
        num_clients = len(drops)
        # With more dropouts the graph may fall apart. The complete graph can't.
        dropouts = graph.most(self._hparams.max_dropout_rate, num_clients)
        config = statements.Config(
            num_clients=num_clients,
            threshold=threshold,
            degree=degree,
            active=self._hparams.adversary == "semi_malicious",
            session=random_bytes(keys.SESSION_SIZE),
            quorum=num_clients - dropouts if degree < num_clients - 1 else 0,
        )
        return simulation.Round(
            config,
            segments,
            drops,
            randoms=lambda number: secagg.source(seed, number),
            permutation=permutation(len(drops), random_bytes),
            tamper=tamper,
            make_client=make_client,
        )


def permutation(size: int, random_bytes: keys.RandomBytes) -> list[int]:
    """A uniform permutation of range(size): sorted by 128-bit random numbers."""
    drawn = np.frombuffer(random_bytes(16 * size), ">u8").reshape(size, 2)
    return np.lexsort((drawn[:, 1], drawn[:, 0])).tolist()


def build(hparams: Hparams) -> SecAggPlus:
    """Makes the protocol."""
    return SecAggPlus(hparams)
