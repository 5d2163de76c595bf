"""Trains one federated model, and writes what happened to a run folder.

    python scripts/run.py --task=emnist_cnn --dataset=synthetic_emnist --rounds=50
    python scripts/run.py --flagfile=configs/femnist_fed_avg.cfg --data_dir=FOLDER

The same command with the same --output_dir resumes a run that was interrupted. --helpshort lists
what all runs share; --help adds each plug-in's own flags, prefixed with its name.
"""

import datetime
import os
import pathlib
import signal
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from tff_experiments import quiet

QUIET = quiet.start()

import tqdm
from absl import app, flags, logging

from tff_experiments import (
    about,
    auditing,
    cohorts,
    compatibility,
    datasets,
    goals,
    plugins,
    records,
    runtime,
    secure_sum,
    spending,
    tasks,
    training,
)
from tff_experiments import flags as hparams_flags
from tff_experiments.aggregation import BY_NAME as AGGREGATORS
from tff_experiments.algorithms import BY_NAME as ALGORITHMS
from tff_experiments.algorithms import ingredients, optimizers
from tff_experiments.clients import (
    attacks,
    availability,
    canaries,
    delays,
    dropouts,
    participation,
)

FLAGS = flags.FLAGS
ROOMS = {
    "task": tasks.BY_NAME,
    "algorithm": ALGORITHMS,
    "aggregator": AGGREGATORS,
    "runtime": runtime.BY_NAME,
    "secure_sum": secure_sum.BY_NAME,
    "dataset": datasets.BY_NAME,
}
# Where files are kept, and how many workers there are and where: the same bits come out.
NOT_IN_RESULT = {"cache_dir", "client_workers", "ray_address"}


def load_plugins() -> None:
    """Adds the files that --plugin names to their rooms: their flags are not known before."""
    flags.DEFINE_list(
        "plugin", [], "Files with a task, algorithm, aggregator or secure sum of your own."
    )
    FLAGS(sys.argv, known_only=True)
    plugins.load(FLAGS.plugin, {name: ROOMS[name] for name in ROOMS if name != "runtime"})
    FLAGS.unparse_flags()


def define_flags() -> list[str]:
    """Defines all flags; returns the names of those that make the result, sorted."""
    before = set(FLAGS) - {"plugin"}
    flags.DEFINE_enum(
        "task",
        "emnist_cnn",
        sorted(ROOMS["task"]),
        "Learning problem: model, metrics, default data.",
    )
    flags.DEFINE_enum("algorithm", "fed_avg", sorted(ROOMS["algorithm"]), "Federated algorithm.")
    flags.DEFINE_enum(
        "aggregator", "mean", sorted(ROOMS["aggregator"]), "How clients' updates become one."
    )
    flags.DEFINE_enum("runtime", "local", sorted(ROOMS["runtime"]), "What executes the process.")
    flags.DEFINE_enum(
        "secure_sum", "plain", sorted(ROOMS["secure_sum"]), "How integers are summed securely."
    )
    hparams_flags.define_data(None)
    hparams_flags.define(training.Hparams)
    hparams_flags.define(dropouts.Hparams, prefix="dropout_")
    hparams_flags.define(attacks.Hparams, prefix="attack_")
    hparams_flags.define(canaries.Hparams, prefix="canary_")
    hparams_flags.define(delays.Hparams, prefix="delay_")
    hparams_flags.define(availability.Hparams, prefix="availability_")
    hparams_flags.define(participation.Hparams)
    hparams_flags.define(spending.Hparams)
    hparams_flags.define(optimizers.Hparams, prefix="client_", defaults={"learning_rate": 0.1})
    hparams_flags.define(optimizers.Hparams, prefix="server_")
    names = set(FLAGS) - before
    flags.DEFINE_string(
        "output_dir",
        "",
        "The run's folder; by default a new one under runs/. An old one is resumed.",
    )
    for name in sorted(set(FLAGS) - before):
        FLAGS.register_key_flag_for_module(sys.argv[0], FLAGS[name])
    shared = set(FLAGS)
    for by_name in ROOMS.values():
        hparams_flags.define_plugins(by_name)
    return sorted((names | (set(FLAGS) - shared)) - NOT_IN_RESULT)


