"""How clients come to rounds, as far as privacy is concerned: frozen data, one class a rule.

Poisson           each client with its own coin: amplification by Poisson sampling
FixedSize         so many of all, without replacement: whoever comes pushes another out
MinSeparation     a client's rounds are at least so far apart: no amplification, few participations
DataDependent     who comes depends on the data: no rule
"""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Poisson:
    """Each client takes part with probability `clients_per_round / num_clients`, independently."""

    num_clients: int
    """Clients there are."""
    clients_per_round: float
    """Expected cohort."""
    cohort_is_hidden: bool = False
    """Distributed noise alone: takes it that nobody sees how many came, as its papers do, though
    the noise, which grows with the cohort, shows it.
    """

    def __post_init__(self):
        _check(self.num_clients, self.clients_per_round)


@dataclasses.dataclass(frozen=True)
class FixedSize:
    """A uniformly random subset of fixed size, drawn anew each round."""

    num_clients: int
    """Clients there are."""
    clients_per_round: int
    """Cohort."""
    neighbours: Literal["removed", "replaced"] = "removed"
    """Whether a neighbour is without a client, or has another in its place: the stronger."""

    def __post_init__(self):
        _check(self.num_clients, self.clients_per_round)


@dataclasses.dataclass(frozen=True)
class MinSeparation:
    """Any two rounds of a client are at least `separation` apart; who comes is public."""

    separation: int
    """Rounds from one participation to the next, >= 1; 1 is no restriction."""

    def __post_init__(self):
        if self.separation < 1:
            raise ValueError(f"separation must be >= 1, got {self.separation}.")


@dataclasses.dataclass(frozen=True)
class DataDependent:
    """The cohort depends on what clients hold, as their numbers of examples."""


Participation = Poisson | FixedSize | MinSeparation | DataDependent


def from_sampling(
    how: str,
    *,
    num_clients: int,
    clients_per_round: int,
    neighbours: Literal["removed", "replaced", "published"] = "removed",
) -> Participation:
    """What the accountant may assume of a run's client sampling.

    Args:
        how: "poisson", "uniform" (without replacement), "round_robin" (a fixed shuffled order,
            taken in turn) or "weighted" (in proportion to examples).
        num_clients: Clients there are.
        clients_per_round: Clients drawn; the expectation under "poisson".
        neighbours: See `FixedSize`; "published" is `Poisson.cohort_is_hidden`.

    Raises:
        ValueError: An unknown `how`, or a cohort that is not in 1 .. `num_clients`.
    """
    _check(num_clients, clients_per_round)
    rules = {
        "poisson": lambda: Poisson(num_clients, clients_per_round, neighbours == "published"),
        "uniform": lambda: FixedSize(num_clients, clients_per_round, neighbours),
        # The order is a circle, and its length no multiple of the cohort.
        "round_robin": lambda: MinSeparation(num_clients // clients_per_round),
        "weighted": DataDependent,
    }
    if how not in rules:
        raise ValueError(f"client_sampling must be one of {sorted(rules)}, got {how!r}.")
    if neighbours == "published" and how != "poisson":
        raise ValueError("neighbours=published is how papers account for client_sampling=poisson.")
    return rules[how]()


def _check(num_clients: int, clients_per_round: float) -> None:
    if not 0 < clients_per_round <= num_clients:
        raise ValueError(
            f"clients_per_round must be in 1 .. {num_clients}, the number of clients, "
            f"got {clients_per_round}."
        )
