"""The coordinate-wise median against numpy, and under attack."""

import numpy as np
import pytest
from aggregation_helpers import ATTACKS, Aggregation, attacked, draw

from tff_experiments.aggregation import median


@pytest.fixture(scope="module")
def aggregation():
    return Aggregation(median.build(median.Hparams()))


@pytest.mark.parametrize("clients", [1, 2, 3, 8, 41])
def test_it_is_numpys(clients, aggregation):
    rows = draw(clients)
    rows[:, 3] = 7.0  # Ties.
    got = aggregation.rows(rows, weights=1 + np.arange(clients) ** 3)
    # Of even numbers the mean of two is rounded once.
    np.testing.assert_allclose(got, np.median(rows.astype(np.float64), axis=0), rtol=1e-7)
    if clients % 2:
        np.testing.assert_array_equal(got, np.median(rows, axis=0))


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("clients", [11, 12])
def test_a_minority_does_not_move_it_beyond_the_honest(clients, attack, aggregation):
    honest = draw(clients)[5:]
    got = aggregation.rows(attacked(draw(clients), 5, attack))
    assert (got >= honest.min(0)).all() and (got <= honest.max(0)).all()
