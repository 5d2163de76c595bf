"""Which event a run is, by hand; and what has none is refused with a way out."""

import dataclasses
import itertools

import dp_accounting
import numpy as np
import pytest
from scipy import stats

from tff_experiments.privacy import accountants, distributed, mechanisms, participation, rules

Relation = dp_accounting.NeighboringRelation
POISSON, FIXED = participation.Poisson(50, 5), participation.FixedSize(50, 5)
REPLACED = participation.FixedSize(50, 5, "replaced")
GAUSSIAN = mechanisms.Gaussian(3.0)
SUM = distributed.Distributed("skellam", 3.0, 1.0, 5, 64, 16)


def counts(rule):
    """{event: how often} of a composition."""
    return {part.event: part.count for part in rule.event.events}


def test_poisson_is_amplified_for_a_client_that_is_taken_out():
    rule = rules.of_rounds(GAUSSIAN, POISSON, [5, 4, rules.ABORTED, 0])
    event = dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(3.0))
    # The server's noise is on a sum of nobody, too.
    assert counts(rule) == {event: 3} and rule.relation is Relation.ADD_OR_REMOVE_ONE


def test_a_fixed_cohort_is_amplified_with_half_the_noise():
    half = dp_accounting.GaussianDpEvent(1.5)
    rule = rules.of_rounds(GAUSSIAN, REPLACED, [5, 5])
    event = dp_accounting.SampledWithoutReplacementDpEvent(50, 5, half)
    assert counts(rule) == {event: 2} and rule.relation is Relation.REPLACE_ONE
    rule = rules.of_rounds(GAUSSIAN, FIXED, [5, 5])
    assert counts(rule) == {dp_accounting.PoissonSampledDpEvent(0.1, half): 2}
    assert rule.relation is Relation.ADD_OR_REMOVE_ONE


def test_a_fixed_cohort_is_bounded_by_what_enumeration_gives():
    # Cohorts of 2 out of 4 clients, or of 3: the one that is removed is at 1, the others at -1, so
    # that it moves the sum by 2 where it comes. Densities of all cohorts' sums, with noise 3.
    grid = np.arange(-40, 40, 0.01)
    density = lambda values: np.mean(
        [stats.norm.pdf(grid, sum(pair), 3.0) for pair in itertools.combinations(values, 2)], axis=0
    )
    p, q = density([1, -1, -1, -1]), density([-1, -1, -1])
    rule = rules.of_rounds(GAUSSIAN, participation.FixedSize(4, 2), [2])
    for a in (2.0, 3.5, 8.0):
        accountant = accountants.RdpAccountant(rule.relation, orders=(a,)).compose(rule.event)
        exact = [np.log((x**a * y ** (1 - a)).sum() * 0.01) / (a - 1) for x, y in ((p, q), (q, p))]
        # The rectangle rule is exact to 1e-9 here. The rule is tight: these are the worst data.
        assert max(exact) == pytest.approx(accountant.rdp[0], rel=1e-6)


@pytest.mark.parametrize("how", [POISSON, FIXED, REPLACED])
def test_distributed_noise_is_that_of_those_who_arrived(how):
    rule = rules.of_rounds(SUM, how, [5, 3, 5, 0, rules.ABORTED, 6])
    found = {event.event.arrived: count for event, count in counts(rule).items()}
    assert found == {5: 2, 3: 1, 6: 1}
    for event in counts(rule):
        assert event.event.l2_sensitivity == 2 * SUM.scaled_l2_norm


def test_as_published_a_poisson_cohort_is_amplified_as_if_its_size_were_hidden():
    rule = rules.of_rounds(SUM, participation.Poisson(50, 5, cohort_is_hidden=True), [5, 7])
    for event in counts(rule):
        assert event.sampling_probability == 0.1
        assert event.event.l2_sensitivity == SUM.scaled_l2_norm
    seen = rules.of_rounds(SUM, POISSON, [3, 7])
    assert sorted(event.sampling_probability for event in counts(seen)) == [0.1, 0.14]


def test_where_the_cohorts_size_is_seen_the_published_rule_is_broken_and_ours_holds():
    """All others hold -1, a client 1 or nothing: with m clients the sum less -m is 0 without it and
    2 or 1 with it. Noise is Gaussian, as with many bits.
    """
    m, z, q, grid = 5, 1.5, 0.1, np.arange(-30, 30, 0.01)
    density = lambda mean: (1 - q) * stats.norm.pdf(grid, 0, z) + q * stats.norm.pdf(grid, mean, z)
    p, other = density(2), density(1)
    many = dataclasses.replace(SUM, noise_multiplier=z, bits=32)
    exact = max(np.log((x**2 / y).sum() * 0.01) for x, y in ((p, other), (other, p)))
    bounds = []
    for hidden in (False, True):
        rule = rules.of_rounds(many, participation.Poisson(50, 5, cohort_is_hidden=hidden), [m])
        accountant = accountants.RdpAccountant(rule.relation, orders=(2,))
        bounds.append(accountant.compose(rule.event).rdp[0])
    assert bounds[1] < exact < bounds[0], "of order 2"


@pytest.mark.parametrize(
    ("arrived", "expected"),
    [
        ([5] * 7, {5: 3}),
        ([5, 4, 5, 5, 5, 3, 5], {4: 1, 3: 1, 5: 1}),
        ([5, rules.ABORTED, 4] + [rules.ABORTED] * 3 + [0], {4: 1}),
        ([], {}),
    ],
)
def test_separated_clients_are_in_the_worst_round_of_each_block(arrived, expected):
    rule = rules.of_rounds(SUM, participation.MinSeparation(3), arrived)
    assert {event.arrived: n for event, n in counts(rule).items()} == expected
    assert rule.relation is Relation.REPLACE_SPECIAL


