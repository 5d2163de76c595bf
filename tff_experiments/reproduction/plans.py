"""A row -> the flags of its runs, and the command that searches and runs them."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Sequence

from tff_experiments.reporting import runs, summary
from tff_experiments.reproduction.published import Entry
from tff_experiments.sweeps import trials

REPO = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user chooses.

    Attributes:
        data_dir: Folder with the data; "" where they are downloaded or need none.
        stand_in: Whether other data than the paper's are taken.
        seeds: Runs of each setting.
        output_dir: Where runs go.
        script: What runs one setting; "" is scripts/run.py.
        jobs: Runs at a time; 0 is as scripts/sweep.py has it.
    """

    data_dir: str = ""
    stand_in: bool = False
    seeds: int = 1
    output_dir: str = "runs/reproduce"
    script: str = ""
    jobs: int = 0


def config(entry: Entry) -> pathlib.Path:
    """The row's flagfile."""
    return REPO / "configs" / entry.paper.key / f"{entry.row.config}.cfg"


def flags(entry: Entry, *, stand_in: bool) -> dict[str, str]:
    """Flag -> value, of the config and what the row adds; without where the data lie."""
    lines = [line for line in config(entry).read_text().splitlines() if not line.startswith("#")]
    own = [*entry.row.flags, *(entry.row.stand_in_flags if stand_in else entry.table.data.flags)]
    parsed = runs.parse_flags([*lines, *own])
    # "--flag" is short for "--flag=true".
    return {name: value or "true" for name, value in parsed.items()}


def plan(entry: Entry, *, stand_in: bool) -> trials.Plan:
    """How far the row's runs go."""
    rule = entry.table.rule
    question = summary.Question(rule.metric, rule.higher, last=rule.last)
    if rule.kind == "rounds_to":
        most = entry.row.most_rounds
        question = dataclasses.replace(question, targets=[rule.target])
        # Steps start processes, which take ten seconds.
        return trials.Plan(most, question, rule.target, step=max(5, most // 16))
    return trials.Plan(int(flags(entry, stand_in=stand_in)["rounds"]), question)


def folder(entry: Entry, options: Options) -> str:
    """Where the row's runs go."""
    return f"{options.output_dir}/{entry.folder}" + "_stand_in" * options.stand_in


def command(entry: Entry, options: Options, exponents: Sequence[int] = ()) -> list[str]:
    """The words of scripts/sweep.py that run what is missing of a row.

    Args:
        entry: The row.
        options: What the user chose.
        exponents: Of the row's grid; by default where its search begins.

    Returns:
        The command without the interpreter; paths are from the working folder.
    """
    rule, row = entry.table.rule, entry.row
    of = plan(entry, stand_in=options.stand_in)
    words = [os.path.relpath(REPO / "scripts" / "sweep.py")]
    if row.grid:
        values = row.grid.values(exponents or row.grid.exponents)
        words.append(f"--sweep={row.grid.flag}={','.join(values)}")
    has_target = not math.isnan(of.target)
    words += [f"--metric={rule.metric}", f"--seeds={options.seeds}", f"--rounds={of.rounds}"]
    words += [f"--target={of.target:g}", f"--step={of.step}"] if has_target else []
    words += [f"--jobs={options.jobs}"] if options.jobs else []
    words += [f"--script={options.script}"] if options.script else []
    words += [f"--output_dir={folder(entry, options)}", "--"]
    words += [f"--flagfile={os.path.relpath(config(entry))}", *row.flags]
    words += _data(entry, options)
    if has_target:
        words.append(f"--stop_at={rule.metric}{'>=' if rule.higher else '<='}{of.target:g}")
    return words


def _data(entry: Entry, options: Options) -> list[str]:
    where = [f"--data_dir={options.data_dir}"] if options.data_dir else []
    if not options.stand_in:
        return [*entry.table.data.flags, *where]
    other = "npz" if options.data_dir else "synthetic_emnist"
    return [*entry.row.stand_in_flags, f"--dataset={other}", *where]
