"""The search itself: keeps so many processes going until every run is over."""

import json
import pathlib
import subprocess
import time
from collections.abc import Callable, Sequence

from tff_experiments import command_line, whole_files
from tff_experiments.reporting import runs as runs_lib
from tff_experiments.sweeps import jobs, space, trials

POLL_SECONDS = 0.2
ABOUT = "sweep.json"


def prepare(
    folder: pathlib.Path, settings: Sequence[dict[str, str]], *, seeds: int, plan: trials.Plan
) -> list[trials.Trial]:
    """Makes the trials, <folder>/<setting>/seed_<seed>, and reads what is there of them."""
    made = []
    for setting in settings:
        name = space.name_of(setting)
        for seed in range(seeds):
            trial = trials.Trial(setting, name, seed, folder / name / f"seed_{seed}")
            trial.read(plan)
            made.append(trial)
    return made


def claim(folder: pathlib.Path, base: Sequence[str]) -> None:
    """Writes what all runs of the search share, or checks that it is as it was.

    Runs that are over are never started again, so that only here other flags would be noticed.
    Flags that no run has taken were wrong, and bind nobody.
    """
    path = folder / ABOUT
    if path.exists() and any(folder.rglob(runs_lib.FLAGS)):
        before = json.loads(path.read_text())["base"]
        changed = sorted(set(before) ^ set(base))
        if before != list(base):
            raise ValueError(
                f"{folder} holds a search with other flags ({', '.join(changed) or 'their order'}"
                f"); name another --output_dir, or give the same flags."
            )
    folder.mkdir(parents=True, exist_ok=True)
    whole_files.write(path, json.dumps({"base": list(base)}, indent=1) + "\n")


def run(
    tried: Sequence[trials.Trial],
    plan: trials.Plan,
    command: Callable[[trials.Trial, int], Sequence[str]],
    *,
    num_jobs: int,
    on_poll: Callable[[Sequence[trials.Trial]], None] = lambda running: None,
) -> None:
    """Runs every trial to its end; whatever ends this, no process is left.

    Args:
        tried: What is run; each is brought up to date as its processes end.
        plan: How far.
        command: Trial and --rounds -> what starts or resumes it.
        num_jobs: Processes at a time, each on its share of the cores.
        on_poll: Called several times a second with the trials that are running.

    Raises:
        ValueError: The first runs to end refused their flags, and none has trained a round.
    """
    running: dict[trials.Trial, tuple[subprocess.Popen, set[int]]] = {}
    free = jobs.shares(num_jobs)
    try:
        while True:
            while free:
                chosen = trials.choose(tried, list(running), plan)
                if chosen is None:
                    break
                trial, rounds = chosen
                cores = free.pop(0)
                running[trial] = jobs.start(command(trial, rounds), _log(trial), cores), cores
            if not running:
                return
            time.sleep(POLL_SECONDS)
            for trial, (process, cores) in list(running.items()):
                if process.poll() is not None:
                    del running[trial]
                    free.append(cores)
                    _finish(trial, process, tried, plan)
            on_poll(list(running))
    finally:
        jobs.end([process for process, _ in running.values()])


def _finish(trial: trials.Trial, process: subprocess.Popen, tried, plan: trials.Plan) -> None:
    """Reads what a process left of its run."""
    # A child that it left behind would hold the run's folder.
    jobs.end([process])
    before = trial.rounds
    trial.read(plan)
    if trial.failure or trials.is_diverged(trial):
        return
    if process.returncode or trial.rounds <= before:
        trial.failure = jobs.last_words(process, _log(trial))
    if process.returncode == command_line.BAD_INPUT and not any(other.rounds for other in tried):
        raise ValueError(f"{trial.name}: {trial.failure}")


def _log(trial: trials.Trial) -> pathlib.Path:
    return trial.folder.with_suffix(".log")


def rounds_now(trial: trials.Trial) -> int:
    """The last whole round of a run that may be running, read from the end of its metrics."""
    path = trial.folder / runs_lib.METRICS
    if not path.exists():
        return trial.rounds
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        lines = file.read().split(b"\n")[:-1]
    return json.loads(lines[-1])["round"] if lines else 0