def test_no_pattern_of_a_separated_client_has_less_noise_than_the_blocks():
    # All sets of rounds at least 3 apart: the k-th smallest cohort is no smaller than the rule's.
    arrived = np.random.default_rng(0).integers(1, 9, 10)
    rule = rules.of_rounds(SUM, participation.MinSeparation(3), arrived.tolist())
    block = sum(n / event.arrived for event, n in counts(rule).items())
    for k in range(1, 5):
        for pattern in itertools.combinations(range(10), k):
            if min(np.diff(pattern), default=3) >= 3:
                assert sum(1 / arrived[list(pattern)]) <= block + 1e-12


@pytest.mark.parametrize(
    ("how", "participations"),
    [
        (POISSON, 7),
        (FIXED, 7),
        (participation.DataDependent(), 7),
        (participation.MinSeparation(3), 3),
    ],
)
def test_local_noise_counts_every_round_a_client_may_be_in(how, participations):
    rule = rules.of_rounds(mechanisms.LocalGaussian(3.0), how, [5] * 7)
    # A client with any update must look like one with any other: twice the clip.
    assert counts(rule) == {dp_accounting.GaussianDpEvent(1.5): participations}


def nodes_above(leaf, leaves):
    """Complete nodes of a binary tree over 0 .. leaves - 1 that hold a leaf, counted one by one."""
    sizes = [2**level for level in range(leaves.bit_length())]
    return sum((leaf // size + 1) * size <= leaves for size in sizes)


@pytest.mark.parametrize(("span", "separation"), [(1, 1), (4, 4), (3, 5), (7, 7), (8, 9)])
@pytest.mark.parametrize("rounds", [1, 2, 6, 20])
def test_trees_are_the_costliest_that_a_client_can_be_in(span, separation, rounds):
    span = min(span, rounds)
    rule = rules.of_rounds(
        mechanisms.TreeAggregation(1.0, span),
        participation.MinSeparation(separation),
        [5] * rounds,
    )
    depth = lambda leaves: int(np.ceil(np.log2(leaves + 1)))
    total = sum(p.count * depth(p.event.step_counts) for p in rule.event.events)
    # Every pattern of a client, node by node.
    size = lambda r: min(span, rounds - r // span * span)
    cost = [nodes_above(r % span, size(r)) for r in range(rounds)]
    worst = [0] * (rounds + 1)
    for r in range(rounds):
        before = worst[max(0, r + 1 - separation)] if r + 1 >= separation else 0
        worst[r + 1] = max(worst[r], before + cost[r])
    assert worst[-1] <= total
    if span == separation:  # A client can be in the first, deepest, leaf of each.
        assert worst[-1] == total


def test_who_comes_once_is_in_one_tree():
    # Rounds 1 .. 4 are a tree of depth 3, 5 and 6 another; a client comes once in nine rounds.
    mechanism, how = mechanisms.TreeAggregation(1.0, 4), participation.MinSeparation(9)
    tree = dp_accounting.SingleEpochTreeAggregationDpEvent
    assert counts(rules.of_rounds(mechanism, how, [5] * 6)) == {tree(1.0, 4): 1}
    assert counts(rules.of_rounds(mechanism, how, [5] * 2)) == {tree(1.0, 2): 1}


def test_bands_cost_what_as_many_gaussians_do():
    mechanism, how = mechanisms.BandedFactorization(3.0, bands=4), participation.MinSeparation(4)
    rule = rules.of_rounds(mechanism, how, [5] * 9)
    assert counts(rule) == {dp_accounting.GaussianDpEvent(3.0): 3}


def test_aborted_rounds_bring_a_clients_steps_together():
    how = participation.MinSeparation(5)
    arrived = [5, rules.ABORTED, 5, 5, rules.ABORTED, 5, 5, 5]
    banded = lambda bands: rules.of_rounds(mechanisms.BandedFactorization(1.0, bands), how, arrived)
    # Two of five rounds in a row are gone: rounds of a client may be three steps apart.
    assert sum(counts(banded(3)).values()) == 2
    with pytest.raises(ValueError, match=r"correlated over 4 rounds.* after 3.* bands <= 3"):
        banded(4)
    with pytest.raises(ValueError, match="restart_every <= 3"):
        rules.of_rounds(mechanisms.TreeAggregation(1.0, 5), how, arrived)


@pytest.mark.parametrize(
    "mechanism",
    [mechanisms.TreeAggregation(1.0, 3), mechanisms.BandedFactorization(1.0, 3)],
)
@pytest.mark.parametrize("how", [POISSON, FIXED])
def test_correlated_noise_needs_known_distances(mechanism, how):
    with pytest.raises(
        ValueError, match=r"needs clients that come at known distances.*round_robin"
    ):
        rules.of_rounds(mechanism, how, [5])


@pytest.mark.parametrize("mechanism", [GAUSSIAN, SUM, mechanisms.TreeAggregation(1.0)])
def test_cohorts_by_examples_have_no_rule(mechanism):
    with pytest.raises(ValueError, match=r"numbers of examples.*poisson, uniform or round_robin"):
        rules.of_rounds(mechanism, participation.DataDependent(), [5])


def test_a_tree_without_restarts_is_for_clients_that_come_once():
    tree = mechanisms.TreeAggregation(1.0)
    assert rules.of_rounds(tree, participation.MinSeparation(8), [5] * 8).event.events
    with pytest.raises(ValueError, match="correlated over 9 rounds"):
        rules.of_rounds(tree, participation.MinSeparation(8), [5] * 9)
