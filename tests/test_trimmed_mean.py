"""The trimmed mean against scipy, and under attack."""

import numpy as np
import pytest
import scipy.stats
from aggregation_helpers import ATTACKS, Aggregation, aggregate, attacked, draw

from tff_experiments.aggregation import median, trimmed_mean


@pytest.fixture(scope="module")
def aggregation():
    return Aggregation(trimmed_mean.build(trimmed_mean.Hparams()))


@pytest.mark.parametrize("clients", [1, 4, 5, 23])
def test_it_is_scipys(clients, aggregation):
    rows = draw(clients)
    rows[:, 3] = 0.1  # Ties.
    got = aggregation.rows(rows, weights=1 + np.arange(clients) ** 3)
    wanted = scipy.stats.trim_mean(rows.astype(np.float64), 0.2, axis=0)
    # float32 sums of 23 values.
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    assert got[3] == np.float32(0.1) and aggregation.measured["trimmed"] == clients // 5


def test_without_trimming_it_is_the_mean_and_with_most_of_it_the_median():
    rows = draw(9)
    got, _ = aggregate(trimmed_mean, rows, beta=0.0)
    np.testing.assert_allclose(got, rows.mean(0, dtype=np.float64), rtol=1e-6, atol=1e-6)
    got, _ = aggregate(trimmed_mean, rows, beta=0.45)
    np.testing.assert_array_equal(got, aggregate(median, rows)[0])


@pytest.mark.parametrize("attack", ATTACKS)
def test_as_many_as_are_cut_do_not_move_it_beyond_the_honest(attack, aggregation):
    honest = draw(23)[4:]
    got = aggregation.rows(attacked(draw(23), 4, attack))
    # The mean of values in a range is in it, up to the rounding of its sum.
    slack = 1e-6 * np.abs(honest).max()
    assert (got >= honest.min(0) - slack).all() and (got <= honest.max(0) + slack).all()


@pytest.mark.parametrize("beta", [-0.1, 0.5])
def test_fractions_out_of_range_are_refused(beta):
    with pytest.raises(ValueError, match=rf"beta must be in \[0, 0.5\), got {beta}"):
        trimmed_mean.Hparams(beta=beta)
