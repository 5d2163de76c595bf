"""Runs -> groups that differ in nothing but their seed."""

import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from tff_experiments.reporting import curves
from tff_experiments.reporting import runs as runs_lib

# These change what is seen of a run, or where its data lie, and not what is trained.
NOT_THE_METHOD = frozenset({"seed", "data_dir", "eval_clients", "checkpoint_every"})
# Their values are told without their names, and first.
_PLUG_INS = ("task", "dataset", "partition", "algorithm", "aggregator", "secure_sum", "runtime")
ABSENT = "absent"
_DATA, _METRIC = "data", "metric"
# Names tell them where nothing else tells two groups apart: how long and how often, not what.
_TOLD_LAST = {"rounds", "eval_every", _METRIC}


@dataclasses.dataclass
class Group:
    """Runs of one setting.

    Attributes:
        name: The fewest flags that tell it from the others.
        runs: One a seed.
        differing: Flag -> value, of those that are not the same in all groups.
        notes: What a reader must know: why it can't be compared, what was left out.
        comparable: Whether its examples and metric are those of the comparison.
        diverged: How many seeds were left out because they diverged.
    """

    name: str
    runs: list[runs_lib.Run]
    differing: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    comparable: bool = True
    diverged: int = 0


def make(
    runs: Sequence[runs_lib.Run],
    skipped: Sequence[runs_lib.Skipped] = (),
    *,
    metric: str,
    ignore: Collection[str] = (),
) -> list[Group]:
    """Groups runs by flags, data, and whether they have the metric.

    A flag that a run's file lacks has no value that could be known, so it differs from any. Flags
    of plug-ins that a run does not use don't count.

    Args:
        runs: At least one.
        skipped: What was left out; where it belongs to a group, the group says so.
        metric: What is compared.
        ignore: Flags that make no groups, beside `NOT_THE_METHOD`.

    Returns:
        The groups, in the order of their first runs.
    """
    unread = [left.run for left in skipped if left.run is not None]
    plug_ins = _plug_ins([*runs, *unread])
    setting = lambda run: _setting(run, plug_ins, metric, NOT_THE_METHOD | set(ignore))
    members: dict[tuple, list[runs_lib.Run]] = {}
    for run in runs:
        members.setdefault(tuple(setting(run).items()), []).append(run)
    settings = [dict(key) for key in members]
    groups = [
        Group(name, of_group, differing)
        for name, of_group, differing in zip(
            _names(settings), members.values(), _differing(settings), strict=True
        )
    ]
    for of_group, group in zip(settings, groups, strict=True):
        # What ended early may have no evaluation, and so no metric.
        left = [run for run in unread if {**setting(run), _METRIC: ""} == {**of_group, _METRIC: ""}]
        group.diverged = sum(run.is_diverged for run in left)
        counts = Counter(run.shortcoming.split()[0].strip(",") for run in left)
        group.notes += [f"{number} {why}" for why, number in counts.items()]
    _mark(groups, metric)
    return groups


def _plug_ins(runs: Sequence[runs_lib.Run]) -> set[str]:
    """Values of flags with which other flags' names begin: `--algorithm=fed_prox` has
    `--fed_prox_mu`.
    """
    values = {value for run in runs for value in run.flags.values() if value}
    names = {name for run in runs for name in run.flags}
    return {value for value in values if any(name.startswith(f"{value}_") for name in names)}


def _setting(run, plug_ins: set[str], metric: str, ignored: Collection[str]) -> dict[str, str]:
    """What two runs must share to be averaged: the flags that they use, sorted, and the data."""
    used = {_DATA: run.data, _METRIC: metric if metric in run.metrics else ABSENT}
    for name, value in sorted(run.flags.items()):
        owners = [plug_in for plug_in in plug_ins if name.startswith(f"{plug_in}_")]
        owner = max(owners, key=len, default=None)
        if name not in ignored and (owner is None or owner in run.flags.values()):
            used[name] = value
    return used


def _differing(settings: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Of each setting the flags that are not the same in all, those of plug-ins in use first."""
    names = sorted({name for setting in settings for name in setting}, key=_rank)
    names = [name for name in names if len({s.get(name, ABSENT) for s in settings}) > 1]
    return [{name: s.get(name, ABSENT) for name in names} for s in settings]


def _rank(name: str) -> tuple[int, str]:
    return (_PLUG_INS.index(name), "") if name in _PLUG_INS else (len(_PLUG_INS), name)


def _names(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """The shortest names by flags: one after the other is added that separates the most pairs."""
    differing = _differing(settings)
    told: list[str] = []
    pairs = list(itertools.combinations(differing, 2))
    while pairs:
        separated = lambda name: sum(a[name] != b[name] for a, b in pairs)  # noqa: B023
        useful = [name for name in differing[0] if separated(name)]
        first = [name for name in useful if name not in _TOLD_LAST]
        told.append(max(first or useful, key=separated))
        pairs = [(a, b) for a, b in pairs if a[told[-1]] == b[told[-1]]]
    told.sort(key=_rank)
    if not told:
        flags = settings[0]
        return [", ".join(flags[n] for n in ("task", "algorithm") if n in flags) or "all runs"]
    values = {name: sorted({setting[name] for setting in differing}) for name in told}
    return [", ".join(_tell(n, s[n], values[n]) for n in told) for s in differing]


def _tell(name: str, value: str, values: Sequence[str]) -> str:
    """One flag of a name; data go by their first words where these are enough."""
    if name == _DATA:
        short = {text: text.split(",")[0] for text in values}
        return short[value] if len(set(short.values())) == len(values) else value
    return value if name in _PLUG_INS and value != ABSENT else f"{name}={value}"


def examples_of(label: str) -> str:
    """A data label without its clients: who holds the examples does not change what is tested."""
    return re.sub(r", [\d,]+ clients \([^)]*\)", "", label)


def _mark(groups: Sequence[Group], metric: str) -> None:
    """Notes what a group is not comparable in, what is estimated, and seeds that came twice."""
    with_metric = [group for group in groups if metric in group.runs[0].metrics] or groups
    counts = Counter(examples_of(run.data) for group in with_metric for run in group.runs)
    most = max(counts, key=counts.get)
    for group in groups:
        data = group.runs[0].data
        reasons = [f"other data: {data}"] if examples_of(data) != most else []
        if metric not in group.runs[0].metrics:
            reasons.append(f"no {metric}")
        group.comparable = not reasons
        group.notes = reasons + group.notes
        seeds = Counter(run.seed for run in group.runs)
        group.notes += [f"seed {seed} is there {n} times" for seed, n in seeds.items() if n > 1]
        group.notes += [f"seed {r.seed} {r.shortcoming}" for r in group.runs if r.shortcoming]
        if any(curves.is_estimated(run) for run in group.runs):
            group.notes.append("seconds and bytes estimated from the evaluated rounds")
        lengths = {run.rounds for run in group.runs}
        if len(lengths) > 1:
            group.notes.append(f"runs of {min(lengths)} to {max(lengths)} rounds")
