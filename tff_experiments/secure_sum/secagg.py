"""SecAgg: Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal, Seth, "Practical
Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017, figure 4.

Each client masks its vector with one mask for each other client, which cancel in the sum, and one
of its own. The secrets behind the masks are shared among all clients, t of which open either the
own mask of a client that is in the sum or the pairwise masks of one that is not, never both.

semi_honest  Hides: each client's vector from the server and up to t - 1 clients together, who all
             follow the protocol but look at what they get. t > n / 2.
active       The same where server and up to n / 3 clients do what they like. t > 2 n / 3; keys are
             signed, and clients sign who is in the sum before they give a share (rounds 0 and 3).
Assumes:     X25519 (hashed Diffie-Hellman), AES-256-GCM, HKDF-SHA256, Ed25519; for `active` a
             directory of verification keys that the server does not make; a transport that
             knows who sent a message and does not alter it.
Reveals:     the sum, who took part and who dropped out when. A sum over few clients says much.
Not covered: clients that upload a wrong vector or wrong shares: they can spoil the sum, unseen.
             Clients that send a bad key, signature or share: the round may abort.
Simulated:   network, machines and directory (see `simulation`).
"""

import dataclasses
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Literal

from tff_experiments.secure_sum import client, keys, simulation, statements, vectors


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of SecAgg."""

    variant: Literal["semi_honest", "active"] = "active"
    """What server and clients may do: look, or lie."""
    threshold: float = 0.0
    """Fraction of the round's clients that open a secret and must be left: above 2/3 (active) or
    1/2 (semi_honest); 0 is floor(2 n / 3) + 1 of n for both.
    """

    def __post_init__(self):
        bounds = {"active": 2 / 3, "semi_honest": 1 / 2}
        if self.variant not in bounds:
            raise ValueError(f"variant must be one of {sorted(bounds)}, got {self.variant!r}.")
        bound = bounds[self.variant]
        if self.threshold and not bound < self.threshold <= 1:
            raise ValueError(
                f"threshold must be above {bound:.3g} for {self.variant} and at most 1, got "
                f"{self.threshold}; 0 chooses it."
            )


class SecAgg:
    """The protocol."""

    is_secure = True
    supports_groups = True

    def __init__(self, hparams: Hparams):
        """Takes the knobs."""
        self._hparams = hparams

    def check(self, num_clients: int) -> None:
        """Takes any number of clients: the threshold follows."""
        del num_clients

    def start(
        self,
        segments: Sequence[vectors.Segment],
        drops: Mapping[str, str],
        *,
        seed: tuple[int, int] | None = None,
        tamper=None,
        make_client=client.Client,
    ) -> simulation.Round:
        """Begins a round.

        Args:
            segments: Of the clients' vectors.
            drops: Each client, and the stage at which it drops, "" if it stays.
            seed: (seed, round) of a repeatable simulation, which is not secret; None draws from
                the operating system.
            tamper: See `transport.Transport`.
            make_client: See `simulation.Round`.

        Raises:
            AbortedError: Too few clients are left.
        """
        config = statements.Config(
            num_clients=len(drops),
            threshold=threshold(self._hparams, len(drops)),
            degree=0,
            active=self._hparams.variant == "active",
            session=source(seed, 0)(keys.SESSION_SIZE),
        )
        randoms = lambda number: source(seed, number)
        return simulation.Round(
            config, segments, drops, randoms=randoms, tamper=tamper, make_client=make_client
        )


def source(seed: tuple[int, int] | None, party: int) -> keys.RandomBytes:
    """A party's randomness: the operating system's, or in a repeatable simulation the seed's."""
    return secrets.token_bytes if seed is None else keys.seeded_random(seed[0], seed[1], party)


def threshold(hparams: Hparams, num_clients: int) -> int:
    """The threshold t for so many clients."""
    if not hparams.threshold:
        return 2 * num_clients // 3 + 1
    # A fraction of 2/3 and a last bit must not round to two thirds of the clients.
    least = 2 * num_clients // 3 if hparams.variant == "active" else num_clients // 2
    return max(math.ceil(hparams.threshold * num_clients), least + 1)


def build(hparams: Hparams) -> SecAgg:
    """Makes the protocol."""
    return SecAgg(hparams)
