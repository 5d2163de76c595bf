"""How a metric is spread over clients: the share of clients at or below each value.

The empirical distribution function of a run's clients, each counting the same, is

    F(v) = |{k : a_k <= v}| / K

a_k is the metric of client k, K how many clients there are. Over seeds F is averaged at each v.
"""

from collections.abc import Sequence

import numpy as np

from tff_experiments.reporting import curves
from tff_experiments.reporting import runs as runs_lib

VALUE = "value"
# More steps than a picture has room for; F is exact at each.
MOST_STEPS = 250


def column(metric: str) -> str:
    """What clients.csv calls a metric: test/accuracy for test/accuracy, personal/accuracy for
    personal/accuracy/mean.
    """
    room, _, rest = metric.partition("/")
    return f"{room}/{rest.removeprefix('clients/').partition('/')[0]}"


def mean_shares(of: Sequence[runs_lib.Run], metric: str) -> curves.Curve | None:
    """The share of clients at or below each value of a metric.

    Args:
        of: Runs of one group.
        metric: What is compared, as metrics.jsonl names it.

    Returns:
        The steps' corners, with `VALUE` as their axis; None unless all runs kept their clients'.
    """
    values = [run.clients.get(column(metric), np.array([])) for run in of]
    values = [each[np.isfinite(each)] for each in values]
    if not all(len(each) for each in values):
        return None
    x = _thinned(np.unique(np.concatenate(values)))
    shares = [np.searchsorted(np.sort(each), x, side="right") / len(each) for each in values]
    std = np.std(shares, axis=0, ddof=1) if len(of) > 1 else np.zeros(len(x))
    mean = np.mean(shares, axis=0)
    return curves.Curve({VALUE: np.repeat(x, 2)}, _steps(mean), _steps(std), len(of))


def _thinned(x: np.ndarray) -> np.ndarray:
    """At most MOST_STEPS of ascending values, evenly, with the first and the last."""
    chosen = np.linspace(0, len(x) - 1, min(len(x), MOST_STEPS))
    return x[np.round(chosen).astype(int)]


def _steps(y: np.ndarray) -> np.ndarray:
    """Values after each step -> before and after it; float64 [2 x steps]."""
    return np.ravel(np.column_stack([np.concatenate([[0.0], y[:-1]]), y]))
