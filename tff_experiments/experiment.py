"""An experiment: what the flags choose from each room, checked together, and made.

    experiment.define_shared_flags()
    experiment.define_own_flags()
    absl.flags.FLAGS(["", "--task=digits_linear", "--algorithm=fed_adam"])
    chosen = experiment.Experiment()
    chosen.check()
    data, task = chosen.build_data()
    process = chosen.build_process(task, data)

scripts/run.py is the rest of a run.
"""

import dataclasses
import types
from typing import Any

from absl import logging

from tff_experiments import (
    aggregation,
    algorithms,
    auditing,
    compatibility,
    datasets,
    flags,
    runtime,
    secure_sum,
    spending,
    tasks,
    tracing,
    training,
)
from tff_experiments.algorithms import ingredients, optimizers
from tff_experiments.clients import (
    attacks,
    availability,
    canaries,
    delays,
    dropouts,
    participation,
)
from tff_experiments.runtime import local

ROOMS = {
    "task": tasks.BY_NAME,
    "algorithm": algorithms.BY_NAME,
    "aggregator": aggregation.BY_NAME,
    "runtime": runtime.BY_NAME,
    "secure_sum": secure_sum.BY_NAME,
    "dataset": datasets.BY_NAME,
}


@dataclasses.dataclass(frozen=True)
class Choice:
    """An entry of each room; the data set is the task's unless a flag says another."""

    task: str = "emnist_cnn"
    """Learning problem: model, metrics, default data."""
    algorithm: str = "fed_avg"
    """Federated algorithm."""
    aggregator: str = "mean"
    """How clients' updates become one."""
    runtime: str = "local"
    """What executes the process."""
    secure_sum: str = "plain"
    """How integers are summed securely."""


# What all runs share: (class, prefix of its flags, defaults of its own).
_SHARED = (
    (training.Hparams, "", {}),
    (dropouts.Hparams, "dropout_", {}),
    (attacks.Hparams, "attack_", {}),
    (canaries.Hparams, "canary_", {}),
    (delays.Hparams, "delay_", {}),
    (availability.Hparams, "availability_", {}),
    (participation.Hparams, "", {}),
    (spending.Hparams, "", {}),
    (optimizers.Hparams, "client_", {"learning_rate": 0.1}),
    (optimizers.Hparams, "server_", {}),
)


def define_shared_flags() -> None:
    """Defines the flags that all runs share; plug-ins of a user's own are in their rooms by now."""
    flags.define(Choice, choices={name: sorted(ROOMS[name]) for name in Choice.__annotations__})
    flags.define_data(None)
    for hparams_class, prefix, defaults in _SHARED:
        flags.define(hparams_class, prefix=prefix, defaults=defaults)


def define_own_flags() -> None:
    """Defines each entry's own flags, prefixed with its name."""
    for by_name in ROOMS.values():
        flags.define_plugins(by_name)


