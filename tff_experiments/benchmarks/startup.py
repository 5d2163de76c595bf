"""Seconds from the start of a process to the end of its first round, and what takes them."""

import dataclasses
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from tff_experiments import records

RUN = pathlib.Path(__file__).resolve().parents[2] / "scripts" / "run.py"
HEAD = ("step", "s")


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    times: int = 5
    """How often it is measured; the median counts."""


def run(hparams: Hparams):
    """Measures; returns (title, head, rows)."""
    imports = statistics.median(_imports() for _ in range(hparams.times))
    runs = [first_round() for _ in range(hparams.times)]
    whole = statistics.median(total for total, _ in runs)
    round_1 = statistics.median(seconds for _, seconds in runs)
    rows = [
        ("imports of TensorFlow and TFF", f"{imports:.1f}"),
        ("data, task, process", f"{whole - imports - round_1:.1f}"),
        ("round 1, with the compilation", f"{round_1:.1f}"),
        ("all, to the end of round 1", f"{whole:.1f}"),
    ]
    title = (
        f"From the start of scripts/run.py --task=emnist_cnn --dataset=synthetic_emnist to the end "
        f"of round 1 (10 clients), medians of {hparams.times}, the data set cached."
    )
    return title, HEAD, rows


def _imports() -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import tensorflow_federated"], check=True, capture_output=True
    )
    return time.perf_counter() - start


def first_round() -> tuple[float, float]:
    """Seconds to the end of round 1, and of these the seconds in round 1."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(RUN), "--task=emnist_cnn", "--dataset=synthetic_emnist"]
        command += ["--rounds=2", "--eval_every=0", f"--output_dir={folder}"]
        metrics = pathlib.Path(folder) / "metrics.jsonl"
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (metrics.exists() and '"round": 1' in metrics.read_text()):
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended without a round.")
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        process.wait()
        return seconds, records.read_metrics(pathlib.Path(folder))[0]["seconds/round"]
