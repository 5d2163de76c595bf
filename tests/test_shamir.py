"""Shamir's sharing: Lagrange in Python's integers, and uniformity by counting everything."""

import collections
import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tff_experiments.secure_sum import keys, shamir, stages

PRIME = 2**31 - 1


def source(*context):
    return keys.seeded_random(0, *context)


def limbs(secret):
    """Nine limbs of 30 bits, the lowest first."""
    return [int.from_bytes(secret, "big") // 2 ** (30 * i) % 2**30 for i in range(9)]


def values(share):
    """Nine values of 31 bits in 35 bytes, the lowest first."""
    return [int.from_bytes(share, "little") // 2 ** (31 * i) % 2**31 for i in range(9)]


def at_zero(points, ys, prime):
    """Lagrange: sum_i y_i prod_{j != i} x_j / (x_j - x_i)."""
    total = 0
    for i, (x, y) in enumerate(zip(points, ys, strict=True)):
        for j, other in enumerate(points):
            if i != j:
                y = y * other * pow(other - x, -1, prime) % prime
        total += y
    return total % prime


SIZES = [(n, t) for n in range(1, 8) for t in range(1, n + 1)]


@pytest.mark.parametrize("holders, threshold", SIZES)
def test_any_t_shares_give_the_secret(holders, threshold):
    secret = source("secret", holders, threshold)(32)
    points = np.array([3 * i + 1 for i in range(holders)])
    shares = shamir.split(secret, points, threshold, source("split"))
    assert {len(share) for share in shares} == {35}
    for chosen in itertools.combinations(range(holders), threshold):
        some = [shares[i] for i in chosen]
        assert shamir.reconstruct(points[list(chosen)][None], [some]) == [secret]
        ys = zip(*map(values, some), strict=True)
        got = [at_zero(points[list(chosen)].tolist(), y, PRIME) for y in ys]
        assert got == limbs(secret)


def test_a_thousand_holders():
    """t = 667; the last 667 of 1,000, for two secrets at once."""
    points = np.arange(1, 1001)
    secrets = [b"\xff" * 32, bytes(32)]
    rows = [shamir.split(secret, points, 667, source(i)) for i, secret in enumerate(secrets)]
    chosen = np.stack([points[333:], points[:667]])
    assert shamir.reconstruct(chosen, [rows[0][333:], rows[1][:667]]) == secrets
    # 666 are not enough: what they interpolate is another number, if it is one at all.
    ys = zip(*map(values, rows[0][:666]), strict=True)
    assert at_zero(range(1, 667), next(ys), PRIME) != limbs(secrets[0])[0]


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.sampled_from([0, 1, 2, 2**16, 2**30, PRIME - 2, PRIME - 1]), min_size=1),
       st.lists(st.integers(1, PRIME - 1), min_size=1, max_size=9, unique=True))  # fmt: skip
def test_polynomials_and_weights_are_those_of_python(coefficients, points):
    """The largest elements: products of halves must not round or wrap."""
    got = shamir.evaluate(np.array(coefficients, np.uint64)[:, None], np.array(points))[:, 0]
    powers = lambda x: sum(c * x**i for i, c in enumerate(coefficients)) % PRIME
    assert got.tolist() == [powers(x) for x in points]
    weights = shamir.weights_at_zero(np.array([points]))[0].tolist()
    ones = np.eye(len(points), dtype=int).tolist()
    assert weights == [at_zero(points, one, PRIME) for one in ones]


def test_products_of_long_rows_are_exact():
    """2,000 products of the largest elements: 2^62 each, more than a float64 or uint64 adds."""
    rng = random.Random(0)
    draw = lambda *shape: [[PRIME - 1 - rng.randrange(3) for _ in range(shape[1])]
                           for _ in range(shape[0])]  # fmt: skip
    a, b = draw(3, 2000), draw(2000, 2)
    wanted = [[sum(map(int.__mul__, r, c)) % PRIME for c in zip(*b, strict=True)] for r in a]
    assert shamir.matmul(np.array(a, np.uint64), np.array(b, np.uint64)).tolist() == wanted


