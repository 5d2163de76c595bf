"""The loop: run a round, record it, checkpoint, resume.

State is a value: what a round needs is the state after the round before, the seed and the round's
number, so that a run that was killed goes on as if it had not been.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import tensorflow_federated as tff

from tff_experiments import (
    auditing,
    checkpoints,
    cohorts,
    goals,
    personal_evaluation,
    records,
    sampling,
    spending,
    training_rounds,
)
from tff_experiments.clients import attacks, participation, state_store
from tff_experiments.datasets import federated_data
from tff_experiments.runtime import client_round, native
from tff_experiments.tasks import task as task_lib


@dataclasses.dataclass(frozen=True)
class Hparams:
    """What all runs have."""

    rounds: int = 100
    """Rounds of training; a run that is resumed may have more."""
    clients_per_round: int = 10
    """Clients in a round (poisson: their expected number)."""
    client_sampling: Literal["uniform", "poisson", "round_robin", "weighted"] = "uniform"
    """How a round's clients are drawn; round_robin keeps a minimum separation, weighted is by
    examples.
    """
    client_epochs: int = 1
    """Passes of a client over its examples."""
    batch_size: int = 20
    """Examples per batch; 0 is one batch of all a client's examples."""
    max_examples_per_client: int = 0
    """A random subset of so many is used in a round; 0 is all."""
    seed: int = 0
    """Seed of initial weights, client sampling and shuffling."""
    eval_every: int = 10
    """Evaluate on the test set after each so many rounds, and after the last; 0 is only after the
    last.
    """
    stop_at: str = ""
    """METRIC>=VALUE or METRIC<=VALUE, as "test/accuracy>=0.99": ends the run after the round that
    meets it.
    """
    eval_clients: bool = False
    """Also report how the test metrics are spread over clients, and keep each client's of the last
    evaluation in clients.csv.
    """
    eval_personalized: bool = False
    """Also evaluate clients' own models, and the global one, on their own test data."""
    eval_personalized_clients: int = 0
    """So many clients, the same in all rounds; 0 is all that have test data."""
    eval_personalized_epochs: int = 1
    """Passes over a client's training data where its own model is a fine-tuned global one."""
    eval_personalized_learning_rate: float = 0.0
    """Of that fine-tuning; 0 is the clients' as scheduled for the next round."""
    checkpoint_every: int = 10
    """Checkpoint after each so many rounds, and after the last; 0 is only after the last."""

    def __post_init__(self):
        for name, least in (
            ("rounds", 1),
            ("clients_per_round", 1),
            ("client_epochs", 1),
            ("batch_size", 0),
            ("max_examples_per_client", 0),
            ("seed", 0),
            ("eval_every", 0),
            ("eval_personalized_clients", 0),
            ("eval_personalized_epochs", 0),
            ("eval_personalized_learning_rate", 0),
            ("checkpoint_every", 0),
        ):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}.")
        goals.parse(self.stop_at)


DIVERGED = "train/diverged"
"""1 in the row of the round whose numbers stopped the run."""


_KEEPS_WHAT_WAS_DONE = (
    KeyboardInterrupt,
    SystemExit,
    ValueError,
    client_round.ClientError,
    native.WorkerLostError,
)


class DivergedError(RuntimeError):
    """Training gave a number that is not finite."""


def check(hparams: Hparams, data: federated_data.FederatedData) -> None:
    """Raises ValueError where the data can't serve the hyperparameters."""
    sampling.sample(
        data.train.counts,
        hparams.clients_per_round,
        how=hparams.client_sampling,
        seed=hparams.seed,
        round_num=1,
    )
    if hparams.eval_clients and data.test.num_clients < 2:
        raise ValueError(
            f"--eval_clients: the test set of {data.label} is not divided into clients; leave "
            f"it out."
        )
    if hparams.eval_personalized:
        personal_evaluation.check(data)


