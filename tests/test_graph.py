"""SecAgg+'s graph: degree and threshold in exact rational arithmetic, and the ring itself."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from tff_experiments.secure_sum import graph, keys, secagg_plus

SIZES = (50, 100, 200, 500, 1000, 10_000)
# Google's graph_parameter_finder.cc at 2^-40 and 2^-20, recomputed: degree, threshold.
TABLE = {
    (0.05, 0.05, "semi_honest"): [(6, 3), (12, 6), (20, 11), (28, 16), (30, 17), (34, 20)],
    (0.1, 0.1, "semi_honest"): [(12, 6), (22, 11), (34, 19), (42, 24), (48, 27), (54, 31)],
    (0.2, 0.1, "semi_honest"): [(16, 11), (32, 21), (46, 30), (60, 39), (68, 44), (80, 51)],
    (1 / 3, 0.3, "semi_honest"): [
        (32, 17), (64, 34), (116, 63), (194, 106), (252, 138), (360, 196)
    ],
    (0.1, 0.1, "semi_malicious"): [(16, 11), (32, 22), (56, 39), (82, 57), (96, 67), (122, 85)],
    (1 / 3, 0.1, "semi_malicious"): [
        (28, 23), (54, 44), (98, 78), (170, 134), (218, 171), (314, 245)
    ],
}  # fmt: skip


def parameters(num_clients, corrupt, dropout, adversary, **bits):
    return graph.parameters(
        num_clients, corrupt_rate=corrupt, dropout_rate=dropout, adversary=adversary, **bits
    )


def cells():
    for (corrupt, dropout, adversary), row in TABLE.items():
        for num_clients, wanted in zip(SIZES, row, strict=True):
            # Up to ten seconds each: many degrees, and large factorials.
            marks = (
                [pytest.mark.slow]
                if num_clients == 10_000 and (corrupt > 0.1 or adversary != "semi_honest")
                else []
            )
            yield pytest.param(num_clients, corrupt, dropout, adversary, wanted, marks=marks)


@pytest.mark.parametrize("num_clients, corrupt, dropout, adversary, wanted", cells())
def test_degree_and_threshold_are_those_of_the_reference(
    num_clients, corrupt, dropout, adversary, wanted
):
    assert parameters(num_clients, corrupt, dropout, adversary) == wanted


def more_than(m, num_clients, marked, degree):
    """Pr[more than m of `degree` clients drawn are marked], exactly."""
    ways = lambda i: math.comb(marked, i) * math.comb(num_clients - marked, degree - i)
    return Fraction(
        sum(map(ways, range(max(m + 1, 0), degree + 1))), math.comb(num_clients, degree)
    )


def serves(num_clients, degree, threshold, corrupt, dropped, adversary, security, correctness):
    """The three conditions of the module's docstring, for counts of clients."""
    bad = corrupt + dropped
    cut = Fraction(num_clients * (num_clients - degree - 1), 2)
    cut *= Fraction(math.comb(bad, degree), math.comb(num_clients, degree))
    share = Fraction(1, 2 ** (security + 1))  # Half of it for each kind of failure.
    if adversary == "semi_honest":
        opens = more_than(threshold - 1, num_clients, corrupt, degree)
    else:
        # t of both kinds from degree - c honest and c corrupt neighbours: 2 t <= degree + c.
        opens = more_than(2 * threshold - degree - 1, num_clients, corrupt, degree)
    fails = more_than(degree - threshold, num_clients, dropped, degree)
    small = lambda probability, bound: num_clients * probability < bound
    return cut < share and small(opens, share) and small(fails, Fraction(1, 2**correctness))


@pytest.mark.parametrize("adversary", ["semi_honest", "semi_malicious"])
@pytest.mark.parametrize(
    "num_clients, corrupt, dropout, bits",
    [(50, 0.1, 0.1, (40, 20)), (100, 0.2, 0.1, (40, 20)), (100, 0.29, 0.0, (10, 5)),
     (200, 0.05, 0.3, (20, 20)), (300, 0.1, 0.1, (80, 30)), (60, 0.0, 0.2, (40, 10))],
)  # fmt: skip
def test_degree_and_threshold_are_the_least_that_serve(
    num_clients, corrupt, dropout, bits, adversary
):
    exact = lambda rate: int(Fraction(str(rate)) * num_clients)
    setting = (exact(corrupt), exact(dropout), adversary, *bits)
    least = next(
        (degree, threshold)
        for degree in range(2, num_clients - 1, 2)
        for threshold in range(2, degree + 1)
        if serves(num_clients, degree, threshold, *setting)
    )
    security, correctness = bits
    got = parameters(
        num_clients, corrupt, dropout, adversary,
        security_bits=security, correctness_bits=correctness,
    )  # fmt: skip
    assert got == least