@pytest.mark.parametrize("prime, threshold", [(2, 1), (5, 2), (5, 3), (7, 4), (11, 3)])
def test_fewer_than_t_shares_say_nothing_exactly(prime, threshold):
    """Every choice of coefficients: any t - 1 shares are each tuple as often, whatever the secret;
    t shares are not.
    """
    points = np.arange(1, min(prime - 1, threshold + 1) + 1)
    free = list(itertools.product(range(prime), repeat=threshold - 1))
    shares = {}
    for secret in range(prime):
        coefficients = np.array([(secret, *c) for c in free], np.uint64).reshape(len(free), -1).T
        shares[secret] = shamir.evaluate(coefficients, points, prime)
    counted = lambda s, held: collections.Counter(map(tuple, shares[s][list(held)].T.tolist()))
    for held in itertools.combinations(range(len(points)), threshold - 1):
        views = [counted(secret, held) for secret in range(prime)]
        once = dict.fromkeys(itertools.product(range(prime), repeat=threshold - 1), 1)
        assert all(view == once for view in views)
    for held in itertools.combinations(range(len(points)), threshold):
        views = [set(counted(secret, held)) for secret in range(prime)]
        assert all(not a & b for a, b in itertools.combinations(views, 2))


def test_small_primes_interpolate_too():
    for points in itertools.permutations(range(1, 7), 3):
        weights = shamir.weights_at_zero(np.array([points]), 7)[0].tolist()
        assert weights == [at_zero(points, one, 7) for one in np.eye(3, dtype=int).tolist()]


def test_field_elements_are_uniform():
    """Rejection, counted: words cut to 31 bits, all but 2^31 - 1 kept. And chi-square, modulo 5."""
    data = np.array([PRIME, 5, 2**32 - 1, 2**31, 2**31 + 6, PRIME - 1], "<u4").tobytes()
    pieces = iter([data[:16], data[16:], b"\1\0\0\0"])
    drawn = shamir.uniform((2, 2), lambda size: next(pieces)[:size])
    assert drawn.tolist() == [[5, 0], [6, PRIME - 1]]
    assert drawn.dtype == np.uint64
    for prime in (5, 11, PRIME):
        elements = shamir.uniform((100_000,), source("uniform", prime), prime)
        assert elements.max() < prime
        bins = min(prime, 64)
        counts = np.bincount((elements * bins // prime).astype(int), minlength=bins)
        # Of 2^31 - 1 elements some bins have one more, a relative difference of 3e-8.
        assert stats.chisquare(counts).pvalue > 1e-3


def test_shares_of_another_split_are_other_shares():
    points = np.arange(1, 4)
    one, other = (shamir.split(b"s" * 32, points, 2, keys.system_random) for _ in range(2))
    assert not set(one) & set(other)


def test_an_altered_share_gives_another_secret_or_none():
    """Every bit of 35 bytes: bits 0 to 278 are values. A changed limb that is 2^30 or more, or a
    last limb of 2^16 or more, is no secret, and detected; any other is a wrong secret, unseen: the
    protocol checks masking keys against public ones, and seeds not at all. Bit 279 is not read.
    """
    # The first one's weight is 192/77: small changes become large ones.
    points = np.array([5, 12, 16])
    secret = source("altered")(32)
    shares = shamir.split(secret, points, 3, source("split"))
    weight = at_zero([5, 12, 16], [1, 0, 0], PRIME)
    outcomes = collections.Counter()
    for bit in range(280):
        altered = (int.from_bytes(shares[0], "little") ^ (1 << bit)).to_bytes(35, "little")
        new, wanted = values(altered), limbs(secret)
        limb = min(bit // 31, 8)
        # The share's own change, through its Lagrange weight.
        change = (new[limb] - values(shares[0])[limb]) * weight
        wanted[limb] = (wanted[limb] + change) % PRIME
        number = sum(value << (30 * i) for i, value in enumerate(wanted))
        try:
            got = shamir.reconstruct(points[None], [[altered, *shares[1:]]])
        except stages.ProtocolError as error:
            assert "altered" in str(error)
            assert wanted[limb] >= (2**30 if limb < 8 else 2**16)
            outcomes["detected"] += 1
        else:
            assert got == [number.to_bytes(32, "big")]
            outcomes["same" if got == [secret] else "another"] += 1
    assert outcomes["same"] == 1
    # Half of the lower limbs' changes, and nearly all of the last's.
    assert outcomes["detected"] > 130 and outcomes["another"] > 80


@pytest.mark.parametrize("threshold", [-1, 0, 4])
def test_a_threshold_that_the_holders_cannot_reach_is_refused(threshold):
    with pytest.raises(ValueError, match=rf"1 \.\. 3, got {threshold}"):
        shamir.split(bytes(32), np.arange(1, 4), threshold, keys.system_random)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_has_32_bytes(size):
    with pytest.raises(ValueError, match=f"32 bytes, got {size}"):
        shamir.split(bytes(size), np.arange(1, 4), 2, keys.system_random)
