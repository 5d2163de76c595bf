"""A question about privacy in knobs, and its answer: for what can be known before any training."""

import dataclasses
import math
from typing import Literal

from tff_experiments.privacy import (
    accountants,
    budget,
    distributed,
    mechanisms,
    participation,
    quantization,
)

_DISTRIBUTED = ("discrete_gaussian", "skellam")


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of a run that cost privacy."""

    mechanism: Literal[
        "gaussian",
        "adaptive_clipping",
        "tree_aggregation",
        "banded_factorization",
        "discrete_gaussian",
        "skellam",
        "local_gaussian",
    ] = "gaussian"
    """Where noise is added."""
    num_clients: int = 3400
    """Clients there are."""
    rounds: int = 100
    """Rounds of training."""
    clients_per_round: int = 100
    """Clients in a round (poisson: their expected number)."""
    client_sampling: Literal["poisson", "uniform", "round_robin", "weighted"] = "poisson"
    """How a round's clients are drawn."""
    neighbours: Literal["removed", "replaced", "published"] = "removed"
    """uniform: epsilon is for data without a client, or with another in its place; poisson,
    distributed noise: counted as published, as if nobody saw the cohort's size.
    """
    noise_multiplier: float = 1.0
    """Standard deviation of the noise over the clip; without a target epsilon."""
    clip: float = 1.0
    """L2 norm of a client's update, at most."""
    delta: float = 0.0
    """At which epsilon is meant; 0 is 1 / num_clients."""
    accountant: Literal[tuple(accountants.BY_NAME)] = "rdp"
    """Renyi DP, the same at integer orders only (as published with distributed noise), or privacy
    loss distributions.
    """
    count_stddev: float = 0.0
    """adaptive_clipping: noise in the count of the unclipped; 0 is clients_per_round / 20."""
    restart_every: int = 0
    """tree_aggregation: rounds of a tree; 0 is as long as no client comes twice."""
    bands: int = 0
    """banded_factorization: rounds over which noise is correlated; 0 is as many as can be."""
    bits: int = 16
    """discrete_gaussian, skellam: of the modulus."""
    dim: int = 2**20
    """discrete_gaussian, skellam: weights of the model; padded to a power of two."""
    beta: float = math.exp(-0.5)
    """discrete_gaussian, skellam: tightness of conditional rounding, in [0, 1)."""
    k_stddevs: float = 4.0
    """discrete_gaussian, skellam: standard deviations of the sum that fit the modulus."""
    expected_dropout: float = 0.0
    """discrete_gaussian, skellam: share of clients for whose noise the others make up."""
    dropout: float = 0.0
    """discrete_gaussian, skellam: share of clients that really drop out, with their noise."""

    def __post_init__(self):
        for name in ("num_clients", "rounds", "clients_per_round", "dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}.")
        for name in ("restart_every", "bands"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be >= 0, got {getattr(self, name)}.")
        if not 0 < self.clip < math.inf:
            raise ValueError(f"clip must be > 0, got {self.clip}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}.")


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a plan spends."""

    budget: budget.Budget
    """With the noise that was given or found."""
    planned: float
    """Epsilon if all goes as expected."""
    actual: float
    """Epsilon if `dropout` of the clients drop out in each round."""


def build(hparams: Hparams) -> budget.Budget:
    """Makes the budget; raises ValueError for what can't be."""
    how = participation.from_sampling(
        hparams.client_sampling,
        num_clients=hparams.num_clients,
        clients_per_round=hparams.clients_per_round,
        neighbours=hparams.neighbours,
    )
    return budget.Budget(
        _mechanism(hparams, how),
        how,
        hparams.delta or 1 / hparams.num_clients,
        accountants.BY_NAME[hparams.accountant],
    )


def answer(hparams: Hparams, target_epsilon: float | None = None) -> Answer:
    """Epsilon for the noise, or where there is a target the noise for it, and what it spends.

    Raises:
        ValueError: The plan can't be, or no noise meets the target; with the reason.
    """
    if target_epsilon is None:
        plan = build(hparams)
    else:
        # The noise is yet to be found, and what was given for it may not do.
        plan = build(dataclasses.replace(hparams, noise_multiplier=budget.LEAST_NOISE))
        plan = budget.calibrate(plan, target_epsilon, rounds=hparams.rounds)
    planned = actual = plan.planned(hparams.rounds)
    if isinstance(plan.mechanism, distributed.Distributed):
        arrived = quantization.expected_arrivals(hparams.clients_per_round, hparams.dropout)
        actual = plan.spent([arrived] * hparams.rounds)
    return Answer(plan, planned, actual)


def _mechanism(hparams: Hparams, how: participation.Participation):
    if hparams.neighbours == "published" and hparams.mechanism not in _DISTRIBUTED:
        raise ValueError(
            f"neighbours=published is for distributed noise, not for {hparams.mechanism}."
        )
    separation = getattr(how, "separation", 1)
    z = hparams.noise_multiplier
    if hparams.mechanism in _DISTRIBUTED:
        return distributed.Distributed(
            noise=hparams.mechanism,
            noise_multiplier=z,
            clip=hparams.clip,
            num_clients=hparams.clients_per_round,
            dim=quantization.padded_dim(hparams.dim),
            bits=hparams.bits,
            beta=hparams.beta,
            k_stddevs=hparams.k_stddevs,
            expected_dropout=hparams.expected_dropout,
        )
    by_name = {
        "gaussian": lambda: mechanisms.Gaussian(z),
        "adaptive_clipping": lambda: mechanisms.AdaptiveClipping(
            z, hparams.count_stddev or hparams.clients_per_round / 20
        ),
        "tree_aggregation": lambda: mechanisms.TreeAggregation(
            z, hparams.restart_every or separation
        ),
        "banded_factorization": lambda: mechanisms.BandedFactorization(
            z, hparams.bands or separation
        ),
        "local_gaussian": lambda: mechanisms.LocalGaussian(z),
    }
    return by_name[hparams.mechanism]()
