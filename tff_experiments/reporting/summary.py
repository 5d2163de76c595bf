"""Groups -> the table of a comparison: one row a group, means over its seeds."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tff_experiments.reporting import curves, groups
from tff_experiments.reporting import runs as runs_lib

EPSILON = "privacy/epsilon"
NOTHING = "-"
_TO_TARGET = {curves.ROUND: "rounds", curves.SIMULATED: "simulated s", curves.SECONDS: "s"}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One entry of a table.

    Attributes:
        text: What a reader sees.
        order: What it is sorted by; NaN comes last.
        numbers: What a program reads, {"" or suffix of the column's key: number or text}.
    """

    text: str
    order: float | str
    numbers: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of cells.

    Attributes:
        titles: Column's key -> what stands above it.
        rows: Column's key -> cell; each row has every column.
    """

    titles: dict[str, str]
    rows: list[dict[str, Cell]]


@dataclasses.dataclass(frozen=True)
class Question:
    """What a comparison asks of the runs.

    Attributes:
        metric: What is compared, as metrics.jsonl names it.
        higher: Whether large is good.
        targets: Values of the metric to reach.
        last: The second mean is over the evaluations in so many rounds at the end, of runs that
            have so many.
    """

    metric: str
    higher: bool
    targets: Sequence[float] = ()
    last: int = 100


def text(value: str) -> Cell:
    """A cell of words."""
    return Cell(value, value, {"": value})


def number(value: float, shown: str = ".4f") -> Cell:
    """A cell of one number, formatted as `shown` says; "-" for NaN."""
    return Cell(NOTHING if np.isnan(value) else format(value, shown), value, {"": value})


def explain(question: Question) -> str:
    """How the table's numbers were made, in a sentence or three."""
    said = "Means over seeds, +- the standard deviation; bytes are of all clients together."
    if question.targets:
        said += (
            " A target is reached where the best value so far first crosses it, interpolated "
            "between evaluations; in brackets, 95 % bootstrap intervals of the mean over seeds."
        )
    return said


def table(of: Sequence[groups.Group], question: Question) -> Table:
    """The comparison; columns that say nothing of any group are left out.

    Args:
        of: The groups.
        question: What is asked.

    Returns:
        Columns group, seeds, rounds, final, last_<rounds>, <axis>_to_<target>, seconds, bytes,
        epsilon, notes.
    """
    rows = [_row(group, question) for group in of]
    has = lambda key: any(row[key].text not in (NOTHING, "") for row in rows)
    titles = {key: title for key, title in _titles(question).items() if has(key)}
    return Table(titles, [{key: row[key] for key in titles} for row in rows])


def _titles(question: Question) -> dict[str, str]:
    name = question.metric.removeprefix("test/")
    titles = {"group": "group", "seeds": "seeds", "rounds": "rounds", "final": f"final {name}"}
    titles[f"last_{question.last}"] = f"mean of last {question.last} rounds"
    for target in question.targets:
        titles |= {
            f"{axis}_to_{target:g}": f"{unit} to {target:g}" for axis, unit in _TO_TARGET.items()
        }
    titles |= {curves.SIMULATED: "simulated s", curves.SECONDS: "s"}
    titles |= {curves.UPLINK: "uplink", curves.DOWNLINK: "downlink"}
    return titles | {"epsilon": "epsilon", "notes": "notes"}


def _row(group: groups.Group, question: Question) -> dict[str, Cell]:
    name, runs = question.metric, group.runs
    row = {"group": text(group.name), "seeds": number(len(runs), "d")}
    rounds = min(run.rounds for run in runs)
    row["rounds"] = number(rounds, "d")
    row["final"] = _spread([final(run, name) for run in runs])
    long = rounds >= question.last
    means = [mean_of_last(run, name, rounds=question.last) if long else np.nan for run in runs]
    row[f"last_{question.last}"] = _spread(means)
    for target in question.targets:
        spent = [curves.to_target(run, name, target, higher=question.higher) for run in runs]
        for axis in _TO_TARGET:
            known = any(np.isfinite(curves.totals(run)[axis]).any() for run in runs)
            # A seed that diverged will not get there.
            values = [each[axis] for each in spent] + [np.nan] * group.diverged
            reached = _reached(values)
            unknown = Cell(NOTHING, np.nan, dict.fromkeys(reached.numbers, np.nan))
            row[f"{axis}_to_{target:g}"] = reached if known else unknown
    ends = {axis: np.mean([curves.totals(run)[axis][-1] for run in runs]) for axis in curves.AXES}
    row |= {axis: number(ends[axis], ",.0f") for axis in (curves.SIMULATED, curves.SECONDS)}
    for axis in (curves.UPLINK, curves.DOWNLINK):
        row[axis] = Cell(num_bytes(ends[axis]), ends[axis], {"": ends[axis]})
    row["epsilon"] = number(max(final(run, EPSILON) for run in runs), ".3g")
    return row | {"notes": text("; ".join(group.notes))}


def final(run: runs_lib.Run, name: str) -> float:
    """The last value of a metric; NaN where there is none."""
    values = run.series(name)
    values = values[np.isfinite(values)]
    return float(values[-1]) if len(values) else np.nan


def mean_of_last(run: runs_lib.Run, name: str, *, rounds: int) -> float:
    """Mean of a metric's values in the last rounds; NaN where there is none."""
    values = run.series(name)[run.series("round") > run.rounds - rounds]
    values = values[np.isfinite(values)]
    return float(np.mean(values)) if len(values) else np.nan


def _spread(values: Sequence[float]) -> Cell:
    """Mean and deviation over seeds."""
    mean, many = float(np.mean(values)), len(values) > 1
    std = float(np.std(values, ddof=1)) if many else np.nan
    shown = NOTHING if np.isnan(mean) else f"{mean:.4f}" + (f" +- {std:.4f}" if many else "")
    return Cell(shown, mean, {"mean": mean, "std": std})


def _reached(values: Sequence[float]) -> Cell:
    """Mean with its interval where all seeds reached the target, else how many did."""
    reached = [value for value in values if np.isfinite(value)]
    everyone = len(reached) == len(values)
    mean = float(np.mean(values)) if everyone else np.nan
    low, high = curves.bootstrap_interval(values) if everyone else (np.nan, np.nan)
    numbers = {"mean": mean, "low": low, "high": high, "reached": len(reached)}
    shown = "never" if not reached else f"{len(reached)} of {len(values)} seeds"
    if everyone:
        shown = f"{mean:,.1f}" + ("" if np.isnan(low) else f" [{low:,.1f}, {high:,.1f}]")
    return Cell(shown, mean, numbers)


def num_bytes(value: float) -> str:
    """Bytes in the unit that gives one to three digits before the point."""
    if np.isnan(value):
        return NOTHING
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} TB"