def build():
    """Makes data, task and hyperparameters from the flags; raises ValueError for what can't be."""
    defaults = tasks.BY_NAME[FLAGS.task]
    hparams = hparams_flags.read(training.Hparams)
    data = hparams_flags.load_data(defaults.DEFAULT_DATASET)
    training.check(hparams, data)
    task = defaults.build(
        hparams_flags.read_plugin(tasks.BY_NAME, FLAGS.task), data=data, seed=hparams.seed
    )
    if hasattr(ALGORITHMS[FLAGS.algorithm], "adapt_task"):
        own = hparams_flags.read_plugin(ALGORITHMS, FLAGS.algorithm)
        task = ALGORITHMS[FLAGS.algorithm].adapt_task(own, task)
    return data, task, hparams


def build_aggregator(task, data, hparams: training.Hparams):
    """(aggregator, the `Meter` of what it spends, or None); raises ValueError for what can't be."""
    module = AGGREGATORS[FLAGS.aggregator]
    own, shared = (
        hparams_flags.read_plugin(AGGREGATORS, FLAGS.aggregator),
        hparams_flags.read(spending.Hparams),
    )
    if not hasattr(module, "privacy"):
        if shared != spending.Hparams():
            raise ValueError(
                f"--aggregator={FLAGS.aggregator} is not differentially private; with "
                f"--target_epsilon, --delta, --accountant and --neighbours take one that is: "
                f"{', '.join(name for name, m in AGGREGATORS.items() if hasattr(m, 'privacy'))}."
            )
        return module.build(own), None
    world = read_world()
    compatibility.check_private(
        algorithm=FLAGS.algorithm,
        needs=ALGORITHMS[FLAGS.algorithm].NEEDS,
        hparams=hparams_flags.read_plugin(ALGORITHMS, FLAGS.algorithm),
        aggregator=FLAGS.aggregator,
        runtime=FLAGS.runtime,
        all_are_there=world.available == availability.Hparams(),
        nobody_is_late=world.selection == participation.Hparams(),
    )
    plan = spending.make_plan(
        shared,
        module.privacy(own),
        num_clients=data.train.num_clients,
        clients_per_round=hparams.clients_per_round,
        client_sampling=hparams.client_sampling,
        rounds=hparams.rounds,
        dim=sum(weights.size for weights in task.weights_of_seed(hparams.seed)),
    )
    budget = spending.make_budget(shared, plan)
    if budget is None:
        logging.warning("--%s_noise_multiplier=0: not private.", FLAGS.aggregator)
        return module.build(own, None, plan), None
    return module.build(own, budget.mechanism, plan), spending.Meter(
        budget, hparams.rounds, repeatable=FLAGS.seed_noise >= 0
    )


def build_process(task, data, hparams: training.Hparams, factory=None):
    """Makes the TFF process from the flags, around an aggregator or the one that they name."""
    factory = factory or build_aggregator(task, data, hparams)[0]
    canary = hparams_flags.read(canaries.Hparams, prefix="canary_")
    client, server = (
        hparams_flags.read(optimizers.Hparams, prefix=who) for who in ("client_", "server_")
    )
    aggregator = AGGREGATORS[FLAGS.aggregator]
    return ALGORITHMS[FLAGS.algorithm].build(
        hparams_flags.read_plugin(ALGORITHMS, FLAGS.algorithm),
        ingredients.Ingredients(
            model_fn=task.model_fn,
            client_optimizer=optimizers.build(client),
            server_optimizer=optimizers.build(server),
            aggregator=factory,
            metrics_aggregator=aggregator.METRICS_AGGREGATOR,
            secure=aggregator.SUPPORTS_SECURE_SUM,
            private=hasattr(aggregator, "privacy"),
            canary_norm=canary.norm if canary.count else 0.0,
            client_schedule=optimizers.build_schedule(client),
            server_schedule=optimizers.build_schedule(server),
            attacked=hparams_flags.read(attacks.Hparams, prefix="attack_").changes_updates,
            num_clients=data.train.num_clients,
            clients_per_round=hparams.clients_per_round,
            num_classes=data.num_classes,
            per_example_loss=lambda y, output: task.per_example(y, output)["loss"],
            client_epochs=hparams.client_epochs,
            seed=hparams.seed,
            weights_of_seed=task.weights_of_seed,
        ),
    )


def build_auditor(process, data, hparams: training.Hparams) -> auditing.Auditor | None:
    """What looks for the canaries; None without any. Raises ValueError for more than there are
    clients.
    """
    wanted = hparams_flags.read(canaries.Hparams, prefix="canary_")
    if not wanted.count:
        return None
    chosen = canaries.choose(wanted, data.train.client_ids, seed=hparams.seed)
    first = process.get_model_weights(process.initialize()).trainable
    return auditing.Auditor(chosen, first, FLAGS.delta or 1 / data.train.num_clients)


