"""Keeps evaluated rounds of runs as small files, and prints means over the seeds of each setting.

python scripts/publish.py --name=femnist_fed_avg --rounds=100,400 runs/femnist_fed_avg/seed_*

writes results/femnist_fed_avg/<run's name>.jsonl, with a search's setting before it where names are
not different; its first line says commit, data and flags. Rows get total/seconds,
total/uplink_bytes and total/downlink_bytes: sums over all rounds, which the rows that are kept
don't tell. Clients' own metrics at the last evaluation go beside it, to <run's name>.clients.csv.
"""

import json
import pathlib
import re
import shlex
import shutil
import sys

REPO = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

import numpy as np
from absl import flags

from tff_experiments import command_line
from tff_experiments.reporting import curves, runs

FLAGS = flags.FLAGS
NOT_KEPT = ("--data_dir=",)


def read(names: list[str]) -> list[runs.Run]:
    """Reads the runs; what a search's run said lies beside it, and is left out.

    Raises:
        ValueError: A name is no run's folder.
    """
    found, broken = runs.load_all([n for n in names if not n.endswith(".log")], unfinished=True)
    if not found and not broken:
        raise ValueError("no run was named; name runs' folders, as runs/x/seed_*.")
    if broken:
        raise ValueError(f"{broken[0].path}: {broken[0].reason}.")
    if published := [run.path for run in found if not run.path.is_dir()]:
        raise ValueError(f"{published[0]} is published already; name runs' folders.")
    return found


def keep(run: runs.Run, target: pathlib.Path) -> list[dict[str, float]]:
    """Writes a run's evaluated rounds, and its last one, to `target` and returns them."""
    every = curves.with_totals(run)
    # The last one says how it ended.
    rows = [row for row in every if "test/loss" in row or row is every[-1]]
    about = json.loads((run.path / "run.json").read_text())
    lines = (run.path / "flags.txt").read_text().splitlines()
    about["flags"] = [line for line in lines if not line.startswith(NOT_KEPT)]
    about["command"] = without_paths(about["command"])
    for start in about.get("earlier", []):
        start.pop("command")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(json.dumps(row) + "\n" for row in [about, *rows]))
    beside = runs.clients_file(target)
    beside.unlink(missing_ok=True)
    if runs.clients_file(run.path).exists():
        shutil.copyfile(runs.clients_file(run.path), beside)
    short = f", {run.shortcoming.upper()}" if run.shortcoming else ""
    print(f"{target.relative_to(REPO)}: {about['data']}, commit {about['commit']}{short}")
    return rows


def without_paths(command: str) -> str:
    """A command as it can be typed in a checkout; other paths of this machine become FOLDER."""
    words = []
    for word in shlex.split(command):
        name, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        own = re.search(r"/((scripts|configs|examples)/.*\.(py|cfg))$", value)
        if value.startswith("/"):
            value = own[1] if own else "FOLDER"
        words.append(f"{name}{equals}{value}")
    return shlex.join(words)


def file_names(folders: list[pathlib.Path]) -> list[str]:
    """What runs' files are called: as the runs, or as a search's settings and seeds.

    Raises:
        ValueError: Two runs would be one file.
    """
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [f"{folder.parent.name},{folder.name}" for folder in folders]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ValueError(
                f"{folders[names.index(name)]} and {folders[i]} would both be {name}.jsonl; "
                "publish one search at a time, each by a --name of its own."
            )
    return names


def print_means(title: str, kept: list[list[dict[str, float]]]) -> None:
    """Prints the mean and deviation of each metric over seeds, whose rows `kept` holds."""
    wanted = [int(text) for text in FLAGS.rounds] or [kept[0][-1]["round"]]
    for name in FLAGS.metrics:
        for round_num in wanted:
            values = [
                row[name]
                for rows in kept
                for row in rows
                if row["round"] == round_num and name in row
            ]
            spread = f"{np.std(values, ddof=1):.4f}" if len(values) > 1 else "-"
            each = ", ".join(f"{value:.4f}" for value in values)
            mean = f"{np.mean(values):.4f}" if values else "-"
            print(f"{title}{name} after {round_num}: mean {mean}, std {spread} ({each})")


def main(argv: list[str]) -> int:
    """Keeps each run, then prints means over seeds; bad input is one line and code 2."""
    try:
        found = read(argv[1:])
        names = file_names([run.path for run in found])
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    targets = [REPO / "results" / FLAGS.name / f"{name}.jsonl" for name in names]
    settings: dict[pathlib.Path, list] = {}
    for run, target in zip(found, targets, strict=True):
        settings.setdefault(run.path.parent, []).append(keep(run, target))
    for folder, kept in settings.items():
        print_means(f"{folder.name}: " if len(settings) > 1 else "", kept)
    return 0


if __name__ == "__main__":
    flags.DEFINE_string("name", None, "Folder under results/.", required=True)
    flags.DEFINE_list("rounds", [], "Rounds to print; by default the last.")
    flags.DEFINE_list("metrics", ["test/accuracy"], "Metrics to print.")
    command_line.run(main)
