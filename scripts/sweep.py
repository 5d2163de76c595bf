"""Searches over flags of scripts/run.py: a grid or random draws, each with several seeds.

    python scripts/sweep.py --sweep="client_learning_rate=0.03,0.1,0.3" --seeds=3 \
        --output_dir=runs/sweep -- --task=digits_linear --rounds=60

What follows "--" goes to every run. The same command goes on where a search was interrupted, and
with more values, seeds or rounds it runs only those. With --target runs grow by --step rounds until
they reach it, and stop once they are past --stop_factor times the best setting's rounds.
"""

import os
import pathlib
import signal
import sys

REPO = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

import tqdm
from absl import flags

from tff_experiments import command_line
from tff_experiments.reporting import curves, runs, summary, tables
from tff_experiments.sweeps import choice, search, space, trials

FLAGS = flags.FLAGS
# The search gives these to each run itself.
OURS = ("rounds", "seed", "output_dir")


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_multi_string(
        "sweep", [], "name=value,value: tried in every combination; name=log:low:high, uniform or "
        "int: drawn, with --samples. Several with spaces between, or the flag several times.",
    )  # fmt: skip
    flags.DEFINE_integer("samples", 0, "Random settings; 0 is the grid of all.", 0)
    flags.DEFINE_integer("sample_seed", 0, "Seed of the random settings.", 0)
    flags.DEFINE_integer("seeds", 1, "Runs of each setting, with --seed=0, 1, ...", 1)
    flags.DEFINE_integer("rounds", 0, "Rounds of a run; by default what follows '--' says.", 0)
    flags.DEFINE_integer("jobs", 0, "Runs at a time; 0 is one a core, at most 4.", 0)
    flags.DEFINE_string("output_dir", "runs/sweep", "Gets a folder for each run, and the table.")
    flags.DEFINE_string("metric", "test/accuracy", "What is searched for.")
    flags.DEFINE_enum(
        "better", "auto", ["auto", "higher", "lower"], "Which way is good; auto goes by the name."
    )
    flags.DEFINE_integer("last_evals", 5, "Without --target: so many evaluations count.", 1)
    flags.DEFINE_float("target", None, "The best setting is the first to reach this value.")
    flags.DEFINE_integer("step", 0, "With --target: a run grows by so many rounds; 0 is a tenth.")
    flags.DEFINE_float("stop_factor", 1.5, "With --target: see above; 0 is never.", 0)
    flags.DEFINE_string("script", str(REPO / "scripts" / "run.py"), "What runs one setting.")


