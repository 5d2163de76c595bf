"""Which event a mechanism is under a participation, and between which neighbours; or a refusal.

|                     | Poisson        | fixed size       | min separation b   |
|---------------------|----------------|------------------|--------------------|
| server's Gaussian   | amplified;     | amplified; add or| once in b rounds;  |
|                     | add or remove  | remove, replace  | replace by nothing |
| distributed         | as fixed size  | the same         | the same           |
| tree, banded        | -              | -                | b rounds or less   |
| local               | every round    | every round      | once in b rounds   |

A client that is replaced by another moves a sum by up to 2 C, one that is taken out or replaced by
a zero by C: `dp_accounting` leaves it to the caller to say so in the noise multiplier. A cohort of
fixed size has another client in the place of one that is taken out. So the sum is a mixture, with
weight q, of sums 2 C apart, which is what Poisson sampling is with noise of z / 2 (Zhu, Dong, Wang,
AISTATS 2022, https://arxiv.org/abs/2106.08567).

Distributed noise grows with the cohort, which its sum shows: given the size m, a Poisson cohort is
one of fixed size, drawn at rate m / n (or more, where clients dropped out: the expected rate at
least is taken), and a client that is not in it has another in its place.
`Poisson.cohort_is_hidden` counts as published instead: at the expected rate, one client apart.

Rounds are given as a sequence with one number each: how many clients' noise is in the sum that was
released, or `ABORTED` where none was. Distributed noise needs the count; else it is not looked at.
"""

import collections
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import dp_accounting

from tff_experiments.privacy import distributed, mechanisms, participation

ABORTED = -1
Event = dp_accounting.DpEvent
Relation = dp_accounting.NeighboringRelation
Mechanism = (
    mechanisms.Gaussian
    | mechanisms.AdaptiveClipping
    | mechanisms.TreeAggregation
    | mechanisms.BandedFactorization
    | mechanisms.LocalGaussian
    | distributed.Distributed
)
_CORRELATED = mechanisms.TreeAggregation | mechanisms.BandedFactorization


class Rule(NamedTuple):
    """What an accountant is told."""

    event: Event
    relation: Relation


def of_rounds(
    mechanism: Mechanism, how: participation.Participation, arrived: Sequence[int]
) -> Rule:
    """What all rounds so far are to an accountant.

    Args:
        mechanism: What is noised.
        how: How clients come to rounds.
        arrived: For each round the clients whose noise is in the released sum, or `ABORTED`.

    Raises:
        ValueError: There is no rule for it; the message has the way out.
    """
    if isinstance(mechanism, mechanisms.LocalGaussian):
        return Rule(_local(mechanism, how, arrived), Relation.REPLACE_ONE)
    if isinstance(how, participation.DataDependent):
        raise ValueError(
            "no accountant covers clients drawn by their numbers of examples, for who comes then "
            "tells of the data; take client_sampling poisson, uniform or round_robin."
        )
    if isinstance(mechanism, _CORRELATED):
        return Rule(_correlated(mechanism, how, arrived), Relation.REPLACE_SPECIAL)
    if isinstance(how, participation.MinSeparation):
        return Rule(_separated(mechanism, how.separation, arrived), Relation.REPLACE_SPECIAL)
    if isinstance(how, participation.FixedSize) and how.neighbours == "replaced":
        sampled = lambda m: dp_accounting.SampledWithoutReplacementDpEvent(
            how.num_clients, how.clients_per_round, mechanism.event(m, sensitivity=2)
        )
        return Rule(_each(sampled, _released(mechanism, arrived)), Relation.REPLACE_ONE)
    is_seen = isinstance(mechanism, distributed.Distributed) and not getattr(
        how, "cohort_is_hidden", True
    )
    moved = 2 if is_seen or isinstance(how, participation.FixedSize) else 1
    sampled = lambda m: dp_accounting.PoissonSampledDpEvent(
        min(
            1.0,
            (max(m, how.clients_per_round) if is_seen else how.clients_per_round) / how.num_clients,
        ),
        mechanism.event(m, sensitivity=moved),
    )
    return Rule(_each(sampled, _released(mechanism, arrived)), Relation.ADD_OR_REMOVE_ONE)


