"""A run's metric against rounds, seconds and bytes; targets; means over seeds.

Rounds to a target are counted as McMahan et al. 2017 do (https://arxiv.org/abs/1602.05629, section
3): the curve is made monotone by its best value so far, and the first crossing of the target is
interpolated linearly between the two evaluations around it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tff_experiments.reporting import runs as runs_lib

# What a metric is drawn against. Published rows hold these as total/<name>, summed over all rounds.
ROUND, SECONDS, SIMULATED, UPLINK, DOWNLINK = AXES = (
    "round",
    "seconds",
    "simulated_seconds",
    "uplink_bytes",
    "downlink_bytes",
)
_EVALUATION = "seconds/evaluation"
_SUMS = SECONDS, UPLINK, DOWNLINK
_LOSSES = {"loss", "error", "mse", "mae", "rmse", "perplexity"}


def higher_is_better(metric: str) -> bool:
    """Whether a metric is good when it is large, by its name: a path, as test/clients/loss/mean."""
    return _LOSSES.isdisjoint(metric.split("/"))


def totals(run: runs_lib.Run) -> dict[str, np.ndarray]:
    """What was spent from the start to the end of each row's round, {axis: float64 [rows]}.

    Bytes are of all clients together: the protocol's where there is one, else those of the
    types. Axes that the run knows nothing of are NaN. Where rows are missing, as in runs that were
    published without totals, a row stands for the rounds since the row before.
    """
    rounds = run.series("round")
    gaps = np.diff(rounds, prepend=0)
    clients = run.series("train/clients")
    seconds, evaluation = run.series("seconds/round"), np.nan_to_num(run.series(_EVALUATION))
    spent = {
        SECONDS: gaps * (seconds - evaluation) + evaluation,
        UPLINK: gaps * clients * _bytes(run, "uplink", "upload"),
        DOWNLINK: gaps * clients * _bytes(run, "downlink", "download"),
    }
    # A round without the clock's reading ends no earlier than the one before.
    result = {ROUND: rounds, SIMULATED: np.fmax.accumulate(run.series("time/total_s"))}
    for name, values in spent.items():
        written = run.series(f"total/{name}")
        result[name] = np.cumsum(values) if np.isnan(written).any() else written
    return result


def _bytes(run: runs_lib.Run, by_type: str, by_protocol: str) -> np.ndarray:
    """Bytes of one client in each row's round, float64 [rows]."""
    typed = run.series(f"bytes/{by_type}_per_client")
    if np.isfinite(typed).any():
        # An aborted round has no sizes, but its clients were sent the same as ever.
        typed[np.isnan(typed)] = np.nanmedian(typed)
    protocol = run.series(f"secure_sum/{by_protocol}_bytes_per_client")
    if by_type == "downlink":
        return typed + np.nan_to_num(protocol)
    return np.where(np.isnan(protocol), typed, protocol)


def is_estimated(run: runs_lib.Run) -> bool:
    """Whether rows are missing, so that sums over rounds are estimates."""
    whole = len(run.rows) == run.rounds
    return not whole and not all(f"total/{name}" in run.metrics for name in _SUMS)


def with_totals(run: runs_lib.Run) -> list[dict[str, Any]]:
    """The rows with total/<axis>: what is to be kept where only some rows are."""
    spent = totals(run)
    return [
        {**row, **{f"total/{name}": spent[name][i] for name in _SUMS if spent[name][i] >= 0}}
        for i, row in enumerate(run.rows)
    ]


def crossing(x: np.ndarray, y: np.ndarray, target: float, *, higher: bool) -> float:
    """Where the best so far of y first crosses the target; NaN where it never does.

    Args:
        x: What was spent at each evaluation, float64 [evaluations].
        y: The metric there, float64 [evaluations].
        target: The value to reach.
        higher: Whether large is good.

    Returns:
        x, linearly interpolated; a target that the first evaluation meets is reached there.
    """
    sign = 1 if higher else -1
    best = np.maximum.accumulate(sign * np.where(np.isnan(y), -sign * np.inf, y))
    reached = np.flatnonzero(best >= sign * target)
    if not len(reached):
        return np.nan
    i = reached[0]
    if i == 0 or not np.isfinite(best[i - 1]):
        return float(x[i])
    share = (sign * target - best[i - 1]) / (best[i] - best[i - 1])
    return float(x[i - 1] + share * (x[i] - x[i - 1]))


def to_target(run: runs_lib.Run, metric: str, target: float, *, higher: bool) -> dict[str, float]:
    """What a run spent until it reached a target, {axis: amount or NaN}."""
    y = run.series(metric)
    there = np.isfinite(y)
    return {
        axis: crossing(x[there], y[there], target, higher=higher) for axis, x in totals(run).items()
    }


def bootstrap_interval(
    values: Sequence[float], *, level: float = 0.95, resamples: int = 10_000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron 1979), with a fixed seed.

    Args:
        values: One a seed, at least one; a single one has no interval.
        level: Share of the resampled means inside.
        resamples: How many means are drawn.

    Returns:
        Its two ends; NaN, NaN for a single value.
    """
    if len(values) < 2:
        return np.nan, np.nan
    drawn = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    means = np.asarray(values, np.float64)[drawn].mean(axis=1)
    low, high = np.percentile(means, [50 - 50 * level, 50 + 50 * level])
    return float(low), float(high)


@dataclasses.dataclass(frozen=True)
class Curve:
    """A metric's mean over seeds.

    Attributes:
        x: Axis -> mean over seeds of what was spent, float64 [evaluations].
        mean: The metric, float64 [evaluations].
        std: Its deviation over seeds (n - 1), float64 [evaluations]; 0 for one seed.
        seeds: How many.
    """

    x: Mapping[str, np.ndarray]
    mean: np.ndarray
    std: np.ndarray
    seeds: int


def mean_curve(runs: Sequence[runs_lib.Run], metric: str) -> Curve | None:
    """The mean over the rounds at which all runs were evaluated; None where there is none."""
    evaluated = [np.isfinite(run.series(metric)) for run in runs]
    rounds = [run.series("round")[there] for run, there in zip(runs, evaluated, strict=True)]
    common = rounds[0]
    for other in rounds[1:]:
        common = np.intersect1d(common, other)
    if not len(common):
        return None
    rows = [np.isin(run.series("round"), common) for run in runs]
    y = np.array([run.series(metric)[i] for run, i in zip(runs, rows, strict=True)])
    spent = [
        {axis: x[i] for axis, x in totals(run).items()} for run, i in zip(runs, rows, strict=True)
    ]
    x = {axis: np.mean([each[axis] for each in spent], axis=0) for axis in AXES}
    std = np.std(y, axis=0, ddof=1) if len(runs) > 1 else np.zeros(len(common))
    return Curve(x, y.mean(axis=0), std, len(runs))