def build_secure_sum(clients_per_round: int):
    """Makes the secure sum from the flags; raises ValueError where it can't serve the clients that
    are asked where so many are needed.
    """
    protocol = secure_sum.BY_NAME[FLAGS.secure_sum].build(
        hparams_flags.read_plugin(secure_sum.BY_NAME, FLAGS.secure_sum)
    )
    protocol.check(hparams_flags.read(participation.Hparams).selected(clients_per_round))
    return protocol


def read_world() -> participation.World:
    """How clients behave, from the flags."""
    return participation.World(
        selection=hparams_flags.read(participation.Hparams),
        delay=hparams_flags.read(delays.Hparams, prefix="delay_"),
        available=hparams_flags.read(availability.Hparams, prefix="availability_"),
        dropping=hparams_flags.read(dropouts.Hparams, prefix="dropout_"),
    )


def check_combination(protocol) -> None:
    """Raises ValueError where the chosen plug-ins do not go together."""
    needs, module = ALGORITHMS[FLAGS.algorithm].NEEDS, AGGREGATORS[FLAGS.aggregator]
    lossy = None
    if hasattr(module, "lossy"):
        lossy = module.lossy(hparams_flags.read_plugin(AGGREGATORS, FLAGS.aggregator))
    compatibility.check(
        algorithm=FLAGS.algorithm,
        needs=needs,
        aggregator=FLAGS.aggregator,
        aggregation=module,
        secure_sum=FLAGS.secure_sum,
        is_secure=protocol.is_secure,
        allow_plain_slots=FLAGS.allow_plain_slots,
        runtime=FLAGS.runtime,
        server_optimizer=FLAGS.server_optimizer,
        attack=FLAGS.attack_kind,
        changes_updates=hparams_flags.read(attacks.Hparams, prefix="attack_").changes_updates,
        eval_personalized=FLAGS.eval_personalized,
        has_canaries=FLAGS.canary_count > 0,
        clients_misbehave=read_world() != participation.World() or FLAGS.attack_kind != "none",
        lossy=lossy or "",
        steps=hparams_flags.read(optimizers.Hparams, prefix="server_") != optimizers.Hparams(),
    )
    if needs.exact_mean and lossy is None:
        logging.warning(
            "--aggregator=%s is no exact mean: what it loses of the clients' changes is missing in "
            "the server's part of %s for good.",
            FLAGS.aggregator,
            FLAGS.algorithm,
        )
    if needs.personal and not FLAGS.eval_personalized:
        logging.warning(
            "%s is for clients' own models, and test/... is of one model: see --eval_personalized.",
            FLAGS.algorithm,
        )


class Progress:
    """The progress bar: round, loss, and the last evaluation. Without a terminal, a line per
    evaluation.
    """

    def __init__(self, hparams: training.Hparams, main_metric: str):
        self._bar = tqdm.tqdm(total=hparams.rounds, unit="round", disable=None)
        self._metric = main_metric
        self._shown = {}
        self._aborted = 0

    def __call__(self, row):
        """Shows one round."""
        if not self._shown:
            self._bar.initial = row["round"] - 1  # A resumed run's rate is that of its own rounds.
        self._bar.n = row["round"]
        shown = ("train/loss", f"train/{self._metric}", f"test/{self._metric}")
        for name in (*shown, f"personal/{self._metric}/mean"):
            if name in row:
                self._shown[name.replace("train/", "")] = f"{row[name]:.4f}"
        if "privacy/epsilon" in row:
            self._shown["epsilon"] = f"{row['privacy/epsilon']:.3g}"
        if row.get("train/aborted"):
            self._aborted += 1
            self._shown["aborted"] = str(self._aborted)
        self._bar.set_postfix(self._shown)
        if self._bar.disable and f"test/{self._metric}" in row:
            shown = ", ".join(f"{name} {value}" for name, value in self._shown.items())
            print(f"round {row['round']}: {shown}", file=sys.stderr, flush=True)

    def close(self):
        """Leaves the bar as it is."""
        self._bar.close()


