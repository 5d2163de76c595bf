"""How long clients take to report, in simulated seconds.

none         no time at all
lognormal    (median_s + per_example_s * examples) * exp(client_sigma z_k + round_sigma z_kr); z are
             standard normal, z_k of the client for good, z_kr of client and round
trace        a line of a CSV file, drawn anew in each round: `seconds`, or `client,seconds` from the
             client's own lines

A function of (seed, round, client).
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tff_experiments.clients import traces

_PURPOSE = 4  # Of the seed; 0 to 3 are those of sampling, shuffling, dropping out and attacks.


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the delay model."""

    model: Literal["none", "lognormal", "trace"] = "none"
    """How long clients take to report, in simulated time."""
    median_s: float = 10.0
    """Seconds of the median client, without examples (lognormal)."""
    per_example_s: float = 0.0
    """Seconds per example and epoch (lognormal)."""
    client_sigma: float = 0.5
    """How much clients differ: standard deviation of the logarithm (lognormal)."""
    round_sigma: float = 0.2
    """How much a client's rounds differ: standard deviation of the logarithm (lognormal)."""
    trace: str = ""
    """CSV file of seconds, or of client,seconds (trace)."""

    def __post_init__(self):
        for name in ("median_s", "per_example_s", "client_sigma", "round_sigma"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"delay_{name} must be >= 0, got {value}.")
        if (self.model == "trace") != bool(self.trace):
            raise ValueError("--delay_model=trace and --delay_trace=FILE go together.")


def seconds(hparams: Hparams, client: str, *, examples: int, seed: int, round_num: int) -> float:
    """How long a client takes in a round.

    Args:
        hparams: The model.
        client: Its name.
        examples: That it goes through, each epoch's counted.
        seed: The run's seed.
        round_num: The round, from 1.

    Returns:
        Simulated seconds.

    Raises:
        ValueError: The trace can't be read, or has no line of this client.
    """
    if hparams.model == "none":
        return 0.0
    if hparams.model == "trace":
        found = _of_client(hparams.trace, client)
        return found[int(_rng(seed, client, round_num).integers(len(found)))]
    own, of_round = (_rng(seed, client, r).standard_normal() for r in (0, round_num))
    factor = math.exp(hparams.client_sigma * own + hparams.round_sigma * of_round)
    return factor * (hparams.median_s + hparams.per_example_s * examples)


def check(hparams: Hparams, client_ids: Sequence[str]) -> None:
    """Raises ValueError where the trace can't be read, or lacks one of the clients."""
    if hparams.model == "trace":
        for client in client_ids:
            _of_client(hparams.trace, str(client))


def _of_client(path: str, client: str) -> list[float]:
    lines = _lines(path)
    found = lines.get(client) or lines.get("")
    if found is None:
        raise ValueError(f"--delay_trace={path} has no line of client {client!r}.")
    return found


def _rng(seed: int, client: str, round_num: int) -> np.random.Generator:
    name = int.from_bytes(hashlib.sha256(client.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence([seed, round_num, _PURPOSE, name]))


@functools.cache
def _lines(path: str) -> dict[str, list[float]]:
    lines: dict[str, list[float]] = {}
    for name, value in traces.read(path, 2, flag="delay_trace"):
        lines.setdefault(name, []).append(value)
    return lines
