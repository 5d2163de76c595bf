"""Stands in for scripts/run.py in tests of searches: the same flags, files, resume and exit codes.

Accuracy after round r is 1 - exp(-r * rate / 10) + seed / 1000, evaluated each round. A rate over 1
diverges in round 3, one below 0 is refused. --round_seconds=S takes its time, with a child process
that would sleep for an hour; --stubborn=1 ignores SIGTERM; --killed=1 dies in round 3.
"""

import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

flags = dict(arg.removeprefix("--").split("=", 1) for arg in sys.argv[1:])
rate, seed, rounds = float(flags["client_learning_rate"]), int(flags["seed"]), int(flags["rounds"])
if rate < 0:
    print(f"error: learning_rate must be > 0, got {rate}.")
    sys.exit(2)
folder = pathlib.Path(flags.pop("output_dir"))
folder.mkdir(parents=True, exist_ok=True)
pause = float(flags.get("round_seconds", 0))
if pause:
    subprocess.Popen(["sleep", "3600"])
if "stubborn" in flags:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
about = {"data": "made up", "commit": "abc", "packages": {}, "command": "fake"}
about["cores"] = sorted(os.sched_getaffinity(0))
(folder / "run.json").write_text(json.dumps(about))
(folder / "flags.txt").write_text("".join(f"--{name}={value}\n" for name, value in flags.items()))
metrics = folder / "metrics.jsonl"
first = len(metrics.read_text().splitlines()) if metrics.exists() else 0
with metrics.open("a") as file:
    for number in range(first + 1, rounds + 1):
        time.sleep(pause)
        if "killed" in flags and number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        accuracy = 1 - math.exp(-number * rate / 10) + seed / 1000
        row = {"round": number, "test/accuracy": accuracy, "seconds/round": 1.0}
        if rate > 1 and number == 3:
            row["train/loss"] = None
        file.write(json.dumps(row) + "\n")
        file.flush()
        if rate > 1 and number == 3:
            print("error: round 3: train/loss became infinite or NaN.")
            sys.exit(1)