def print_summary(folder: records.RunFolder, task, data, meter) -> None:
    """Prints the table at a run's end."""
    rows = records.read_metrics(folder.path)
    evaluated = [row for row in rows if f"test/{task.main_metric}" in row]
    met = f", {FLAGS.stop_at} is met" if rows[-1].get(goals.MET) else ""
    table = [("data", data.label), ("rounds", f"{rows[-1]['round']}{met}")]
    table += [
        (name, f"{value:.4f}")
        for name, value in evaluated[-1].items()
        if name.startswith(("test/", "personal/", "global_on_same/"))
    ]
    table.append(("seconds per round", f"{_median(rows, 'seconds/round'):.3f} (median)"))
    aborted = sum(row.get("train/aborted", 0) for row in rows)
    if aborted:
        table.append(("aborted rounds", str(aborted)))
    if any("secure_sum/server_seconds" in row for row in rows):
        sent = _median(rows, "secure_sum/upload_bytes_per_client") / 1e3
        server = _median(rows, "secure_sum/server_seconds")
        table.append(("secure sum", f"{sent:,.0f} kB a client up, {server:.3f} s server (medians)"))
    if "audit/epsilon" in evaluated[-1]:
        seen = evaluated[-1]["audit/canaries"]
        table.append(
            ("epsilon, audited", f"{evaluated[-1]['audit/epsilon']:.4g} by {seen:.0f} canaries")
        )
    if meter is not None:
        spent, delta = rows[-1]["privacy/epsilon"], rows[-1]["privacy/delta"]
        table.append(
            ("epsilon", f"{spent:.4g} at delta {delta:.3g}, {meter.planned:.4g} were planned")
        )
        repeatable = FLAGS.seed_noise >= 0
        table.append(
            ("it holds where", "NOWHERE: --seed_noise" if repeatable else meter.budget.relation)
        )
    table.append(("files", str(folder.path)))
    width = max(len(name) for name, _ in table)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in table))


def _median(rows, name: str) -> float:
    return statistics.median(row[name] for row in rows if name in row)


def run(result_flags: list[str]) -> None:
    """Builds everything from the flags, then trains."""
    protocol = build_secure_sum(hparams_flags.read(training.Hparams).clients_per_round)
    check_combination(protocol)
    attacking = hparams_flags.read(attacks.Hparams, prefix="attack_")
    data, task, hparams = build()
    factory, meter = build_aggregator(task, data, hparams)
    process = build_process(task, data, hparams, factory)
    runtime_hparams = hparams_flags.read_plugin(runtime.BY_NAME, FLAGS.runtime)
    world = read_world()
    cohorts.participants(hparams, data, world, process).round(1)
    use = runtime.BY_NAME[FLAGS.runtime].use
    with use(runtime_hparams, quiet=QUIET, seed=hparams.seed, secure_sum=protocol) as running:
        running.check(process)
        if meter is not None and not running.draws_noise(process):
            raise ValueError(f"--aggregator={FLAGS.aggregator}: the process asks for no noise.")
        # Bad flags are found by now: a folder belongs to the flags that it was first given.
        folder = open_folder()
        progress = None
        try:
            if meter is not None:
                meter.check(folder.path)
            folder.claim(
                hparams_flags.lines(result_flags), about.run(sys.argv, data), may_grow="rounds"
            )
            progress = Progress(hparams, task.main_metric)
            training.train(
                process, task, data, hparams, folder,
                runtime=running, world=world, attacking=attacking, meter=meter,
                auditor=build_auditor(process, data, hparams), on_round=progress,
            )  # fmt: skip
            progress.close()
            print_summary(folder, task, data, meter)
        except (KeyboardInterrupt, SystemExit):
            print(
                f"\ninterrupted; the same command with --output_dir={folder.path} goes on.",
                file=sys.stderr,
            )
            raise
        finally:
            if progress is not None:
                progress.close()
            folder.close()


def open_folder() -> records.RunFolder:
    """The folder that --output_dir names, or a new one."""
    now = datetime.datetime.now()
    path = FLAGS.output_dir or f"runs/{FLAGS.task}-{FLAGS.algorithm}-{now:%Y%m%d-%H%M%S}"
    return records.RunFolder(path)


def main(result_flags: list[str], argv: list[str]) -> int:
    """Runs; what a user can mend is one line and exit code 2 (flags, data) or 1 (training)."""
    if len(argv) > 1:
        print(
            f"error: unexpected argument {argv[1]!r}; all arguments are flags, see --helpshort.",
            file=sys.stderr,
        )
        return 2
    if QUIET:
        logging.set_verbosity(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        run(result_flags)
        return 0
    except (
        ValueError,
        training.DivergedError,
        runtime.ClientError,
        runtime.RefusedError,
        OSError,
    ) as error:
        if not QUIET:
            logging.exception("The error came from here:")
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, RuntimeError) else 2
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def start() -> list[str]:
    """Loads plug-ins and defines flags; a bad plug-in is one line and exit code 2."""
    try:
        load_plugins()
        return define_flags()
    except ValueError as error:
        sys.exit(_refused(error))


def _refused(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    names = start()
    os.environ.setdefault("COLUMNS", "100")
    app.run(lambda argv: main(names, argv))
