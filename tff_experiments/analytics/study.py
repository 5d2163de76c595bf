"""One query, asked of clients in rounds: who comes, what it costs, what comes out.

The privacy of a query is that of its sums: the mechanism is calibrated for the bounds of a client's
vector (`Query.bounds`) and the rounds, as an aggregator's is for those of an update, and counted by
the same `spending.Meter`. What has no accountant is refused before anything runs.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from tff_experiments import sampling, spending
from tff_experiments.analytics import answers, sums, values
from tff_experiments.clients import participation
from tff_experiments.privacy import quantization, sample_and_threshold
from tff_experiments.runtime import clients, local

SAMPLING = "sampling"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of asking."""

    rounds: int = 1
    """Rounds; queries that need a number of their own take that."""
    clients_per_round: int = 0
    """Clients in a round (poisson: their expected number); 0 is all."""
    client_sampling: Literal["poisson", "uniform", "round_robin", "weighted"] = "poisson"
    """How a round's clients are drawn."""
    seed: int = 0
    """Of who comes, of which of its values a client brings, of zipf's words; not of noise."""
    mechanism: Literal[(*sums.MECHANISMS, SAMPLING)] = "none"
    """Differential privacy: where noise is added, or TrieHH's sampling without noise."""
    noise_multiplier: float = 1.0
    """Standard deviation of the noise in a round's sum (local_gaussian: of each client's) over the
    largest norm of a client's vector; without --target_epsilon.
    """
    bits: int = 16
    """discrete_gaussian, skellam: of the modulus, 8 to 24."""
    beta: float = 0.6065306597126334
    """discrete_gaussian, skellam: tightness of conditional rounding, in [0, 1)."""
    k_stddevs: float = 4.0
    """discrete_gaussian, skellam: standard deviations of the sum that fit the modulus."""
    expected_dropout: float = 0.0
    """Share of clients that estimates, and shares of noise, do not count on."""

    def __post_init__(self):
        if self.rounds < 1 or self.clients_per_round < 0:
            raise ValueError(
                f"rounds must be >= 1 and clients_per_round >= 0, got {self.rounds}, "
                f"{self.clients_per_round}."
            )
        if not 8 <= self.bits <= 24:
            raise ValueError(f"bits must be in 8 .. 24, got {self.bits}.")
        if not self.noise_multiplier > 0:
            raise ValueError(f"noise_multiplier must be > 0, got {self.noise_multiplier}.")
        quantization.expected_arrivals(1, self.expected_dropout)


@dataclasses.dataclass(frozen=True)
class Study:
    """A query that is ready to be asked.

    Attributes:
        query: Of `analytics.BY_NAME`, built.
        process: Its TFF process.
        summed: How its vectors are summed.
        hparams: With rounds and clients per round as they are.
        meter: Counts what is spent, or None.
        sampled: TrieHH's privacy without noise, or None.
    """

    query: Any
    process: Any
    summed: sums.Sum
    hparams: Hparams
    held: values.Values
    meter: spending.Meter | None = None
    sampled: sample_and_threshold.SampleAndThreshold | None = None


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


def prepare(
    name: str,
    module: Any,
    own: Any,
    held: values.Values,
    hparams: Hparams,
    shared: spending.Hparams,
) -> Study:
    """Builds query, noise and process.

    Args:
        name: The query's.
        module: The query's.
        own: Its `Hparams`.
        held: The clients' values.
        hparams: How it is asked.
        shared: Target and accountant.

    Raises:
        ValueError: It can't be asked so, no accountant covers it, or no noise meets the target.
    """
    if hparams.mechanism == SAMPLING:
        return _prepare_sampling(name, module, own, held, hparams, shared)
    private = hparams.mechanism != "none"
    if not private and shared != spending.Hparams():
        raise ValueError(
            "--target_epsilon, --delta, --accountant and --neighbours are for a --mechanism with "
            f"noise: {', '.join(sums.MECHANISMS[1:])}."
        )
    query = module.build(own, held, private=private)
    if private and query.refuses:
        raise ValueError(f"--query={name}: {query.refuses}.")
    cohort = hparams.clients_per_round or len(held.clients)
    rounds = _rounds(name, query, hparams)
    hparams = dataclasses.replace(hparams, clients_per_round=cohort, rounds=rounds)
    meter, mechanism = None, None
    if private:
        budget = spending.make_budget(shared, _plan(query, held, hparams, shared))
        meter, mechanism = spending.Meter(budget, rounds), budget.mechanism
    return _study(query, held, hparams, mechanism, meter=meter)


def _rounds(name: str, query: Any, hparams: Hparams) -> int:
    if query.rounds and hparams.rounds not in (1, query.rounds):
        raise ValueError(
            f"--query={name} takes {query.rounds} rounds by its own flags; leave --rounds="
            f"{hparams.rounds} out."
        )
    return query.rounds or hparams.rounds