def train(
    process: tff.learning.templates.LearningProcess,
    task: task_lib.Task,
    data: federated_data.FederatedData,
    hparams: Hparams,
    folder: records.RunFolder,
    *,
    runtime: Any,
    world: participation.World = cohorts.WELL_BEHAVED,
    attacking: attacks.Hparams = cohorts.NO_ATTACK,
    meter: spending.Meter | None = None,
    auditor: auditing.Auditor | None = None,
    on_round: Callable[[dict[str, float]], None] = lambda row: None,
) -> Any:
    """Runs the rounds that are left; none where an earlier one met the goal, `hparams.stop_at`.

    Args:
        process: What is run; its `next` takes client datasets of the task's batches.
        task: Gives the batches and the metrics.
        data: The clients.
        hparams: How long and how.
        folder: Where the run's files go; a run found there goes on.
        runtime: What runs the rounds, from a runtime's `use`.
        world: Which clients are there, and when they report or drop out; nobody's business where
            all data are one client's.
        attacking: Which clients attack, and how; as `world`.
        meter: Counts what rounds spend of privacy.
        auditor: Knows the canaries, and looks for them.
        on_round: Called with each round's metrics.

    Returns:
        The state after the last round.

    Raises:
        ClientError: A client's work failed; the rounds before are kept in a checkpoint.
        WorkerLostError: TFF's worker process ended; as above.
        DivergedError: A loss or an update is not finite; the last good checkpoint stays.
        ValueError: A private run can't go on so; see `spending.Meter.claim`.
        OSError: The files can't be written; the checkpoints that are there stay.
        ValueError: Evaluations do not have the goal's metric; as above.
    """
    first, state = checkpoints.load_latest(folder.checkpoints, process.initialize())
    before = records.read_metrics(folder.path)
    if meter is not None:
        meter.claim(folder.path, first, int(before[-1]["round"]) if before else 0)
    kept = folder.restart_after(first)
    if any(row.get(goals.MET) for row in kept):
        return state
    goal = goals.parse(hparams.stop_at)
    states = _states(process, folder, first)
    rounds = training_rounds.Rounds(
        process, task, data, hparams, runtime=runtime, world=world, attacking=attacking,
        states=states, meter=meter, auditor=auditor, goal=goal,
    )  # fmt: skip
    rounds.show_auditor(kept)
    # A round and its state change together: an interrupt may come between any two lines.
    done = first, state
    try:
        for round_num in range(first + 1, hparams.rounds + 1):
            state, row, of_clients = rounds.run(done[1], round_num)
            is_met = _is_met(goal, row)
            bad = _not_finite(row)
            marks = {goals.MET: is_met, DIVERGED: bool(bad)}
            record = row | {name: 1 for name, there in marks.items() if there}, of_clients
            if meter is not None and not bad:
                # Nobody sees a private round that a resumed run would draw anew.
                folder.prepare(*record)
                done = round_num, state
                _checkpoint(folder, *done, states)
            folder.record(*record)
            on_round(row)
            _check_finite(bad, round_num, folder)
            done = round_num, state
            due = is_met or training_rounds.due(round_num, hparams.checkpoint_every, hparams.rounds)
            if meter is None and due:
                _checkpoint(folder, *done, states)
            if is_met:
                break
    except _KEEPS_WHAT_WAS_DONE:
        if done[0] not in (0, *checkpoints.rounds(folder.checkpoints)):
            _checkpoint(folder, *done, states)
        raise
    return done[1]


def _states(process, folder: records.RunFolder, first: int) -> state_store.StateStore | None:
    """The clients' states after round `first`, for a process whose clients keep one."""
    if getattr(process, "client_state", None) is None:
        return None
    states = state_store.StateStore(folder.path / "client_states", process.client_state)
    states.restart_after(first)
    return states


def _is_met(goal: goals.Goal | None, row: dict[str, float]) -> bool:
    """Whether the run is to end; raises ValueError where no round could ever say so."""
    if goal is None:
        return False
    # A round without examples lacks what clients report.
    whole = row.get("train/num_examples", 1) > 0 and not row.get("train/aborted")
    if "test/loss" in row and goal.metric not in row and whole:
        known = ", ".join(sorted(name for name in row if name.startswith(("test/", "personal/"))))
        raise ValueError(
            f"--stop_at: there is no {goal.metric}; evaluations have {known}, and rounds what "
            f"metrics.jsonl shows."
        )
    return goal.is_met(row)


def _not_finite(row: dict[str, float]) -> list[str]:
    """What of a round became infinite or NaN."""
    bad = [name for name, value in row.items() if not math.isfinite(value)]
    if row.get("train/lost_examples") and not row["train/num_examples"]:
        bad.append("the update of every client")
    if row.get("train/update_non_finite"):
        bad.append("the model update")
    return bad


def _check_finite(bad: list[str], round_num: int, folder: records.RunFolder) -> None:
    if bad:
        kept = checkpoints.rounds(folder.checkpoints)
        raise DivergedError(
            f"round {round_num}: {' and '.join(bad)} became infinite or NaN; a lower "
            f"learning rate is the usual cure. "
            f"The last good checkpoint is {f'of round {kept[-1]}' if kept else 'the start'}, in "
            f"{folder.path}."
        )


def _checkpoint(folder: records.RunFolder, round_num: int, state: Any, states) -> None:
    folder.sync()
    if states is not None:
        states.sync()
    checkpoints.save(folder.checkpoints, round_num, state)
    if states is not None:
        states.drop_before(checkpoints.rounds(folder.checkpoints)[0])