def read_plan(base: dict[str, str]) -> trials.Plan:
    """What the flags ask of every run; raises ValueError."""
    rounds = FLAGS.rounds or int(base.get("rounds", 0))
    if not rounds:
        raise ValueError("say how long runs are: --rounds, here, after '--' or in its flagfile.")
    better = {"higher": True, "lower": False}
    higher = better.get(FLAGS.better, curves.higher_is_better(FLAGS.metric))
    has_target = FLAGS.target is not None
    question = summary.Question(FLAGS.metric, higher, [FLAGS.target] if has_target else [])
    if not has_target:
        return trials.Plan(rounds, question)
    step = FLAGS.step or max(1, rounds // 10)
    return trials.Plan(rounds, question, FLAGS.target, step, FLAGS.stop_factor or float("inf"))


class Display:
    """One bar for all runs; without a terminal, a line for each run that is over."""

    def __init__(self, tried: list[trials.Trial], plan: trials.Plan):
        self._tried, self._plan = tried, plan
        self._bar = tqdm.tqdm(total=len(tried) * plan.rounds, unit="round", disable=None)
        self._bar.initial = sum(trial.rounds for trial in tried)
        self._state: list = []
        self._over = self._find_over([])
        self._told = set(self._over)

    def _find_over(self, running):
        left = [trial for trial in self._tried if trial not in running]
        return {t for t in left if not trials.next_rounds(t, self._tried, self._plan)}

    def __call__(self, running):
        """Shows how far all have come."""
        state = [(t in running, t.rounds, t.failure) for t in self._tried]
        if state != self._state:
            self._state, self._over = state, self._find_over(running)
        for trial in self._over - self._told:
            self._told.add(trial)
            if self._bar.disable:
                print(self._tell(trial), file=sys.stderr, flush=True)
        # A run that is over has no rounds left, whether it needed all or not.
        left = [trial for trial in self._tried if trial not in self._over]
        now = [search.rounds_now(t) if t in running else t.rounds for t in left]
        self._bar.n = sum(now) + len(self._over) * self._plan.rounds
        self._bar.set_postfix_str(f"{len(self._over)} of {len(self._tried)} runs over")

    def _tell(self, trial):
        value = summary.final(trial.run, self._plan.question.metric) if trial.run else float("nan")
        end = trials.status(trial, self._plan) or f"after {trial.rounds} rounds"
        return f"{trial.name} seed {trial.seed}: {self._plan.question.metric} {value:.4f}, {end}"

    def close(self):
        """Leaves the bar as it is."""
        self._bar.close()


def make_command(base: list[str]):
    """Makes what starts or resumes a trial with so many rounds."""

    def command(trial: trials.Trial, rounds: int) -> list[str]:
        own = {**trial.setting, "seed": trial.seed, "rounds": rounds, "output_dir": trial.folder}
        told = [f"--{name}={value}" for name, value in own.items()]
        return [sys.executable, FLAGS.script, *base, *told]

    return command


def joined(base: list[str]) -> list[str]:
    """Flags as --name=value, also those whose value is a word of its own."""
    found: list[str] = []
    for arg in base:
        if found and not arg.startswith("-") and "=" not in found[-1]:
            found[-1] += f"={arg}"
        else:
            found.append(f"--{arg.lstrip('-')}" if arg.startswith("-") else arg)
    return found


def sweep(base: list[str]) -> int:
    """Searches, then says what is the best; returns the exit code."""
    base = joined(base)
    for name in ("seed", "output_dir"):
        if name in runs.parse_flags(base):
            raise ValueError(
                f"--{name} after '--': the search gives each run this flag itself; use --seeds and "
                f"--output_dir before '--'."
            )
    # The flagfile's lines take its place: what is in them counts, wherever it lies.
    base = joined(FLAGS.read_flags_from_files(base, force_gnu=True))
    plan = read_plan(runs.parse_flags(base))
    axes = space.parse(FLAGS.sweep)
    for axis in axes:
        if axis.name in OURS:
            raise ValueError(f"--sweep={axis.name}: the search gives each run this flag itself.")
    drawn = FLAGS.samples and space.sample(axes, FLAGS.samples, seed=FLAGS.sample_seed)
    folder = pathlib.Path(FLAGS.output_dir)
    search.claim(folder, [arg for arg in base if not runs.parse_flags([arg]).keys() & set(OURS)])
    tried = search.prepare(folder, drawn or space.grid(axes), seeds=FLAGS.seeds, plan=plan)
    num_jobs = FLAGS.jobs or min(4, len(os.sched_getaffinity(0)))
    display = Display(tried, plan)
    try:
        search.run(tried, plan, make_command(base), num_jobs=num_jobs, on_poll=display)
    finally:
        display.close()
    chosen = choice.choose(tried, plan, axes, last_evals=FLAGS.last_evals)
    report(chosen, folder)
    failed = [trial for trial in tried if trial.failure]
    for trial in failed:
        print(f"failed: {trial.name} seed {trial.seed}: {trial.failure}", file=sys.stderr)
    return 1 if failed or not chosen.best else 0


def report(chosen: choice.Choice, folder: pathlib.Path) -> None:
    """Prints the table and writes it."""
    print(chosen.text)
    if chosen.table.rows:
        print(tables.as_text(chosen.table))
        (folder / "table.md").write_text(f"{chosen.text}\n\n{tables.as_markdown(chosen.table)}")
        (folder / "table.csv").write_text(tables.as_csv(chosen.table))
    print(f"files: {folder}; scripts/compare.py --ignore=rounds {folder} draws the curves")


def main(base: list[str], argv: list[str]) -> int:
    """Searches; bad input is one line and exit code 2."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # A shell starts background jobs with SIGINT ignored; a search can be stopped all the same.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected argument {argv[1]!r}; a run's flags come after '--'.")
        return sweep(base)
    except (ValueError, OSError, flags.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on.", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    define_flags()
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    rest = sys.argv[split + 1 :]
    command_line.run(lambda argv: main(rest, argv), argv=sys.argv[:split])
