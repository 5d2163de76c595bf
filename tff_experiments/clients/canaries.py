"""Canaries: clients that send a random direction, to measure a run's privacy from outside.

Andrew et al. 2024, "One-shot empirical privacy estimation for federated learning", algorithm 1
(https://arxiv.org/abs/2302.03098): whoever took part can be found in the model, as the cosine
between its direction and the way that the model went. In d dimensions that of one who did not is
N(0, 1/d); those of canaries that did are taken as N(m, s^2), and epsilon is that of telling the two
apart.

Deviation: the paper adds canaries to the clients; here `count` clients of the data are canaries in
place of training, so that cohorts, noise and accounting are those of a run without. The estimate is
for someone who sees the last model alone, as in the paper's algorithm 1; the proven bound is for
one who sees all. It is an estimate: no bound, neither from above nor from below.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

_PURPOSE = 11  # Of the seed.
LEAST = 20  # Canaries seen, for a mean and a deviation to be fitted.


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the canaries."""

    count: int = 0
    """Clients that are canaries: they do not train."""
    norm: float = 1.0
    """L2 norm of what they send; above the clip it is clipped to it."""

    def __post_init__(self):
        if self.count and self.count < LEAST:
            raise ValueError(f"canary_count must be 0 or >= {LEAST}, got {self.count}.")
        if not self.norm > 0:
            raise ValueError(f"canary_norm must be > 0, got {self.norm}.")


def choose(hparams: Hparams, client_ids: Sequence[str], *, seed: int) -> dict[str, int]:
    """The canaries of a run, each with the seed of its direction, in 1 .. 2^63 - 1.

    Raises:
        ValueError: There are not as many clients.
    """
    if hparams.count > len(client_ids):
        raise ValueError(
            f"canary_count={hparams.count} needs as many clients, the data has {len(client_ids)}."
        )
    rng = np.random.default_rng(np.random.SeedSequence([seed, _PURPOSE]))
    chosen = rng.choice(len(client_ids), hparams.count, replace=False)
    return {str(client_ids[i]): _seed(str(client_ids[i]), seed) for i in chosen}


def _seed(client: str, seed: int) -> int:
    digest = hashlib.sha256(f"{seed}\0canary\0{client}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (2**63 - 1) + 1
