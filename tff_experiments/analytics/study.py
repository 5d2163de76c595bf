"""One question, asked of clients in rounds: who comes, what it costs, what comes out."""

import dataclasses
import secrets
import time

import numpy as np

from tff_experiments import sampling
from tff_experiments.analytics import answers, questions
from tff_experiments.clients import participation
from tff_experiments.privacy import rules
from tff_experiments.runtime import clients, local


@dataclasses.dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        answer: None where every round was aborted.
        lines: How it went, (name, text).
        metrics: One dict a round, as the runtime reports it.
    """

    answer: answers.Answer | None
    lines: list[tuple[str, str]]
    metrics: list[dict[str, float]]


def ask(
    study: questions.Study,
    context: local.Context,
    world: participation.World,
    *,
    repeatable: bool = False,
) -> Result:
    """Asks, and counts what it costs.

    Args:
        study: What is asked.
        context: The runtime, with the secure sum that it was given.
        world: How clients behave.
        repeatable: Whether who comes is a function of the seed where there is privacy, too: then
            there is none, for whoever knows the seed knows who was in no round.

    Raises:
        ValueError: The world is none that an accountant covers.
    """
    hparams, held = study.hparams, study.held
    _check_world(study, world)
    is_secret = _is_private(study) and not repeatable
    seed = secrets.randbits(128) if is_secret else hparams.seed
    rounds = participation.Participation(
        world, held.clients, held.counts, num_clients=hparams.clients_per_round,
        how=hparams.client_sampling, examples=held.counts, seed=seed,
    )  # fmt: skip
    context.check(study.process)
    state = study.process.initialize()
    outputs, metrics, came = [], [], []
    start = time.perf_counter(), time.process_time()
    for round_num in range(1, hparams.rounds + 1):
        inputs = _inputs(study, rounds.round(round_num), round_num)
        row: dict[str, float] = {"clients": len(inputs)}
        row["uploaded"] = sum(client.uploads for client in inputs)
        try:
            (state, output), row_ = context.next(
                study.process, state, inputs, seed=hparams.seed, round_num=round_num
            )
            outputs.append(output)
            arrived = row["uploaded"] - row_.get("train/dropped_clients", 0)
        except local.RoundAborted as error:
            row_, arrived = {**error.metrics, "aborted": 1}, None
        row |= row_
        came.append(rules.ABORTED if arrived is None else int(arrived))
        if study.budget is not None:
            row["privacy/epsilon"] = study.budget.spent(came)
        metrics.append(row)
        if study.query.is_done(state):
            break
    answer = study.query.answer(state, outputs, study.summed) if outputs else None
    if answer is not None and study.sampled is not None:
        # The theorem is of what was found, not of votes.
        answer = dataclasses.replace(answer, estimates=np.full(len(answer.names), np.nan))
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    return Result(answer, _lines(study, metrics, seconds), metrics)


def _is_private(study: questions.Study) -> bool:
    return study.budget is not None or study.sampled is not None


def _check_world(study: questions.Study, world: participation.World) -> None:
    if not _is_private(study):
        return
    if dataclasses.replace(world, dropping=participation.World().dropping) != participation.World():
        raise ValueError(
            "no accountant covers clients who are away at known times, over-selection or "
            "deadlines; leave them out, or take --mechanism=none."
        )


def _inputs(
    study: questions.Study, taken: participation.Round, round_num: int
) -> list[clients.ClientInputs]:
    seed = study.hparams.seed
    return [
        clients.ClientInputs(
            study.query.client_value(
                int(client), sampling.client_rng(seed, round_num, int(client))
            ),
            client=study.held.clients[client],
            drops=drops,
        )
        for client, drops in zip(taken.clients, taken.drops, strict=True)
    ]


def _lines(
    study: questions.Study, metrics: list[dict[str, float]], seconds: tuple[float, float]
) -> list[tuple[str, str]]:
    """How it went, in words."""
    mean = lambda name: float(np.mean([row[name] for row in metrics if name in row] or [0]))
    aborted = sum(row.get("aborted", 0) for row in metrics)
    asked = f"{len(metrics)} of {len(study.held.clients):,} clients, {mean('clients'):,.4g} a round"
    lines = [("rounds", f"{asked}, {mean('uploaded'):,.4g} of them in the sum")]
    if aborted:
        lines.append(("aborted", f"{aborted} rounds: too few clients were left"))
    lines.append(("seconds", f"{seconds[0]:.3g}, {seconds[1]:.3g} of the CPU"))
    if any("secure_sum/server_seconds" in row for row in metrics):
        sent = mean("secure_sum/upload_bytes_per_client") / 1e3
        took = mean("secure_sum/server_seconds"), mean("secure_sum/seconds_per_client")
        text = f"{sent:,.4g} kB up, {took[1]:.3g} s a client, {took[0]:.3g} s server a round"
        lines.append(("secure sum", text))
    if (budget := study.budget) is not None:
        text = f"{metrics[-1]['privacy/epsilon']:.4g} at delta {budget.delta:.3g}"
        planned = budget.planned(study.hparams.rounds)
        lines.append(("epsilon", f"{text}, {planned:.4g} were planned"))
        lines.append(("it holds where", budget.relation))
    if study.sampled is not None:
        s = study.sampled
        lines.append(("epsilon", f"{s.epsilon:.4g} at delta {s.delta:.3g}, of the words alone"))
        lines.append(("it holds where", "a client's words are others, and nobody knows who came"))
    return lines
