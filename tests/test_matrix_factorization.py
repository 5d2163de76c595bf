"""Banded factorisation: the noise written out as matrices, the best over all matrices, by hand."""

import itertools

import numpy as np
import pytest
from scipy import linalg, optimize

from tff_experiments.privacy import matrix_factorization as mf


def toeplitz(c, num_rounds):
    column = np.zeros(num_rounds)
    column[: len(c)] = c
    return linalg.toeplitz(column, np.zeros(num_rounds))


@pytest.mark.parametrize(("num_rounds", "bands"), [(1, 1), (7, 1), (12, 4), (40, 40)])
def test_the_error_is_that_of_the_matrices(num_rounds, bands):
    c = mf.toeplitz_coefficients(num_rounds, bands)
    b = np.tril(np.ones((num_rounds, num_rounds))) @ np.linalg.inv(toeplitz(c, num_rounds))
    expected = (b**2).sum() / num_rounds
    assert mf.mean_squared_error(c, num_rounds) == pytest.approx(expected, rel=1e-9)


def test_one_band_is_independent_noise():
    assert mf.toeplitz_coefficients(9, 1).tolist() == [1.0]
    assert mf.mean_squared_error(np.ones(1), 9) == pytest.approx(5.0)  # (1 + ... + 9) / 9


def test_no_other_coefficients_are_better():
    # Nelder-Mead, without gradient, from the independent noise.
    def error(tail):
        c = np.append(1.0, tail)
        return mf.mean_squared_error(c / np.linalg.norm(c), 20)

    found = optimize.minimize(error, np.zeros(3), method="Nelder-Mead", tol=1e-10)
    ours = mf.mean_squared_error(mf.toeplitz_coefficients(20, 4), 20)
    assert ours == pytest.approx(found.fun, rel=1e-6)


@pytest.mark.parametrize(("bands", "share"), [(4, 0.015), (16, 0.04), (64, 0.06)])
def test_equal_columns_cost_little_against_the_best_of_all_matrices(bands, share):
    # The best by gradient over each column, started from ours; figures are in the module's head.
    num_rounds = 64
    i, j = np.nonzero(toeplitz(np.ones(bands), num_rounds))
    ours = mf.toeplitz_coefficients(num_rounds, bands)

    def error(entries):
        c = np.zeros((num_rounds, num_rounds))
        c[i, j] = entries
        norms = np.linalg.norm(c, axis=0)
        c /= norms
        inverse = np.linalg.inv(c)
        b = np.tril(np.ones_like(c)) @ inverse
        slope = -2 * inverse.T @ b.T @ b / num_rounds
        slope = (slope - c * (slope * c).sum(axis=0)) / norms
        return (b**2).sum() / num_rounds, slope[i, j]

    best = optimize.minimize(error, ours[i - j], jac=True, method="L-BFGS-B")
    loss = mf.mean_squared_error(ours, num_rounds) / best.fun - 1
    assert 0 <= loss <= share


def test_a_client_moves_c_x_by_the_root_of_its_participations():
    # All patterns of a client that never comes twice within as many rounds as there are bands.
    num_rounds, bands = 10, 3
    c = toeplitz(mf.toeplitz_coefficients(num_rounds, bands), num_rounds)
    largest = 0.0
    for rounds in itertools.chain.from_iterable(
        itertools.combinations(range(num_rounds), k) for k in range(1, 5)
    ):
        if min(np.diff(rounds), default=bands) < bands:
            continue
        # Orthogonal columns: the direction of each round's update does not matter.
        size = np.linalg.norm(c[:, rounds].sum(axis=1)) / np.sqrt(len(rounds))
        largest = max(largest, size)
    assert largest == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(("num_rounds", "bands"), [(2000, 2), (2000, 10), (1500, 34)])
def test_long_runs_have_a_bounded_inverse(num_rounds, bands):
    c = mf.toeplitz_coefficients(num_rounds, bands)
    assert np.linalg.norm(c) == pytest.approx(1.0)
    # 1 / c(x) has its poles outside of the unit disc: noise does not grow with the rounds.
    assert np.abs(np.roots(c[::-1])).min() > 1
    assert mf.mean_squared_error(c, num_rounds) < mf.mean_squared_error(c[:1] / c[0], num_rounds)


@pytest.mark.parametrize("bands", [0, 11])
def test_more_bands_than_rounds_are_refused(bands):
    with pytest.raises(ValueError, match=r"bands must be in 1 .. 10, the rounds, got"):
        mf.toeplitz_coefficients(10, bands)
