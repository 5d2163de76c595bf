"""Clients that misbehave, to see what an aggregator withstands.

label_flip   trains on labels y -> classes - 1 - y
sign_flip    sends its update times -scale
scale        sends its update times scale, trained on flipped labels: model replacement, after
             Bagdasaryan et al. 2020, "How to backdoor federated learning" (arXiv 1807.00459), who
             replace the model at scale = clients / server's rate. There the attacker trains on its
             own task beside the common one; here all of its labels are flipped, so that the test
             accuracy tells its success. At --attack_scale=1 it is label_flip.
nan          sends NaN for each number

Who attacks is fixed for a run: each client with probability `fraction`, from (seed, client). What
an attacker sends is multiplied after its training and the check that it is finite, and before the
aggregator: an attacker still clips and quantizes as the aggregator says.
"""

import dataclasses
import hashlib
from typing import Literal

import numpy as np

_PURPOSE = 3  # Of the seed; sampling, shuffling and dropping out have 0, 1 and 2.
FLIPS_LABELS = ("label_flip", "scale")
CHANGES_UPDATES = ("sign_flip", "scale", "nan")


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of attacks."""

    kind: Literal["none", "label_flip", "sign_flip", "scale", "nan"] = "none"
    """What attackers do; scale flips their labels, too."""
    fraction: float = 0.1
    """Share of the clients that attack: the probability that one does."""
    scale: float = 1.0
    """What attackers multiply their updates by (sign_flip, scale)."""

    def __post_init__(self):
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"attack_fraction must be in [0, 1], got {self.fraction}.")
        if not self.scale > 0:
            raise ValueError(f"attack_scale must be > 0, got {self.scale}.")

    @property
    def changes_updates(self) -> bool:
        """Whether the process must let clients multiply what they send."""
        return self.kind in CHANGES_UPDATES


def attacks(hparams: Hparams, client: str, *, seed: int) -> bool:
    """Whether a client is an attacker."""
    if hparams.kind == "none":
        return False
    name = int.from_bytes(hashlib.sha256(client.encode()).digest()[:8], "big")
    rng = np.random.default_rng(np.random.SeedSequence([seed, _PURPOSE, name]))
    return bool(rng.random() < hparams.fraction)


def factor(hparams: Hparams, attacker: bool) -> np.float32:
    """What a client multiplies its updates by: 1 if it is honest."""
    if not attacker:
        return np.float32(1)
    return np.float32(
        {"sign_flip": -hparams.scale, "scale": hparams.scale, "nan": np.nan}.get(hparams.kind, 1)
    )


def flip_labels(
    hparams: Hparams, examples: dict[str, np.ndarray], *, num_classes: int
) -> dict[str, np.ndarray]:
    """An attacker's examples; those of an attack that leaves labels alone are as they were."""
    if hparams.kind not in FLIPS_LABELS:
        return examples
    return {**examples, "labels": num_classes - 1 - examples["labels"]}
