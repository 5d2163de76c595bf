"""Run folders and published files -> runs."""

import csv
import dataclasses
import functools
import glob
import json
import pathlib
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

FLAGS, ABOUT, METRICS = "flags.txt", "run.json", "metrics.jsonl"
CLIENTS = "clients.csv"
# Marks of the last row: --stop_at was met; numbers became infinite or NaN.
GOAL_MET, DIVERGED = "train/goal_met", "train/diverged"


class BrokenRunError(ValueError):
    """Not a run, or one whose files are not whole."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run, as its files tell.

    Attributes:
        path: Its folder, or its published file.
        flags: Flag -> value, as in flags.txt.
        about: Command, commit, packages, data: what run.json holds.
        rows: Metrics of the rounds, in order; a published run has the evaluated ones only.
        clients: Metric -> each client's at the last evaluation, float64 [clients], NaN where a
            client lacks it; empty where they were not kept.
    """

    path: pathlib.Path
    flags: Mapping[str, str]
    about: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    clients: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @property
    def seed(self) -> int:
        """What tells it from the others of its group."""
        return int(self.flags.get("seed", 0))

    @property
    def data(self) -> str:
        """The data's label, which says its size."""
        return self.about["data"]

    @property
    def rounds(self) -> int:
        """The last round that was recorded."""
        return self.rows[-1]["round"]

    @property
    def command(self) -> str:
        """What repeats the run; where its file has none, it is told by its flags."""
        written = [f"--{name}={value}" for name, value in self.flags.items()]
        return self.about.get("command") or shlex.join(["python", "scripts/run.py", *written])

    @property
    def is_diverged(self) -> bool:
        """Whether its numbers became infinite or NaN."""
        # Those are null in the file; the mark is younger than some published runs.
        last = self.rows[-1]
        return None in last.values() or bool(last.get(DIVERGED))

    @property
    def shortcoming(self) -> str:
        """Why there is less of it than its flags say; "" for a run that came to its end."""
        last = self.rows[-1]
        if self.is_diverged:
            bad = [f"{name} is not finite" for name, value in last.items() if value is None]
            return f"diverged in round {self.rounds} ({(bad or ['an update is not finite'])[0]})"
        # It met its --stop_at.
        if last.get(GOAL_MET):
            return ""
        wanted = int(self.flags.get("rounds", self.rounds))
        return f"unfinished, {self.rounds} of {wanted} rounds" if self.rounds < wanted else ""

    @functools.cached_property
    def metrics(self) -> frozenset[str]:
        """The names that occur in its rows."""
        return frozenset().union(*self.rows)

    def series(self, name: str) -> np.ndarray:
        """A metric over the rows, float64 [rows]; NaN where a row lacks it."""
        values = [row.get(name) for row in self.rows]
        return np.array([np.nan if value is None else value for value in values], np.float64)


@dataclasses.dataclass(frozen=True)
class Skipped:
    """What is left out of a comparison, and why.

    Attributes:
        path: What was skipped.
        reason: Why, in a few words.
        run: The run, where it could be read.
    """

    path: pathlib.Path
    reason: str
    run: Run | None = None


def find(names: Sequence[str]) -> list[pathlib.Path]:
    """Run folders and published files that the names mean.

    Args:
        names: Run folders, published files, folders that hold such at any depth, and globs.

    Returns:
        Each once, in the order of the names and sorted within each.

    Raises:
        ValueError: A name means nothing. An empty folder is a run that was ended at its start.
    """
    found: dict[pathlib.Path, pathlib.Path] = {}
    for name in names:
        # A name that is there is no pattern, whatever is in it.
        matches = [name] if pathlib.Path(name).exists() else sorted(glob.glob(name))
        paths = [path for match in matches for path in _below(pathlib.Path(match))]
        if not paths:
            raise ValueError(f"there is no run at {name}.")
        for path in paths:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _below(path: pathlib.Path) -> Iterator[pathlib.Path]:
    if path.is_file() and path.name.endswith(f".{CLIENTS}"):
        return  # It belongs to the published file beside it.
    if path.is_file() or any((path / name).exists() for name in (FLAGS, ABOUT, METRICS)):
        yield path
        return
    if _is_empty(path):
        yield path  # A run that was ended before it had written a line.
        return
    for child in sorted(path.iterdir()):
        if child.suffix == ".jsonl" or (child.is_dir() and not child.name.startswith(".")):
            yield from _below(child)


def _is_empty(path: pathlib.Path) -> bool:
    """Whether a folder holds no file, but for hidden ones."""
    children = [child for child in path.iterdir() if not child.name.startswith(".")]
    return all(child.is_dir() and _is_empty(child) for child in children)


