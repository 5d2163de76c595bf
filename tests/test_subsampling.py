"""Amplification against exact divergences of mixtures, hand-written sums and the library."""

import itertools
import math

import numpy as np
import pytest
from dp_accounting.rdp import rdp_privacy_accountant
from scipy import special, stats

from tff_experiments.privacy import subsampling

GRID = np.arange(-60, 90, 0.01)


def gaussian(stddev):
    return lambda orders: orders / (2 * stddev**2)


def divergence(log_p, log_q, order):
    """Of densities on `GRID`; the rectangle rule is exact to 1e-12 for Gaussians this wide."""
    return (special.logsumexp(order * log_p - (order - 1) * log_q) + math.log(0.01)) / (order - 1)


def mixture(stddev, q, moved):
    return np.logaddexp(
        math.log1p(-q) + stats.norm.logpdf(GRID, 0, stddev),
        math.log(q) + stats.norm.logpdf(GRID, moved, stddev),
    )


@pytest.mark.parametrize(("stddev", "q"), [(1.0, 0.03), (2.0, 0.3), (0.8, 0.9), (4.0, 0.01)])
def test_poisson_bounds_the_mixture_in_both_directions(stddev, q):
    with_client, without = mixture(stddev, q, 1.0), stats.norm.logpdf(GRID, 0, stddev)
    for order in (2, 3, 7, 20):
        bound = subsampling.poisson(gaussian(stddev), q, np.array([order]))[0]
        # The divergences are logarithms of numbers near 1: 1e-12 is their rounding.
        assert divergence(with_client, without, order) <= bound + 1e-12
        assert divergence(without, with_client, order) <= bound + 1e-12
        if order == 2:  # There the theorem is exact.
            exact = divergence(with_client, without, 2)
            assert bound == pytest.approx(exact, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("stddev", "q"), [(1.0, 0.03), (2.0, 0.3), (4.0, 0.01)])
def test_without_replacement_bounds_a_replaced_client(stddev, q):
    # The client is at 1/2, its replacement at -1/2, who comes instead of either at any of these.
    for place, order in itertools.product((-0.5, 0.0, 0.5), (2, 3, 7)):
        both = [
            np.logaddexp(
                math.log1p(-q) + stats.norm.logpdf(GRID, place, stddev),
                math.log(q) + stats.norm.logpdf(GRID, at, stddev),
            )
            for at in (0.5, -0.5)
        ]
        bound = subsampling.without_replacement(gaussian(stddev), q, np.array([order]))[0]
        assert divergence(*both, order) <= bound + 1e-12


def test_sums_written_out():
    a, q, eps = 5, 0.2, lambda j: 0.1 * j + 0.3
    poisson = (1 - q) ** (a - 1) * (a * q - q + 1)
    poisson += math.comb(a, 2) * q**2 * (1 - q) ** (a - 2) * math.exp(eps(2))
    poisson += 3 * sum(
        math.comb(a, j) * (1 - q) ** (a - j) * q**j * math.exp((j - 1) * eps(j))
        for j in range(3, a + 1)
    )
    fixed = 1 + math.comb(a, 2) * q**2 * min(4 * math.expm1(eps(2)), 2 * math.exp(eps(2)))
    fixed += 2 * sum(math.comb(a, j) * q**j * math.exp((j - 1) * eps(j)) for j in range(3, a + 1))
    at = np.array([float(a)])
    assert subsampling.poisson(eps, q, at)[0] == pytest.approx(math.log(poisson) / 4, rel=1e-12)
    found = subsampling.without_replacement(eps, q, at)[0]
    assert found == pytest.approx(math.log(fixed) / 4, rel=1e-12)


def test_without_replacement_is_the_librarys_where_that_uses_the_same_theorem():
    # Above order 256 it does, for Gaussians; below it has a tighter one.
    of = rdp_privacy_accountant._compute_rdp_sample_wor_gaussian
    ours = lambda orders: subsampling.without_replacement(gaussian(30.0), 0.01, np.array(orders))
    np.testing.assert_allclose(ours([300, 512]), of(0.01, 30.0, [300, 512]), rtol=1e-9)
    # At order 2 they agree again, but for the rounding of log(1 + 4e-7).
    assert (ours([2, 8, 32]) >= of(0.01, 30.0, [2, 8, 32]) * (1 - 1e-8)).all()


@pytest.mark.parametrize("amplify", [subsampling.poisson, subsampling.without_replacement])
def test_it_never_costs_more_than_everyone_taking_part(amplify):
    orders = np.arange(2.0, 65)
    for q in (1e-4, 0.1, 0.7, 1.0):
        found = amplify(gaussian(0.5), q, orders)
        assert (found <= gaussian(0.5)(orders)).all() and (found > 0).all()
    np.testing.assert_array_equal(found, gaussian(0.5)(orders))


@pytest.mark.parametrize("amplify", [subsampling.poisson, subsampling.without_replacement])
def test_between_integers_there_is_no_bound(amplify):
    found = amplify(gaussian(1.0), 0.1, np.array([1.5, 2, 2.5]))
    assert np.isfinite(found).tolist() == [False, True, False]
    assert np.isinf(amplify(gaussian(1.0), 0.1, np.array([1.5]))).all()


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"must be in \(0, 1\], got 0"):
        subsampling.poisson(gaussian(1.0), 0.0, np.array([2.0]))
