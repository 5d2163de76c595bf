"""One round: its cohort, the step, what it spent, its evaluation and its metrics."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_federated as tff

from tff_experiments import (
    auditing,
    cohorts,
    evaluation,
    goals,
    personal_evaluation,
    spending,
)
from tff_experiments.clients import attacks, participation, state_store
from tff_experiments.datasets import federated_data
from tff_experiments.runtime import clients
from tff_experiments.secure_sum import stages
from tff_experiments.tasks import task as task_lib

Row = dict[str, float]


class Rounds:
    """What a run's rounds have in common. It holds no progress but that of `states`, `meter` and
    `auditor`.
    """

    def __init__(
        self,
        process: tff.learning.templates.LearningProcess,
        task: task_lib.Task,
        data: federated_data.FederatedData,
        hparams: Any,
        *,
        runtime: Any,
        world: participation.World,
        attacking: attacks.Hparams,
        states: state_store.StateStore | None,
        meter: spending.Meter | None,
        auditor: auditing.Auditor | None,
        goal: goals.Goal | None,
    ):
        """Args as `training.train` has them; `states`, those of clients that keep one; and `goal`,
        after which no round comes, so that it is evaluated.
        """
        self._process, self._task, self._data, self._hparams = process, task, data, hparams
        self._runtime, self._attacking, self._states = runtime, attacking, states
        self._meter, self._auditor, self._goal = meter, auditor, goal
        self._cohorts = cohorts.participants(
            hparams, data, world, process, meter and meter.cohort_seed
        )
        self._evaluate_weights = evaluation.Evaluator(task, data.test)
        self._evaluate_personal = None
        if hparams.eval_personalized:
            self._evaluate_personal = personal_evaluation.PersonalEvaluator(
                process,
                task,
                data,
                runtime=runtime,
                num_clients=hparams.eval_personalized_clients,
                epochs=hparams.eval_personalized_epochs,
                learning_rate=hparams.eval_personalized_learning_rate,
                batch_size=hparams.batch_size,
                seed=hparams.seed,
            )

    def show_auditor(self, rows: Sequence[Row]) -> None:
        """Shows the auditor, where there is one, the rounds that were recorded before."""
        if not self._auditor:
            return
        ids = self._data.train.client_ids
        for row in rows:
            taken = self._cohorts.round(int(row["round"]))
            if not row.get("train/aborted"):
                uploads = [stages.first_missing(drops) > stages.UPLOAD for drops in taken.drops]
                self._auditor.observe(str(ids[c]) for c in taken.clients[uploads])

    def run(self, state: Any, round_num: int) -> tuple[Any, Row, dict[str, Row]]:
        """Runs one round.

        Args:
            state: The process' state after the round before.
            round_num: From 1.

        Returns:
            The new state, or the old one of a round that was aborted; the round's metrics; each
            client's metrics where clients were evaluated.

        Raises:
            ClientError: A client's work failed.
        """
        clock = [time.perf_counter()]

        def lap():
            clock.append(time.perf_counter())
            return clock[-1] - clock[-2]

        inputs, counted = self._draw(round_num)
        row: Row = {"round": round_num, **counted, "seconds/data": lap()}
        state, arrived, stepped = self._step(state, inputs, round_num)
        row |= {**stepped, "seconds/next": lap()}
        if self._meter is not None:
            row |= self._meter.spend(arrived)
        of_clients = {}
        is_last = self._goal is not None and self._goal.is_met(row)
        if is_last or due(round_num, self._hparams.eval_every, self._hparams.rounds):
            metrics, of_clients = self._evaluate(state, round_num)
            row |= {**metrics, "seconds/evaluation": lap()}
        row["seconds/round"] = clock[-1] - clock[0]
        return state, row, of_clients

    def _draw(self, round_num: int) -> tuple[list[clients.ClientInputs], Row]:
        """The round's clients, and how many there are of each kind."""
        hparams, attacking = self._hparams, self._attacking
        examples = getattr(self._process, "pooled_examples", None)
        if examples is not None:
            inputs = cohorts.pooled(
                hparams, self._task, self._data, round_num, num_examples=examples
            )
            return inputs, {"train/clients": 1, "train/dropouts": 0}
        inputs = cohorts.cohort(
            hparams,
            self._task,
            self._data,
            round_num,
            rounds=self._cohorts,
            attacking=attacking,
            canaries=self._auditor.canaries if self._auditor else {},
        )
        counted = {"train/clients": len(inputs)} | self._cohorts.round(round_num).metrics()
        if attacking.kind != "none":
            found = [attacks.attacks(attacking, c.client, seed=hparams.seed) for c in inputs]
            counted["train/attackers"] = sum(found)
        return inputs, counted

    def _step(self, state, inputs, round_num: int) -> tuple[Any, int | None, Row]:
        """The new state, how many clients' updates are in it (None: the round was aborted), and the
        step's metrics.
        """
        uploading = [client for client in inputs if client.uploads]
        if self._states is not None:
            self._states.begin(round_num)
        try:
            output, measured = self._runtime.next(
                self._process,
                state,
                inputs,
                seed=self._hparams.seed,
                round_num=round_num,
                client_states=self._states,
            )
        except stages.AbortedError as error:
            if hasattr(self._process, "passed"):
                state = self._process.passed(state)
            if self._states is not None:
                self._states.take_back()
            return state, None, {"train/aborted": 1, **error.metrics}
        sent = sum(len(client.data.order) for client in uploading)
        row = _train_metrics(output.metrics, sent) | measured
        if self._auditor:
            self._auditor.observe(client.client for client in uploading)
        return output.state, len(uploading) - row.get("train/dropped_clients", 0), row

    def _evaluate(self, state, round_num: int) -> tuple[Row, dict[str, Row]]:
        """The state's metrics, and each client's."""
        weights = self._process.get_model_weights(state)
        metrics, own = self._evaluate_weights(weights, clients=self._hparams.eval_clients)
        row = {f"test/{name}": value for name, value in metrics.items()}
        if self._auditor:
            row |= self._auditor.measure(weights.trainable)
        if self._evaluate_personal:
            metrics, others = self._evaluate_personal(state, round_num, self._states)
            row |= metrics
            own = {name: own.get(name, {}) | others.get(name, {}) for name in own | others}
        return row, own


def due(round_num: int, every: int, rounds: int) -> bool:
    """Whether what is done after each so many rounds (0: none), and after the last, is now."""
    return round_num == rounds or bool(every and round_num % every == 0)


def _train_metrics(metrics, sent: int) -> Row:
    """Scalars of TFF's metrics; an empty cohort has no losses, only the 0 that TFF makes of 0
    / 0.
    """
    train = dict(metrics["client_work"]["train"])
    if "num_examples" in train:
        # TFF drops a client whose update is not finite, its metrics with it, and says nothing.
        train["lost_examples"] = sent - int(train["num_examples"])
    if not train.get("num_examples", 1):
        train = {name: n for name, n in train.items() if name.endswith(("_examples", "_batches"))}
    train |= metrics.get("finalizer") or {}
    aggregator = metrics.get("aggregator") or {}
    return dict(_scalars("train", train)) | dict(_scalars("aggregator", aggregator))


def _scalars(name: str, value) -> Iterator[tuple[str, float]]:
    """The scalars of nested metrics, their names joined by slashes."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _scalars(f"{name}/{key}", inner)
    elif np.ndim(value) == 0 and np.asarray(value).dtype.kind in "biuf":
        yield name, np.asarray(value).item()
