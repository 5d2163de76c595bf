"""Runs that are there -> what a row's number is by them."""

import dataclasses
import math
import pathlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tff_experiments.reporting import groups, runs, summary
from tff_experiments.reproduction import plans
from tff_experiments.reproduction.published import Entry
from tff_experiments.sweeps import choice, space, trials

# These do not change what is trained, or are the search's.
_FREE = {"rounds", "eval_every", "eval_clients", "checkpoint_every", "seed", "data_dir", "stop_at"}
# What a config that is silent means; a run may have been given anything else.
_SILENT = {
    "accountant": "rdp",
    "aggregator": "mean",
    "attack_kind": "none",
    "availability_model": "always",
    "client_momentum": "0",
    "client_optimizer": "sgd",
    "client_sampling": "uniform",
    "client_schedule": "constant",
    "delta": "0",
    "dropout_rate": "0",
    "fed_avg_weighting": "examples",
    "max_examples_per_client": "0",
    "partition": "natural",
    "partition_seed": "0",
    "secure_sum": "plain",
    "server_learning_rate": "1",
    "server_momentum": "0",
    "server_optimizer": "sgd",
    "server_schedule": "constant",
    "target_epsilon": "0",
}


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What runs say.

    Attributes:
        value: Mean over seeds, in the published unit; NaN where no setting has one.
        std: Its deviation over seeds (n - 1); NaN for one seed.
        seeds: How many.
        best: The searched flag's value; "" without a search.
        note: The other settings, and what a reader must know.
        data: The data's label.
        where: The folder that holds the runs.
    """

    value: float
    std: float
    seeds: int
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
        of, why = _load(entry, path, stand_in=stand_in)
        left_out += why
        if of and found is None:
            found = measure(entry, of, path, stand_in=stand_in)
    return found, left_out


def _load(entry: Entry, path: pathlib.Path, *, stand_in: bool) -> tuple[list[runs.Run], list[str]]:
    """The runs below a path that are of this row."""
    if not path.is_dir() or not any(path.rglob("*.jsonl")):
        return [], []
    of, left_out = [], []
    for each in runs.find([str(path)]):
        try:
            run = runs.load(each)
        except runs.BrokenRunError as error:
            left_out.append(f"{each}: {error}")
            continue
        reason = unlike(entry, run, stand_in=stand_in)
        of += [] if reason else [run]
        left_out += [f"{each}: {reason}"] if reason else []
    if stand_in and of:
        # Any data may stand in, but not two at once.
        label = Counter(groups.examples_of(run.data) for run in of).most_common(1)[0][0]
        others = [run for run in of if groups.examples_of(run.data) != label]
        left_out += [f"{run.path}: on other data than most" for run in others]
        of = [run for run in of if run not in others]
    return of, left_out


def unlike(entry: Entry, run: runs.Run, *, stand_in: bool) -> str:
    """Why a run is not of this row; "" where it is."""
    is_papers = groups.examples_of(run.data) == entry.table.data.examples
    if is_papers == stand_in:
        return f"on {'' if stand_in else 'other data than '}the paper's data ({run.data})"
    free = _FREE | ({"dataset", "emnist_only_digits"} if stand_in else set())
    free |= {entry.row.grid.flag} if entry.row.grid else set()
    stated = plans.flags(entry, stand_in=stand_in)
    # What is older than a flag did not do what the flag brings.
    has = _SILENT | dict(run.flags)
    differing = [
        f"--{name} is {has.get(name, 'absent')}, not {value}"
        for name, value in (_SILENT | stated).items()
        if name not in free and not _same(has.get(name, "absent"), value)
    ]
    return ", ".join(differing)


def _same(a: str, b: str) -> bool:
    try:
        return math.isclose(float(a), float(b), rel_tol=1e-9)
    except ValueError:
        return a.lower() == b.lower()


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
    whole = [run for run in of if run.rounds >= plan.rounds and not run.shortcoming]
    values = [
        summary.mean_of_last(run, rule.metric, rounds=rule.last)
        if rule.kind == "mean_of_last"
        else summary.final(run, rule.metric)
        for run in whole
    ]
    short = [
        f"seed {run.seed}: {run.shortcoming or f'{run.rounds} rounds'}"
        for run in of
        if run not in whole
    ]
    return [rule.scale * value for value in values], "", "; ".join(short)