def load(path: pathlib.Path) -> Run:
    """Reads a run's folder or a published file; raises BrokenRunError."""
    try:
        if path.is_file():
            first, _, rest = path.read_text().partition("\n")
            about = _object(first, "its first line")
            if "flags" not in about:
                raise BrokenRunError("its first line has no flags: not a published run")
            lines = about["flags"]
        else:
            about = _object((path / ABOUT).read_text(), ABOUT)
            lines = (path / FLAGS).read_text().splitlines()
            rest = (path / METRICS).read_text()
        rows = _rows(rest)
        _check_about(about)
        return Run(path, _flags(lines), about, rows, _clients(path, rows))
    except FileNotFoundError as error:
        raise BrokenRunError(f"no {pathlib.Path(error.filename).name}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenRunError(f"it can't be read ({error})") from error


def parse_flags(lines: Sequence[str]) -> dict[str, str]:
    """Lines "--name=value" -> {name: value}."""
    return dict(line.removeprefix("--").partition("=")[::2] for line in lines if line.strip())


def _flags(lines: Any) -> dict[str, str]:
    """The flags of a run; those that are read as numbers are numbers."""
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise BrokenRunError("its flags are not a list of --name=value")
    flags = parse_flags(lines)
    for name in ("seed", "rounds"):
        if not re.fullmatch(r"-?\d+", flags.get(name, "0")):
            raise BrokenRunError(f"--{name}={flags[name]} of its flags is no whole number")
    return flags


def _check_about(about: Mapping[str, Any]) -> None:
    if not isinstance(about.get("data"), str):
        raise BrokenRunError("it does not say its data")
    if not isinstance(about.get("packages", {}), dict):
        raise BrokenRunError("its packages are not a JSON object")


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        # NaN is no JSON, but what some write; it counts as null.
        value = json.loads(text, parse_constant=lambda name: None)
    except json.JSONDecodeError as error:
        raise BrokenRunError(f"{where} is not JSON") from error
    if not isinstance(value, dict):
        raise BrokenRunError(f"{where} is not a JSON object")
    return value


def _rows(text: str) -> list[dict[str, Any]]:
    """The rows up to a last line that was cut off; anything else that is not whole is an error."""
    lines, rows = text.splitlines(), []
    for number, line in enumerate(lines, 1):
        try:
            row = _object(line, f"line {number} of the metrics")
        except BrokenRunError:
            if number == len(lines) and not text.endswith("\n"):
                break
            raise
        if not isinstance(row.get("round"), int):
            raise BrokenRunError(f"line {number} of the metrics has no round")
        if rows and row["round"] <= rows[-1]["round"]:
            raise BrokenRunError(f"round {row['round']} comes after {rows[-1]['round']}")
        bad = [name for name, value in row.items() if not isinstance(value, float | int | None)]
        if bad:
            raise BrokenRunError(f"line {number} of the metrics: {bad[0]} is no number")
        rows.append(row)
    if not rows:
        raise BrokenRunError("no round was recorded")
    return rows


def clients_file(path: pathlib.Path) -> pathlib.Path:
    """Where the clients of a run's folder or of a published file are."""
    return path.with_suffix(f".{CLIENTS}") if path.suffix == ".jsonl" else path / CLIENTS


def _clients(path: pathlib.Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The clients of the last evaluation; none where they are of another, as after a kill."""
    file = clients_file(path)
    if not file.exists():
        return {}
    try:
        with file.open(newline="") as text:
            told = list(csv.DictReader(text))
        evaluated = [row["round"] for row in rows if "test/loss" in row]
        if evaluated[-1:] != [int(told[0]["round"])]:
            return {}
        names = [name for name in told[0] if name not in ("round", "client")]
        # A short row has None, which is no number.
        number = lambda text: np.nan if text == "" else float(text)
        return {name: np.array([number(row[name]) for row in told]) for name in names}
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise BrokenRunError(f"{file.name} is not a table of clients") from error


def load_all(names: Sequence[str], *, unfinished: bool = False) -> tuple[list[Run], list[Skipped]]:
    """Reads the runs that the names mean.

    Args:
        names: See `find`.
        unfinished: Whether runs that did not come to their end are taken as they are.

    Returns:
        The runs, and what was skipped.

    Raises:
        ValueError: A name means nothing.
    """
    runs, skipped = [], []
    for path in find(names):
        try:
            run = load(path)
        except BrokenRunError as error:
            skipped.append(Skipped(path, str(error)))
            continue
        if run.shortcoming and not unfinished:
            skipped.append(Skipped(path, run.shortcoming, run))
        else:
            runs.append(run)
    return runs, skipped
