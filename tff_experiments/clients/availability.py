"""Which clients can be asked at a moment of simulated time.

always   all
sine     with probability mean + amplitude sin(2 pi (t / period + p_k)), p_k the client's phase, its
         time zone, uniform; drawn anew in each round, after Eichner et al. 2019,
         "Semi-cyclic stochastic gradient descent" (https://arxiv.org/abs/1904.10120)
trace    in the intervals of a CSV file: client,start_s,end_s; it begins again after its last end

A function of (seed, round, client) and of the time.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np

from tff_experiments.clients import traces

_PURPOSE = 5  # Of the seed; 0 to 4 are taken, see `delays`.


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of availability."""

    model: Literal["always", "sine", "trace"] = "always"
    """When clients can be asked."""
    mean: float = 0.5
    """Share of the time in which a client is there (sine)."""
    amplitude: float = 0.4
    """How much that share rises and falls in a day (sine)."""
    period_h: float = 24.0
    """Hours of simulated time of a day (sine)."""
    trace: str = ""
    """CSV file of client,start_s,end_s (trace)."""

    def __post_init__(self):
        if not 0 < self.mean <= 1 or not 0 <= self.amplitude <= 1:
            raise ValueError(
                f"availability_mean must be in (0, 1], availability_amplitude in [0, 1], got "
                f"{self.mean} and {self.amplitude}."
            )
        if not self.period_h > 0:
            raise ValueError(f"availability_period_h must be > 0, got {self.period_h}.")
        if (self.model == "trace") != bool(self.trace):
            raise ValueError(
                "--availability_model=trace and --availability_trace=FILE go together."
            )


def available(
    hparams: Hparams, client_ids: Sequence[str], *, time_s: float, seed: int, round_num: int
) -> np.ndarray:
    """Who is there.

    Args:
        hparams: The model.
        client_ids: All clients.
        time_s: Simulated seconds since the run's start.
        seed: The run's seed.
        round_num: The round, from 1.

    Returns:
        Positions in `client_ids`, int64, ascending.

    Raises:
        ValueError: The trace can't be read, or has a line that ends before it starts.
    """
    if hparams.model == "always":
        return np.arange(len(client_ids))
    if hparams.model == "trace":
        intervals, end = _intervals(hparams.trace)
        now = time_s % end
        there = [any(a <= now < b for a, b in intervals.get(c, ())) for c in client_ids]
        return np.flatnonzero(there)
    share = probability(hparams, time_s, phases(len(client_ids), seed=seed))
    rng = np.random.default_rng(np.random.SeedSequence([seed, round_num, _PURPOSE]))
    return np.flatnonzero(rng.random(len(client_ids)) < share)


def check(hparams: Hparams, client_ids: Sequence[str]) -> None:
    """Raises ValueError where the trace can't be read, or knows none of the clients."""
    if hparams.model == "trace" and not _intervals(hparams.trace)[0].keys() & set(client_ids):
        raise ValueError(
            f"--availability_trace={hparams.trace} has no line of any client; they have names like "
            f"{client_ids[0]!r}."
        )


def phases(num_clients: int, *, seed: int) -> np.ndarray:
    """The clients' time zones, in periods, float64 [num_clients] in [0, 1)."""
    return np.random.default_rng(np.random.SeedSequence([seed, 0, _PURPOSE])).random(num_clients)


def probability(hparams: Hparams, time_s: float, phase: np.ndarray) -> np.ndarray:
    """With what probability clients are there, float64, cut to [0, 1] (sine)."""
    turns = time_s / (3600 * hparams.period_h) + phase
    return np.clip(hparams.mean + hparams.amplitude * np.sin(2 * np.pi * turns), 0, 1)


@functools.cache
def _intervals(path: str) -> tuple[dict[str, list[tuple[float, float]]], float]:
    intervals: dict[str, list[tuple[float, float]]] = {}
    rows = traces.read(path, 3, flag="availability_trace")
    for name, start, end in rows:
        if not start < end:
            raise ValueError(
                f"--availability_trace={path}: client {name!r} has an interval from {start} to "
                f"{end}; it must end after its start."
            )
        intervals.setdefault(name, []).append((start, end))
    return intervals, max(end for _, _, end in rows)