def _plan(query: Any, held: values.Values, hparams: Hparams, shared: spending.Hparams):
    distributed = ("bits", "beta", "k_stddevs", "expected_dropout")
    asked = {"mechanism": hparams.mechanism, "noise_multiplier": hparams.noise_multiplier}
    if hparams.mechanism in ("discrete_gaussian", "skellam"):
        asked |= {name: getattr(hparams, name) for name in distributed}
    return spending.make_plan(
        shared,
        asked | {"clip": query.bounds.l2_norm},
        num_clients=len(held.clients),
        clients_per_round=hparams.clients_per_round,
        client_sampling=hparams.client_sampling,
        rounds=hparams.rounds,
        dim=query.bounds.dim,
    )


def _study(query: Any, held: values.Values, hparams: Hparams, mechanism: Any, **more) -> Study:
    arrivals = quantization.expected_arrivals(hparams.clients_per_round, hparams.expected_dropout)
    summed = sums.Sum(query.bounds, mechanism, num_clients=len(held.clients), arrivals=arrivals)
    return Study(query, query.process(summed), summed, hparams, held, **more)


def _prepare_sampling(name, module, own, held, hparams: Hparams, shared: spending.Hparams) -> Study:
    """TrieHH's privacy without noise: the threshold, and how many come."""
    if name != "trie_hh":
        raise ValueError(
            f"--mechanism=sampling is for --query=trie_hh: the answer of --query={name} tells of "
            f"a single client however few come; take noise."
        )
    if hparams.client_sampling != "uniform":
        raise ValueError(
            f"--mechanism=sampling is proven for cohorts of fixed size; take "
            f"--client_sampling=uniform, not {hparams.client_sampling}."
        )
    clients_, rounds = len(held.clients), own.max_letters + 1
    if shared.target_epsilon:
        if own.threshold or hparams.clients_per_round:
            raise ValueError(
                "--target_epsilon finds --trie_hh_threshold and --clients_per_round; leave them "
                "out."
            )
        sampled = sample_and_threshold.calibrate(
            shared.target_epsilon,
            delta=shared.delta or 1 / clients_,
            num_clients=clients_,
            rounds=rounds,
        )
    else:
        if own.threshold != int(own.threshold):
            raise ValueError(f"trie_hh_threshold must be whole, got {own.threshold}.")
        sampled = sample_and_threshold.SampleAndThreshold(
            clients_, hparams.clients_per_round or clients_, int(own.threshold), rounds
        )
    query = module.build(
        dataclasses.replace(own, threshold=float(sampled.threshold)), held, private=True
    )
    hparams = dataclasses.replace(
        hparams, clients_per_round=sampled.clients_per_round, rounds=rounds
    )
    return _study(query, held, hparams, None, sampled=sampled)


def ask(
    study: Study,
    context: local.Context,
    world: participation.World,
    on_round: Callable[[int], None] = lambda round_num: None,
) -> Result:
    """Asks, and counts what it costs.

    Args:
        study: What is asked.
        context: The runtime, with the secure sum that it was given.
        world: How clients behave.
        on_round: Called with the number of each round that is over.

    Raises:
        ValueError: The world is none that an accountant covers.
    """
    hparams, held = study.hparams, study.held
    _check_world(study, world)
    rounds = participation.Participation(
        world, held.clients, held.counts, num_clients=hparams.clients_per_round,
        how=hparams.client_sampling, examples=held.counts, seed=hparams.seed,
    )  # fmt: skip
    context.check(study.process)
    state = study.process.initialize()
    outputs, metrics = [], []
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
        if study.meter is not None:
            row |= study.meter.spend(arrived)
        metrics.append(row)
        on_round(round_num)
        if study.query.is_done(state):
            break
    answer = study.query.answer(state, outputs, study.summed) if outputs else None
    if answer is not None and study.sampled is not None:
        # The theorem is of what was found, not of votes.
        answer = dataclasses.replace(answer, estimates=np.full(len(answer.names), np.nan))
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    return Result(answer, _lines(study, metrics, seconds), metrics)


def _check_world(study: Study, world: participation.World) -> None:
    if study.meter is None and study.sampled is None:
        return
    if dataclasses.replace(world, dropping=participation.World().dropping) != participation.World():
        raise ValueError(
            "no accountant covers clients who are away at known times, over-selection or "
            "deadlines; leave them out, or take --mechanism=none."
        )


def _inputs(study: Study, taken: participation.Round, round_num: int) -> list[clients.ClientInputs]:
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
    study: Study, metrics: list[dict[str, float]], seconds: tuple[float, float]
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
    if study.meter is not None:
        row, meter = metrics[-1], study.meter
        text = f"{row['privacy/epsilon']:.4g} at delta {row['privacy/delta']:.3g}"
        lines.append(("epsilon", f"{text}, {meter.planned:.4g} were planned"))
        lines.append(("it holds where", meter.budget.relation))
    if study.sampled is not None:
        s = study.sampled
        lines.append(("epsilon", f"{s.epsilon:.4g} at delta {s.delta:.3g}, of the words alone"))
        lines.append(("it holds where", "a client's words are others, and nobody knows who came"))
    return lines
