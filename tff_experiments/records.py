"""A run's folder: what was run, one JSON object per round, TensorBoard events, checkpoints.

flags.txt       a flagfile that repeats the run
run.json        command, commit, packages, data
metrics.jsonl   one object per round
clients.csv     each client's metrics at the last evaluation, where clients were evaluated each
tensorboard/    the same numbers; made anew from metrics.jsonl when a run is resumed
checkpoints/    the last states
client_states/  what clients keep, where the algorithm has them keep something
.prepared.json  the latest private round's record, there before its checkpoint
"""

import csv
import fcntl
import io
import json
import math
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tff_experiments import whole_files

METRICS_FILE = "metrics.jsonl"
CLIENTS_FILE = "clients.csv"
_PREPARED_FILE = ".prepared.json"


class RunFolder:
    """The files of one run; one process at a time may hold it."""

    def __init__(self, path: str | pathlib.Path):
        """Creates or opens the folder; raises ValueError where it can't be written or another run
        holds it.
        """
        self.path = pathlib.Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("w")
        except OSError as error:
            raise ValueError(
                f"--output_dir={self.path} can't be written ({error.strerror}); name a folder "
                f"of yours."
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise ValueError(
                f"another run is writing to {self.path}; wait for it or name another folder."
            ) from error
        self._metrics = None
        self._summaries = None

    @property
    def checkpoints(self) -> pathlib.Path:
        """Where checkpoints are."""
        return self.path / "checkpoints"

    def claim(self, flags: list[str], about: dict[str, Any], *, may_grow: str) -> None:
        """Writes flags.txt and run.json, or checks that a run found here has the same flags and
        data.

        Args:
            flags: Lines "--name=value".
            about: What run.json holds; a run found here must have the same "data".
            may_grow: The flag, an int, that a resumed run may raise.

        Raises:
            ValueError: The run found here differs; names each flag with both values.
        """
        flags_file, about_file = self.path / "flags.txt", self.path / "run.json"
        if flags_file.exists():
            before = _parse(flags_file.read_text().splitlines())
            _check_same_flags(before, _parse(flags), may_grow, self.path)
        if about_file.exists():
            begun = json.loads(about_file.read_text())
            if begun["data"] != about["data"]:
                raise ValueError(
                    f"{self.path} was run on {begun['data']}, now the data is {about['data']}."
                )
            # Which code made the earlier rounds must not be forgotten.
            about = {**about, "earlier": [*begun.pop("earlier", []), begun]}
        whole_files.write(about_file, json.dumps(about, indent=1) + "\n")
        whole_files.write(flags_file, "\n".join(flags) + "\n")

    def restart_after(self, round_num: int) -> list[dict[str, float]]:
        """Drops what was recorded of later rounds, and opens the files for the rounds to come. A
        record of this round that was prepared and not made is made.

        Returns:
            The metrics of the rounds that are recorded.
        """
        kept = [row for row in read_metrics(self.path) if row["round"] <= round_num]
        whole_files.write(self.path / METRICS_FILE, "".join(_line(row) for row in kept))
        if _clients_round(self.path / CLIENTS_FILE) > round_num:
            (self.path / CLIENTS_FILE).unlink()
        shutil.rmtree(self.path / "tensorboard", ignore_errors=True)
        self._metrics = (self.path / METRICS_FILE).open("a")
        self._summaries = tf.summary.create_file_writer(str(self.path / "tensorboard"))
        for row in kept:
            self._summarize(row)
        prepared = self.path / _PREPARED_FILE
        if prepared.exists() and round_num not in (row["round"] for row in kept):
            row, of_clients = json.loads(prepared.read_text())
            if row["round"] == round_num:
                self.record(row, of_clients)
                kept.append(row)
        return kept

    def prepare(self, row: dict[str, float], of_clients: Mapping[str, Mapping[str, float]]) -> None:
        """Keeps what `record` is to be given, for the user's eyes only, over a kill before it.

        Args:
            row: As `record` has it.
            of_clients: As `record` has it.
        """
        content = json.dumps([row, of_clients])
        whole_files.write(self.path / _PREPARED_FILE, content, mode=0o600)

    def record(
        self, row: dict[str, float], of_clients: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        """Appends one round's metrics.

        Args:
            row: {metric: value}; it holds "round".
            of_clients: {client: {metric: value}}, which takes the place of that of the evaluation
                before, where there is one.
        """
        # First, so that no row of an evaluation is kept without its clients.
        if of_clients:
            whole_files.write(self.path / CLIENTS_FILE, _table(row["round"], of_clients))
        self._metrics.write(_line(row))
        self._metrics.flush()
        self._summarize(row)

    def sync(self) -> None:
        """Makes what was recorded survive a power cut; call it before a checkpoint."""
        os.fsync(self._metrics.fileno())
        self._summaries.flush()

    def _summarize(self, row):
        with self._summaries.as_default(step=row["round"]):
            for name, value in row.items():
                if name != "round" and value is not None:
                    tf.summary.scalar(name, value)

    def close(self) -> None:
        """Closes the files and lets other processes have the folder."""
        if self._metrics is not None:
            self._metrics.close()
            self._summaries.close()
        self._lock.close()


def read_metrics(folder: pathlib.Path) -> list[dict[str, float]]:
    """Reads metrics.jsonl up to the first line that is not whole; [] where there is none."""
    path = folder / METRICS_FILE
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _line(row: dict[str, Any]) -> str:
    # JSON has no NaN and no infinity.
    finite = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
    }
    return json.dumps(finite) + "\n"


def _table(round_num: int, of_clients: Mapping[str, Mapping[str, float]]) -> str:
    """CSV, a row a client in the order of their names; nothing stands where a client lacks a
    metric. Six digits tell all accuracies of a client with up to a thousand examples apart.
    """
    names = list(dict.fromkeys(name for row in of_clients.values() for name in row))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["round", "client", *names])
    for client, row in sorted(of_clients.items()):
        values = (row.get(name, "") for name in names)
        shown = (f"{value:.6g}" if isinstance(value, float) else value for value in values)
        writer.writerow([round_num, client, *shown])
    return text.getvalue()


def _clients_round(path: pathlib.Path) -> float:
    """The round of a table of clients; 0 where there is none, infinity for what is no table."""
    if not path.exists():
        return 0
    try:
        with path.open(newline="") as file:
            return int(next(csv.DictReader(file))["round"])
    except (StopIteration, KeyError, ValueError):
        return math.inf


def _parse(lines: list[str]) -> dict[str, str]:
    return dict(line.removeprefix("--").partition("=")[::2] for line in lines if line.strip())


def _check_same_flags(
    before: dict[str, str], now: dict[str, str], may_grow: str, path: pathlib.Path
) -> None:
    changed = [
        f"--{name} was {before.get(name, 'absent')}, is {now.get(name, 'absent')}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
        and not (name == may_grow and name in before and int(before[name]) < int(now[name]))
    ]
    if changed:
        raise ValueError(
            f"{path} holds a run with other flags ({'; '.join(changed)}); only a larger "
            f"--{may_grow} can resume it. "
            "Name another --output_dir, or give the same flags."
        )
