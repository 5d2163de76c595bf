"""Runs that are there -> what a row's number is by them."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from tff_experiments.reporting import runs, summary
from tff_experiments.reproduction import matching, plans
from tff_experiments.reproduction.published import Entry
from tff_experiments.sweeps import choice, space, trials


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What runs say.

    Attributes:
        value: Mean over seeds, in the published unit; NaN where no setting has one.
        std: Its deviation over seeds (n - 1); NaN for one seed.
        seeds: How many.
        diverged: Whether a run did; without a search there is no value then.
        best: The searched flag's value; "" without a search.
        note: The other settings, and what a reader must know.
        data: The data's label.
        where: The folder that holds the runs.
    """

    value: float
    std: float
    seeds: int
    diverged: bool
    best: str
    note: str
    data: str
    where: pathlib.Path


def find(entry: Entry, root: str, *, stand_in: bool) -> tuple[Evidence | None, list[str]]:
    """What the runs say that are below <root>/<the row's folder>.

    Args:
        entry: The row.
        root: Where its folder is looked for; "" is nowhere.
        stand_in: Whether runs on other data than the paper's are meant, and no others.

    Returns:
        The evidence, None where there are no runs of the row; and what was left out, a sentence
        each.
    """
    if not root:
        return None, []
    found, left_out = None, []
    for name in (entry.folder, f"{entry.folder}_stand_in"):
        path = pathlib.Path(root, name)
        of, why = matching.load(entry, path, stand_in=stand_in)
        left_out += why
        if of and found is None:
            found = measure(entry, of, path, stand_in=stand_in)
    return found, left_out


def measure(
    entry: Entry, of: Sequence[runs.Run], path: pathlib.Path, *, stand_in: bool
) -> Evidence:
    """What the runs of one row say.

    Args:
        entry: The row.
        of: At least one run.
        path: Where they are.
        stand_in: Whether they are on other data than the paper's.

    Returns:
        The evidence.
    """
    plan = plans.plan(entry, stand_in=stand_in)
    if entry.table.rule.kind == "rounds_to":
        values, best, note = _searched(entry, of, plan)
    else:
        values, best, note = _fixed(entry, of, plan)
    many = len(values) > 1
    return Evidence(
        value=float(np.mean(values)) if values else math.nan,
        std=float(np.std(values, ddof=1)) if many else math.nan,
        seeds=len(values),
        diverged=any(run.is_diverged for run in of),
        best=best,
        note=note,
        data=of[0].data,
        where=path,
    )


def _searched(entry: Entry, of, plan: trials.Plan) -> tuple[list[float], str, str]:
    """Rounds to the target with the rate that needs the fewest."""
    flag = entry.row.grid.flag
    tried = []
    for run in of:
        setting = {flag: run.flags[flag]}
        trial = trials.Trial(setting, space.name_of(setting), run.seed, run.path)
        trial.take(run, plan)
        tried.append(trial)
    rates = sorted({trial.setting[flag] for trial in tried}, key=float)
    chosen = choice.choose(tried, plan, [space.Axis(flag, tuple(rates))], last_evals=1)
    best = [trial for trial in tried if trial.name == chosen.best]
    others = [_told(rate, [t for t in tried if t.setting[flag] == rate], plan) for rate in rates]
    told = [text for rate, text in zip(rates, others, strict=True) if [rate] != _rates(best, flag)]
    note = f"other rates: {', '.join(told)}" if told else "one rate"
    if " It is at the edge" in chosen.text:
        note += "; the best rate is at the edge of those tried"
    return [trial.reached for trial in best], best[0].setting[flag] if best else "", note


def _rates(tried: Sequence[trials.Trial], flag: str) -> list[str]:
    return sorted({trial.setting[flag] for trial in tried})


def _told(rate: str, tried: Sequence[trials.Trial], plan: trials.Plan) -> str:
    diverged = any(trials.is_diverged(trial) for trial in tried)
    reached = [trial.reached for trial in tried if not math.isnan(trial.reached)]
    if len(reached) == len(tried):
        return f"{rate}: {np.mean(reached):.1f}"
    rounds = max(trial.rounds for trial in tried)
    return f"{rate}: {'diverged' if diverged else f'not in {rounds}'}"


def _fixed(entry: Entry, of, plan: trials.Plan) -> tuple[list[float], str, str]:
    """The metric of the runs that came to their end."""
    rule = entry.table.rule
    # A run may have gone on longer than the paper's, whatever came of it there.
    whole = [
        run
        for run in of
        if run.rounds > plan.rounds or (run.rounds == plan.rounds and not run.shortcoming)
    ]
    cut = [
        dataclasses.replace(run, rows=rows)
        for run in whole
        if (rows := [row for row in run.rows if row["round"] <= plan.rounds])
    ]
    values = [
        summary.mean_of_last(run, rule.metric, rounds=rule.last)
        if rule.kind == "mean_of_last"
        else summary.final(run, rule.metric)
        for run in cut
    ]
    short = [
        f"seed {run.seed}: {run.shortcoming or f'{run.rounds} rounds'}"
        for run in of
        if run not in whole
    ]
    short += ["no evaluation up to the paper's rounds"] * (len(cut) < len(whole))
    if any(run.is_diverged and run not in whole for run in of):
        values = []  # A mean of the others would favour failing.
    return [rule.scale * value for value in values], "", "; ".join(short)
