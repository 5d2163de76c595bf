"""Noise in prefix sums against least squares, a triangular matrix, and the closed form."""

import numpy as np
import pytest
from scipy import linalg

from tff_experiments.privacy import matrix_factorization, mechanisms, prefix_sums


def test_independent_noise_adds_up_over_rounds():
    found = prefix_sums.noise(mechanisms.Gaussian(1.5), 9)
    assert found == pytest.approx(1.5 * np.sqrt(np.arange(1, 10).mean()), rel=1e-12)


def test_banded_noise_is_that_of_the_factorization():
    num_rounds, bands = 12, 3
    c = matrix_factorization.toeplitz_coefficients(num_rounds, bands)
    matrix = linalg.toeplitz(np.pad(c, (0, num_rounds - bands)), np.zeros(num_rounds))
    sums = np.tril(np.ones((num_rounds, num_rounds))) @ np.linalg.inv(matrix)
    expected = 2.0 * np.sqrt((sums**2).sum() / num_rounds)
    found = prefix_sums.noise(mechanisms.BandedFactorization(2.0, bands), num_rounds)
    assert found == pytest.approx(expected, rel=1e-9)


def root_variance(height):
    """Of the best linear unbiased estimate of a node by its own noisy value and all below it."""
    leaves = 2**height
    rows = [np.repeat(np.eye(2**h), leaves >> h, axis=1) for h in range(height + 1)]
    covariance = np.linalg.inv((measured := np.concatenate(rows)).T @ measured)
    return covariance.sum()


def test_a_trees_prefix_is_of_nodes_estimated_from_below_and_restarted_trees_add_up():
    span, num_rounds = 5, 12  # Trees of 4 + 1 leaves.
    tree = {0: 0.0, 1: root_variance(0), 2: root_variance(1), 4: root_variance(2)}
    tree[3], tree[5] = tree[2] + tree[1], tree[4] + tree[1]
    variances = [t // span * tree[5] + tree[t % span] for t in range(1, num_rounds + 1)]
    found = prefix_sums.noise(mechanisms.TreeAggregation(0.5, restart_every=span), num_rounds)
    assert found == pytest.approx(0.5 * np.sqrt(np.mean(variances)), rel=1e-9)
    whole = prefix_sums.noise(mechanisms.TreeAggregation(0.5), 4)
    expected = 0.5 * np.sqrt(np.mean([tree[1], tree[2], tree[3], tree[4]]))
    assert whole == pytest.approx(expected, rel=1e-9)