def _released(mechanism: Mechanism, arrived: Sequence[int]) -> list[int]:
    """The rounds that cost something: a sum of nobody's integers tells nothing."""
    least = 1 if isinstance(mechanism, distributed.Distributed) else 0
    return [m for m in arrived if m >= least]


def _each(event_of, arrived: Iterable[int]) -> Event:
    """One event a round, equal ones together."""
    counts = collections.Counter()
    for m, rounds in collections.Counter(arrived).items():
        counts[event_of(m)] += rounds
    return dp_accounting.ComposedDpEvent(
        [dp_accounting.SelfComposedDpEvent(event, count) for event, count in counts.items()]
    )


def _separated(mechanism: Mechanism, separation: int, arrived: Sequence[int]) -> Event:
    """A client is in one round of `separation` in a row at most: the one with the least noise."""
    blocks = [
        _released(mechanism, arrived[i : i + separation])
        for i in range(0, len(arrived), separation)
    ]
    return _each(lambda m: mechanism.event(m, sensitivity=1), [min(b) for b in blocks if b])


def _local(mechanism, how: participation.Participation, arrived: Sequence[int]) -> Event:
    # The server sees who sent what: without a pattern that is known, it may be anyone each time.
    separation = how.separation if isinstance(how, participation.MinSeparation) else 1
    blocks = [arrived[i : i + separation] for i in range(0, len(arrived), separation)]
    some = [0 for block in blocks if any(m != ABORTED for m in block)]
    return _each(lambda m: mechanism.event(m, sensitivity=2), some)


def _correlated(mechanism, how: participation.Participation, arrived: Sequence[int]) -> Event:
    """Noise that is shared between rounds: a client must not come twice within a tree or band."""
    if not isinstance(how, participation.MinSeparation):
        raise ValueError(
            "noise that is correlated over rounds needs clients that come at known distances; "
            "take client_sampling round_robin."
        )
    tree = isinstance(mechanism, mechanisms.TreeAggregation)
    steps = sum(m != ABORTED for m in arrived)
    span = (mechanism.restart_every or steps) if tree else mechanism.bands
    apart = how.separation - _most_aborted(arrived, how.separation)
    if min(span, steps) > apart:
        raise ValueError(
            f"noise is correlated over {min(span, steps)} rounds, and a client may come again "
            f"after {apart}, of rounds whose sum was released; take "
            f"{'restart_every' if tree else 'bands'} <= {apart}, or fewer clients a round."
        )
    if not tree:
        return _separated(mechanism, how.separation, arrived)
    return _trees(mechanism, span, steps, participations=-(-len(arrived) // how.separation))


def _trees(mechanism, span: int, steps: int, *, participations: int) -> Event:
    """The costliest trees that a client can be in, one leaf of each; the last is not full."""
    full, rest = divmod(steps, span) if steps else (0, 0)
    tree = lambda leaves, count: dp_accounting.SelfComposedDpEvent(
        dp_accounting.SingleEpochTreeAggregationDpEvent(mechanism.noise_multiplier, leaves), count
    )
    events = [tree(span, min(full, participations))] if full and participations else []
    if rest and participations > full:
        events.append(tree(rest, 1))
    return dp_accounting.ComposedDpEvent(events)


def _most_aborted(arrived: Sequence[int], separation: int) -> int:
    """The most aborted rounds among `separation` in a row: by so many fewer steps two rounds of a
    client may be apart.
    """
    if ABORTED not in arrived:
        return 0
    aborted = [m == ABORTED for m in arrived]
    return max((sum(aborted[i : i + separation]) for i in range(len(aborted))), default=0)
