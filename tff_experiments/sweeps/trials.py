"""How far each run of a search has come, which goes on next, and how far.

With a target, runs grow in steps, the shortest first, so that the best setting is known early. A
run is over when it has reached the target, or is past `stop_factor` times the best other
setting's rounds to it.
"""

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from tff_experiments.reporting import curves, summary
from tff_experiments.reporting import runs as runs_lib


@dataclasses.dataclass(frozen=True)
class Plan:
    """What all runs of a search have.

    Attributes:
        rounds: The most rounds of a run.
        question: The metric that is searched for, and which way is good.
        target: Value of the metric at which a run is over; NaN for none.
        step: With a target, the rounds by which a run grows.
        stop_factor: See the module; infinity for no such stop.
    """

    rounds: int
    question: summary.Question
    target: float = math.nan
    step: int = 0
    stop_factor: float = math.inf

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"--rounds must be >= 1, got {self.rounds}.")
        if self.step < 1 and not math.isnan(self.target):
            raise ValueError(f"--step must be >= 1, got {self.step}.")
        if self.stop_factor < 1:
            raise ValueError(f"--stop_factor must be >= 1, got {self.stop_factor}.")


@dataclasses.dataclass(eq=False)
class Trial:
    """One run of a search.

    Attributes:
        setting: Flag -> value.
        name: The setting's.
        seed: The run's.
        folder: The run's.
        run: What is there of it; None before its first round.
        reached: Rounds to the plan's target; NaN before it, and without a target.
        failure: Why it ended without an end of its own; "" where it did not.
    """

    setting: dict[str, str]
    name: str
    seed: int
    folder: pathlib.Path
    run: runs_lib.Run | None = None
    reached: float = math.nan
    failure: str = ""

    def read(self, plan: Plan) -> None:
        """Reads what is there; files that are damaged are a failure."""
        try:
            if _has_rounds(self.folder):
                self.take(runs_lib.load(self.folder), plan)
        except runs_lib.BrokenRunError as error:
            self.failure = str(error)

    def take(self, run: runs_lib.Run, plan: Plan) -> None:
        """Takes a run as what is there."""
        self.run, asked = run, plan.question
        if not math.isnan(plan.target):
            spent = curves.to_target(run, asked.metric, plan.target, higher=asked.higher)
            self.reached = spent[curves.ROUND]

    @property
    def rounds(self) -> int:
        """Rounds that are done."""
        return self.run.rounds if self.run else 0

    @property
    def asked(self) -> int:
        """The --rounds that it was begun with, fewer than which it refuses; 0 before that."""
        path = self.folder / runs_lib.FLAGS
        if self.run:
            flags = self.run.flags
        else:  # It was ended before its first round was over.
            flags = runs_lib.parse_flags(path.read_text().splitlines()) if path.exists() else {}
        return int(flags.get("rounds", 0))


def _has_rounds(folder: pathlib.Path) -> bool:
    path = folder / runs_lib.METRICS
    return path.exists() and b"\n" in path.read_bytes()


def limit(trial: Trial, trials: Iterable[Trial], plan: Plan) -> float:
    """Rounds beyond which a run is not worth its time; infinity while nobody knows."""
    reached: dict[str, list[float]] = {}
    for other in trials:
        if other.name != trial.name:
            reached.setdefault(other.name, []).append(other.reached)
    # A setting is as good as the mean over its seeds, once all of them have reached the target.
    means = [float(np.mean(rounds)) for rounds in reached.values()]
    best = min((mean for mean in means if not math.isnan(mean)), default=math.inf)
    return math.inf if math.isinf(best) else math.ceil(best * plan.stop_factor)


def next_rounds(trial: Trial, trials: Sequence[Trial], plan: Plan) -> int:
    """The --rounds that a run is to be given now; 0 where it is over."""
    if trial.failure or has_ended(trial, plan) or is_diverged(trial):
        return 0
    if math.isnan(plan.target):
        return max(plan.rounds, trial.asked)
    most = min(plan.rounds, limit(trial, trials, plan))
    if trial.rounds >= most or not math.isnan(trial.reached):
        return 0
    return max(int(min(trial.rounds + plan.step, most)), trial.asked)


def choose(
    trials: Sequence[Trial], running: Sequence[Trial], plan: Plan
) -> tuple[Trial, int] | None:
    """The run that is to go on next and its rounds: the shortest one; None where none is left."""
    waiting = [trial for trial in trials if trial not in running]
    for trial in sorted(waiting, key=lambda trial: trial.rounds):
        if rounds := next_rounds(trial, trials, plan):
            return trial, rounds
    return None


def has_ended(trial: Trial, plan: Plan) -> bool:
    """Whether it had all its rounds, or met the goal of its own --stop_at."""
    return trial.run is not None and (
        trial.rounds >= plan.rounds or bool(trial.run.rows[-1].get(runs_lib.GOAL_MET))
    )


def is_diverged(trial: Trial) -> bool:
    """Whether its numbers became infinite or NaN."""
    return trial.run is not None and trial.run.is_diverged


def status(trial: Trial, plan: Plan) -> str:
    """How a run ended, where that is not at its last round; "" where it is."""
    if trial.failure:
        return f"failed: {trial.failure}"
    if is_diverged(trial):
        return trial.run.shortcoming
    if not math.isnan(trial.reached) or has_ended(trial, plan):
        return ""
    return f"stopped after {trial.rounds} rounds"
