"""Clients that drop out of a round, and when.

A client drops with probability `rate`, independently of the others, at one of the stages of a
secure sum (`secure_sum.stages`). One that drops before it uploads does not train: nothing of it
reaches the server. One that drops later is in the sum, but does not help to open it.
"""

import dataclasses
import hashlib
from typing import Literal

import numpy as np

from tff_experiments.secure_sum import stages

_PURPOSE = 2  # Of the seed; sampling and shuffling have 0 and 1.


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of dropping out."""

    rate: float = 0.0
    """Probability that a client drops out of a round."""
    stage: Literal[(*stages.STAGES, "mix")] = "before_upload"
    """When: before_upload is after key sharing, which costs a server most; mix draws a stage for
    each client.
    """

    def __post_init__(self):
        if not 0 <= self.rate <= 1:
            raise ValueError(f"rate must be in [0, 1], got {self.rate}.")


def draw(hparams: Hparams, client: str, *, seed: int, round_num: int) -> str:
    """The stage at which a client drops out of a round, "" if it stays."""
    if not hparams.rate:
        return ""
    name = int.from_bytes(hashlib.sha256(client.encode()).digest()[:8], "big")
    rng = np.random.default_rng(np.random.SeedSequence([seed, round_num, _PURPOSE, name]))
    drops, which = rng.random(), int(rng.integers(len(stages.STAGES)))
    if drops >= hparams.rate:
        return ""
    return stages.STAGES[which] if hparams.stage == "mix" else hparams.stage
