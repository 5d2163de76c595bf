"""Run folders as scripts/run.py writes them, without a run."""

import json
import pathlib

from tff_experiments.reporting import runs

DATA = "npz letters, 10 clients (natural), 1,000 train / 100 test examples"
FLAGS = {
    "task": "emnist_cnn",
    "algorithm": "fed_avg",
    "aggregator": "mean",
    "secure_sum": "plain",
    "client_learning_rate": "0.1",
    "data_dir": "/somewhere",
    "checkpoint_every": "10",
    "eval_every": "10",
    "fed_prox_mu": "0.01",
    "rounds": "100",
    "seed": "0",
}


def row(round_num, **metrics):
    """One row: 10 clients, 2 s, 100 bytes up and 200 down for each client."""
    return {
        "round": round_num,
        "train/clients": 10,
        "train/loss": 1 / round_num,
        "bytes/uplink_per_client": 100,
        "bytes/downlink_per_client": 200,
        "seconds/round": 2.0,
        **metrics,
    }


def rows(accuracies, **metrics):
    """Rows 1 .. 10 x len(accuracies); every tenth is evaluated, which takes another second."""
    made = []
    for n in range(1, 10 * len(accuracies) + 1):
        made.append(row(n, **metrics))
        if n % 10 == 0:
            accuracy = accuracies[n // 10 - 1]
            made[-1] |= {"test/accuracy": accuracy, "test/loss": 1 - accuracy}
            made[-1] |= {"seconds/evaluation": 1.0, "seconds/round": 3.0}
    return made


def write(
    folder: pathlib.Path, of_rows, *, data=DATA, about=None, clients="", **flags
) -> pathlib.Path:
    """Writes a run's folder; `flags` replace those of FLAGS, None leaves one out."""
    folder.mkdir(parents=True)
    told = {**FLAGS, "rounds": str(of_rows[-1]["round"]), **flags}
    lines = [f"--{name}={value}" for name, value in told.items() if value is not None]
    start = {"command": "python scripts/run.py", "commit": "abc", "python": "3.11", "data": data}
    (folder / "run.json").write_text(json.dumps({**start, "packages": {}, **(about or {})}))
    (folder / "flags.txt").write_text("\n".join(lines) + "\n")
    text = "".join(json.dumps(each) + "\n" for each in of_rows)
    (folder / "metrics.jsonl").write_text(text)
    if clients:
        (folder / "clients.csv").write_text(clients)
    return folder


def run(of_rows, *, clients=None, **flags) -> runs.Run:
    """A run in memory."""
    about = {"data": flags.pop("data", DATA)}
    told = {**FLAGS, "rounds": str(of_rows[-1]["round"]), **flags}
    told = {name: value for name, value in told.items() if value is not None}
    return runs.Run(pathlib.Path("run"), told, about, of_rows, clients or {})