def test_where_no_ring_serves_all_are_neighbours():
    """Of 10 clients 4 may be corrupt and 4 drop out: t > 4; of 20, 6 and 6: 2 t > 19 + 6."""
    assert parameters(10, 0.4, 0.4, "semi_honest") == (9, 5)
    assert parameters(20, 0.3, 0.3, "semi_malicious") == (19, 13)


@pytest.mark.parametrize(
    "num_clients, corrupt, dropout, adversary",
    [
        (0, 0.1, 0.1, "semi_honest"),
        (1, 0.1, 0.1, "semi_honest"),
        (2, 0.1, 0.1, "semi_malicious"),
        (10, 0.5, 0.5, "semi_honest"),
        (30, 0.4, 0.4, "semi_malicious"),
        (100, 0.6, 0.6, "semi_honest"),
        (100, 0.6, 0.6, "semi_malicious"),
    ],
)
def test_what_no_graph_serves_is_refused(num_clients, corrupt, dropout, adversary):
    counts = f"{num_clients} clients of which {int(corrupt * num_clients)} may be corrupt and "
    counts += f"{int(dropout * num_clients)} may drop out"
    with pytest.raises(ValueError, match=counts + rf" \({adversary}\): use more clients"):
        parameters(num_clients, corrupt, dropout, adversary)


@pytest.mark.parametrize("rate", [0.07, 0.1, 0.29, 0.57, 1 / 3])
def test_rates_are_not_rounded_in_our_favour(rate):
    """0.29 x 100 is 28.999... in binary."""
    exact = Fraction(rate).limit_denominator(1000)
    for num_clients in (3, 100, 300, 999, 1000, 10_000):
        assert graph.most(rate, num_clients) == exact * num_clients // 1


def connected(near):
    """Whether all nodes are reached from any."""
    seen, todo = set(), list(near)[:1]
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += [v for v in near[node] if v in near]
    return seen == set(near)


def without(near, gone):
    return {u: [v for v in vs if v not in gone] for u, vs in near.items() if u not in gone}


@pytest.mark.parametrize("size, degree", [(5, 2), (8, 4), (30, 6), (101, 10)])
def test_the_graph_is_symmetric_regular_and_k_connected(size, degree):
    rng = np.random.default_rng(size)
    clients = sorted(rng.choice(1000, size, replace=False).tolist())
    near = graph.neighbours(clients, degree, rng.permutation(size))
    assert sorted(near) == clients
    for node, others in near.items():
        assert len(set(others) - {node}) == degree and others == sorted(others)
        assert all(node in near[other] for other in others)
    for _ in range(100):
        gone = rng.choice(clients, degree - 1, replace=False)
        assert connected(without(near, set(gone.tolist())))


def test_a_client_is_joined_to_the_nearest_on_the_ring():
    near = graph.neighbours([10, 20, 30, 40, 50], 2, [2, 0, 4, 1, 3])
    assert near == {30: [10, 40], 10: [30, 50], 50: [10, 20], 20: [40, 50], 40: [20, 30]}


@pytest.mark.parametrize("degree", [3, 4, 9])
def test_of_few_clients_each_has_all(degree):
    near = graph.neighbours([3, 5, 7, 9], degree, [1, 0, 3, 2])
    assert near == {3: [5, 7, 9], 5: [3, 7, 9], 7: [3, 5, 9], 9: [3, 5, 7]}


@pytest.mark.parametrize("size, degree, bad", [(9, 2, 4), (10, 4, 5), (12, 4, 6), (11, 6, 7)])
def test_the_bound_on_falling_apart_holds_exactly(size, degree, bad):
    """All choices of the nodes that are gone; the permutation makes each equally likely."""
    near = graph.neighbours(range(size), degree, range(size))
    choices = list(itertools.combinations(range(size), bad))
    cut = sum(not connected(without(near, set(gone))) for gone in choices)
    bound = math.exp(graph._log_disconnected(size, degree, bad))
    assert 0 < cut / len(choices) <= bound
    # A union bound over all pairs of gaps: no more than these counts allow.
    exact = Fraction(size * (size - degree - 1), 2) * math.comb(bad, degree)
    assert bound == pytest.approx(float(exact / math.comb(size, degree)), rel=1e-9)


def test_fewer_bad_nodes_than_the_degree_never_cut():
    assert graph._log_disconnected(50, 10, 9) == -math.inf


def test_permutations_are_uniform():
    """Chi-square over the 24 permutations of 4, 24,000 draws of a fixed source."""
    source = keys.seeded_random(0, "permutations")
    drawn = [tuple(secagg_plus.permutation(4, source)) for _ in range(24_000)]
    counts = [drawn.count(p) for p in itertools.permutations(range(4))]
    assert sum(counts) == len(drawn)
    assert stats.chisquare(counts).pvalue > 1e-3
