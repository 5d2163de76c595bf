"""Which setting of a search is the best, by a rule that is stated beside it."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tff_experiments.reporting import groups, summary
from tff_experiments.reporting import runs as runs_lib
from tff_experiments.sweeps import space, trials


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a search found.

    Attributes:
        rule: How the best was chosen.
        best: Its name; "" where no setting could be scored.
        text: The best, its score and the rule, in a sentence or two.
        table: The settings with their scores, the best marked.
    """

    rule: str
    best: str
    text: str
    table: summary.Table


def choose(
    tried: Sequence[trials.Trial], plan: trials.Plan, axes: Sequence[space.Axis], *, last_evals: int
) -> Choice:
    """Chooses the best setting.

    With a target it is that with the fewest rounds to it, mean over seeds, all of which must have
    reached it. Without one it is that with the best mean of the last evaluations, mean over seeds,
    all of which must have come to their end.

    Args:
        tried: The runs, all of them over.
        plan: What was searched for.
        axes: What was searched over.
        last_evals: How many evaluations the mean is over.

    Returns:
        The choice.
    """
    by_name: dict[str, list[trials.Trial]] = {}
    for trial in tried:
        by_name.setdefault(trial.name, []).append(trial)
    has_target = not math.isnan(plan.target)
    if has_target:
        rule = f"fewest rounds to {plan.question.metric} {plan.target:g}"
        score_of = lambda trial: trial.reached
    else:
        rule = f"mean of {plan.question.metric} over the last {last_evals} evaluations"
        score_of = lambda trial: _mean_of_last(trial, plan, last_evals)
    seeds = max(map(len, by_name.values()))
    rule += f", mean over {seeds} seeds" if seeds > 1 else ", one seed"
    # NaN where a seed has no score: a mean over the others would favour settings that fail.
    scores = {name: float(np.mean(list(map(score_of, of)))) for name, of in by_name.items()}
    sign = -1 if has_target or not plan.question.higher else 1
    scored = [name for name, score in scores.items() if not math.isnan(score)]
    best = max(scored, key=lambda name: sign * scores[name], default="")
    if not best:
        text = f"no setting has a score by the rule: {rule}."
    else:
        text = f"best: {best}, {scores[best]:.{1 if has_target else 4}f} by the rule: {rule}."
        text += _at_the_edge(by_name[best][0].setting, axes)
    return Choice(rule, best, text, _table(by_name, scores, best, plan))


def _mean_of_last(trial: trials.Trial, plan: trials.Plan, evaluations: int) -> float:
    if trial.run is None or not trials.has_ended(trial, plan) or trials.is_diverged(trial):
        return math.nan
    values = trial.run.series(plan.question.metric)
    values = values[np.isfinite(values)][-evaluations:]
    return float(np.mean(values)) if len(values) else math.nan


def _at_the_edge(setting: dict[str, str], axes: Sequence[space.Axis]) -> str:
    """Says of which listed numbers the best is the smallest or the largest."""
    edges = []
    for axis in axes:
        try:
            values = sorted(map(float, axis.values))
        except ValueError:
            continue
        if len(values) > 1 and float(setting[axis.name]) in (values[0], values[-1]):
            edges.append(f"{axis.name} ({values[0]:g} .. {values[-1]:g})")
    return f" It is at the edge of {' and '.join(edges)}: better ones may lie beyond." * bool(edges)


def _table(by_name, scores: dict[str, float], best: str, plan: trials.Plan) -> summary.Table:
    """The comparison's table with a column of scores; settings without a round have no row."""
    found = []
    for name, of in by_name.items():
        runs: list[runs_lib.Run] = [trial.run for trial in of if trial.run]
        told = [(trial.seed, trials.status(trial, plan)) for trial in of]
        notes = [f"seed {seed} {status}" for seed, status in told if status]
        if runs:
            found.append(groups.Group(name, runs, dict(of[0].setting), notes))
    table = summary.table(found, plan.question)
    titles = {"score": "score", **table.titles}
    rows = []
    for group, row in zip(found, table.rows, strict=True):
        score = scores[group.name]
        cell = summary.number(score)
        if group.name == best:
            cell = dataclasses.replace(cell, text=f"* {cell.text}")
        rows.append({"score": cell, **row})
    return summary.Table(titles, rows)
