"""A question with its privacy: the query, how it is asked, and the noise that this takes.

The privacy of a query is that of its sums: the mechanism is calibrated for the bounds of a client's
vector (`bounds` of the query) and the rounds, as an aggregator's is for those of an update. What
has no accountant is refused before anything runs.
"""

import dataclasses
from typing import Any, Literal

from tff_experiments import spending
from tff_experiments.analytics import sums, values
from tff_experiments.privacy import budget as budgets
from tff_experiments.privacy import quantization, sample_and_threshold

SAMPLING = "sampling"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of asking."""

    rounds: int = 1
    """Rounds; queries that need a number of their own take that."""
    clients_per_round: int = 0
    """Clients in a round (poisson: their expected number); 0 is all."""
    client_sampling: Literal["poisson", "uniform", "round_robin", "weighted"] = "round_robin"
    """How a round's clients are drawn; round_robin: in turn, which hides nobody and costs least
    where all are asked once.
    """
    seed: int = 0
    """Of which values a client brings, of zipf's words, and of who comes where nothing is private;
    not of noise.
    """
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
        budget: What is spent of, or None.
        sampled: TrieHH's privacy without noise, or None.
    """

    query: Any
    process: Any
    summed: sums.Sum
    hparams: Hparams
    held: values.Values
    budget: budgets.Budget | None = None
    sampled: sample_and_threshold.SampleAndThreshold | None = None


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
    if not private and (shared != spending.Hparams() or hparams.noise_multiplier != 1):
        raise ValueError(
            "--noise_multiplier, --target_epsilon, --delta, --accountant and --neighbours are for "
            f"a --mechanism with noise: {', '.join(sums.MECHANISMS[1:])}."
        )
    query = module.build(own, held, private=private)
    if private and query.refuses:
        raise ValueError(f"--query={name}: {query.refuses}.")
    cohort = hparams.clients_per_round or len(held.clients)
    rounds = _rounds(name, query, hparams)
    hparams = dataclasses.replace(hparams, clients_per_round=cohort, rounds=rounds)
    if not private:
        return _study(query, held, hparams, None)
    budget = spending.make_budget(shared, _plan(query, held, hparams, shared))
    return _study(query, held, hparams, budget.mechanism, budget=budget)


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
