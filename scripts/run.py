"""Trains one federated model, and writes what happened to a run folder.

    python scripts/run.py --task=emnist_cnn --dataset=synthetic_emnist --rounds=50
    python scripts/run.py --flagfile=configs/femnist_fed_avg.cfg --data_dir=FOLDER

The same command with the same --output_dir resumes a run that was interrupted. --helpshort lists
what all runs share; --helpfull adds each plug-in's own flags, prefixed with its name.
"""

import contextlib
import datetime
import os
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from tff_experiments import quiet

QUIET = quiet.start()

from absl import flags, logging

from tff_experiments import (
    about,
    cohorts,
    command_line,
    experiment,
    goals,
    progress,
    records,
    runtime,
)
from tff_experiments import flags as hparams_flags
from tff_experiments import training

FLAGS = flags.FLAGS
# Where files are kept, and how many workers there are and where: the same bits come out.
NOT_IN_RESULT = {"cache_dir", "client_workers", "ray_address"}


def define_flags() -> list[str]:
    """Defines all flags; returns the names of those that make the result, sorted."""
    before = set(FLAGS) - {"plugin"}
    experiment.define_shared_flags()
    names = set(FLAGS) - before
    flags.DEFINE_string(
        "output_dir",
        "",
        "The run's folder; by default a new one under runs/. An old one is resumed.",
    )
    for name in sorted(set(FLAGS) - before):
        FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])
    shared = set(FLAGS)
    experiment.define_own_flags()
    return sorted((names | (set(FLAGS) - shared)) - NOT_IN_RESULT)


def print_summary(folder: records.RunFolder, chosen, task, data, meter) -> None:
    """Prints the table at a run's end."""
    rows = records.read_metrics(folder.path)
    met = f", {chosen.hparams.stop_at} is met" if rows[-1].get(goals.MET) else ""
    table = [("data", data.label), ("rounds", f"{rows[-1]['round']}{met}")]
    table += progress.summary(rows, task.main_metric)
    if meter is not None:
        spent, delta = rows[-1]["privacy/epsilon"], rows[-1]["privacy/delta"]
        table.append(
            ("epsilon", f"{spent:.4g} at delta {delta:.3g}, {meter.planned:.4g} were planned")
        )
        nowhere = "NOWHERE: --seed_noise"
        holds = nowhere if chosen.noise_is_repeatable else meter.budget.relation
        table.append(("it holds where", holds))
    print(progress.text([*table, ("files", str(folder.path))]))


def run(result_flags: list[str]) -> None:
    """Builds everything from the flags, then trains."""
    chosen = experiment.Experiment()
    chosen.check()
    data, task = chosen.build_data()
    factory, meter = chosen.build_aggregator(task, data)
    process = chosen.build_process(task, data, factory)
    hparams = chosen.hparams
    cohorts.participants(hparams, data, chosen.world, process).round(1)
    with chosen.module("runtime").use(
        chosen.own("runtime"), quiet=QUIET, seed=hparams.seed, secure_sum=chosen.protocol
    ) as running:
        running.check(process)
        if meter is not None and not running.draws_noise(process):
            raise ValueError(f"--aggregator={FLAGS.aggregator}: the process asks for no noise.")
        # Bad flags are found by now: a folder belongs to the flags that it was first given.
        folder = open_folder()
        shown = None
        try:
            if meter is not None:
                meter.check(folder.path)
            folder.claim(
                hparams_flags.lines(result_flags), about.run(sys.argv, data), may_grow="rounds"
            )
            shown = progress.Progress(hparams.rounds, task.main_metric)
            training.train(
                process, task, data, hparams, folder,
                runtime=running, world=chosen.world, attacking=chosen.attacking, meter=meter,
                auditor=chosen.build_auditor(process, data), on_round=shown,
            )  # fmt: skip
            shown.close()
            print_summary(folder, chosen, task, data, meter)
        except (KeyboardInterrupt, SystemExit):
            print(
                f"\ninterrupted; the same command with --output_dir={folder.path} goes on.",
                file=sys.stderr,
            )
            raise
        finally:
            if shown is not None:
                shown.close()
            folder.close()


def open_folder() -> records.RunFolder:
    """The folder that --output_dir names, or a new one."""
    now = datetime.datetime.now()
    if FLAGS.output_dir:
        return records.RunFolder(FLAGS.output_dir)
    name = f"runs/{FLAGS.task}-{FLAGS.algorithm}-{now:%Y%m%d-%H%M%S}"
    for suffix in ("", *(f"-{i}" for i in range(2, 100))):
        # Another run may have begun in the same second.
        with contextlib.suppress(FileExistsError):
            os.makedirs(name + suffix)
            return records.RunFolder(name + suffix)
    raise ValueError(f"{name} and a hundred beside it are taken; name an --output_dir.")


def main(result_flags: list[str], argv: list[str]) -> int:
    """Runs; what a user can mend is one line and exit code 2 (flags, data) or 1 (training)."""
    if QUIET:
        logging.set_verbosity(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        command_line.refuse_arguments(argv)
        run(result_flags)
        return 0
    except (
        ValueError,
        training.DivergedError,
        runtime.ClientError,
        runtime.RefusedError,
        runtime.WorkerLostError,
        OSError,
    ) as error:
        if not QUIET:
            logging.exception("The error came from here:")
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def start() -> list[str]:
    """Loads plug-ins and defines flags, as `define_flags` returns them."""
    rooms = {name: room for name, room in experiment.ROOMS.items() if name != "runtime"}
    hparams_flags.load_plugins(
        "Files with a task, data set, algorithm, aggregator or secure sum of your own.", rooms
    )
    return define_flags()


if __name__ == "__main__":
    names = command_line.define_or_exit(start)
    os.environ.setdefault("COLUMNS", "100")
    command_line.run(lambda argv: main(names, argv))