class Experiment:
    """What the flags choose, read once; `hparams`, `world`, `attacking`, `protocol`."""

    def __init__(self):
        """Reads the flags; raises ValueError for one that is no good by itself."""
        self.choice = flags.read(Choice)
        self.hparams = flags.read(training.Hparams)
        self.attacking = flags.read(attacks.Hparams, prefix="attack_")
        self.world = participation.World(
            selection=flags.read(participation.Hparams),
            delay=flags.read(delays.Hparams, prefix="delay_"),
            available=flags.read(availability.Hparams, prefix="availability_"),
            dropping=flags.read(dropouts.Hparams, prefix="dropout_"),
        )
        self.protocol = self.module("secure_sum").build(self.own("secure_sum"))
        self._canaries = flags.read(canaries.Hparams, prefix="canary_")
        self._spending = flags.read(spending.Hparams)
        self._local = flags.read(local.Hparams)
        self._client, self._server = (
            flags.read(optimizers.Hparams, prefix=who) for who in ("client_", "server_")
        )

    def module(self, room: str) -> types.ModuleType:
        """The entry that is chosen from a room."""
        return ROOMS[room][getattr(self.choice, room)]

    def own(self, room: str) -> Any:
        """The `Hparams` of the entry that is chosen from a room."""
        return flags.read_plugin(ROOMS[room], getattr(self.choice, room))

    @property
    def needs(self) -> Any:
        """What the algorithm needs."""
        return self.module("algorithm").NEEDS

    @property
    def noise_is_repeatable(self) -> bool:
        """Whether who knows the seed knows the noise, so that nothing is private."""
        return self._local.seed_noise >= 0

    def check(self) -> None:
        """Raises ValueError where what is chosen does not go together, or the secure sum can't
        serve the clients that are asked where so many are needed.
        """
        self.protocol.check(self.world.selection.selected(self.hparams.clients_per_round))
        module, lossy = self.module("aggregator"), None
        if hasattr(module, "lossy"):
            lossy = module.lossy(self.own("aggregator"))
        misbehave = self.world != participation.World() or self.attacking.kind != "none"
        compatibility.check(
            algorithm=self.choice.algorithm,
            needs=self.needs,
            aggregator=self.choice.aggregator,
            aggregation=module,
            secure_sum=self.choice.secure_sum,
            is_secure=self.protocol.is_secure,
            allow_plain_slots=self._local.allow_plain_slots,
            runtime=self.choice.runtime,
            server_optimizer=self._server.optimizer,
            attack=self.attacking.kind,
            changes_updates=self.attacking.changes_updates,
            eval_personalized=self.hparams.eval_personalized,
            has_canaries=self._canaries.count > 0,
            clients_misbehave=misbehave,
            lossy=lossy or "",
            steps=self._server != optimizers.Hparams(),
        )
        self._warn(is_exact=lossy is not None)

    def _warn(self, *, is_exact: bool) -> None:
        """Says what may surprise, and is allowed."""
        if self.needs.exact_mean and not is_exact:
            logging.warning(
                "--aggregator=%s is no exact mean: what it loses of the clients' changes is "
                "missing in the server's part of %s for good.",
                self.choice.aggregator,
                self.choice.algorithm,
            )
        if self.needs.personal and not self.hparams.eval_personalized:
            logging.warning(
                "%s is for clients' own models, and test/... is of one model: see "
                "--eval_personalized.",
                self.choice.algorithm,
            )

    def build_data(self) -> tuple[Any, Any]:
        """(data, task); raises ValueError for what can't be."""
        module = self.module("task")
        data = flags.load_data(module.DEFAULT_DATASET)
        training.check(self.hparams, data)
        task = module.build(self.own("task"), data=data, seed=self.hparams.seed)
        algorithm = self.module("algorithm")
        if hasattr(algorithm, "adapt_task"):
            task = algorithm.adapt_task(self.own("algorithm"), task)
        return data, task

    def build_aggregator(self, task, data) -> tuple[Any, spending.Meter | None]:
        """(aggregator, the `Meter` of what it spends, or None); raises ValueError for what can't
        be.
        """
        module, own = self.module("aggregator"), self.own("aggregator")
        if not hasattr(module, "privacy"):
            self._check_not_private()
            return module.build(own), None
        self._check_private()
        plan = spending.make_plan(
            self._spending,
            module.privacy(own),
            num_clients=data.train.num_clients,
            clients_per_round=self.hparams.clients_per_round,
            client_sampling=self.hparams.client_sampling,
            rounds=self.hparams.rounds,
            dim=sum(weights.size for weights in task.weights_of_seed(self.hparams.seed)),
        )
        budget = spending.make_budget(self._spending, plan)
        if budget is None:
            logging.warning("--%s_noise_multiplier=0: not private.", self.choice.aggregator)
            return module.build(own, None, plan), None
        return module.build(own, budget.mechanism, plan), spending.Meter(
            budget, self.hparams.rounds, repeatable=self.noise_is_repeatable
        )

    def _check_not_private(self) -> None:
        if self._spending != spending.Hparams():
            private = [name for name, m in aggregation.BY_NAME.items() if hasattr(m, "privacy")]
            raise ValueError(
                f"--aggregator={self.choice.aggregator} is not differentially private; with "
                f"--target_epsilon, --delta, --accountant and --neighbours take one that is: "
                f"{', '.join(private)}."
            )

    def _check_private(self) -> None:
        compatibility.check_private(
            algorithm=self.choice.algorithm,
            needs=self.needs,
            hparams=self.own("algorithm"),
            aggregator=self.choice.aggregator,
            runtime=self.choice.runtime,
            all_are_there=self.world.available == availability.Hparams(),
            nobody_is_late=self.world.selection == participation.Hparams(),
        )

    def build_process(self, task, data, factory=None):
        """Makes the TFF process around an aggregator, or the one that is chosen."""
        module, hparams = self.module("aggregator"), self.hparams
        tracing.make_cheaper()
        return self.module("algorithm").build(
            self.own("algorithm"),
            ingredients.Ingredients(
                model_fn=task.model_fn,
                client_optimizer=optimizers.build(self._client),
                server_optimizer=optimizers.build(self._server),
                aggregator=factory or self.build_aggregator(task, data)[0],
                metrics_aggregator=module.METRICS_AGGREGATOR,
                secure=module.SUPPORTS_SECURE_SUM,
                private=hasattr(module, "privacy"),
                canary_norm=self._canaries.norm if self._canaries.count else 0.0,
                client_schedule=optimizers.build_schedule(self._client),
                server_schedule=optimizers.build_schedule(self._server),
                attacked=self.attacking.changes_updates,
                num_clients=data.train.num_clients,
                clients_per_round=hparams.clients_per_round,
                num_classes=data.num_classes,
                per_example_loss=lambda y, output: task.per_example(y, output)["loss"],
                client_epochs=hparams.client_epochs,
                seed=hparams.seed,
                weights_of_seed=task.weights_of_seed,
            ),
        )

    def build_auditor(self, process, data) -> auditing.Auditor | None:
        """What looks for the canaries; None without any. Raises ValueError for more than there are
        clients.
        """
        if not self._canaries.count:
            return None
        ids = data.train.client_ids
        chosen = canaries.choose(self._canaries, ids, seed=self.hparams.seed)
        first = process.get_model_weights(process.initialize()).trainable
        return auditing.Auditor(chosen, first, self._spending.delta or 1 / len(ids))
