"""The geometric median against scipy's minimum and closed forms, and under attack."""

import numpy as np
import pytest
import scipy.optimize
from aggregation_helpers import ATTACKS, SIZE, Aggregation, aggregate, attacked, draw

from tff_experiments.aggregation import geometric_median


@pytest.fixture(scope="module")
def aggregation():
    return Aggregation(geometric_median.build(geometric_median.Hparams()))


def objective(z, rows, alpha):
    """Its value and gradient, float64."""
    differences = z - rows
    distances = np.linalg.norm(differences, axis=1)
    return alpha @ distances, (alpha / distances) @ differences


@pytest.mark.parametrize("clients", [2, 3, 8, 30])
def test_it_is_the_least_weighted_sum_of_distances(clients, aggregation):
    rows, weights = draw(clients), np.linspace(1, 1.4, clients)
    got = aggregation.rows(rows, weights)
    alpha, wide = weights / weights.sum(), rows.astype(np.float64)
    found = scipy.optimize.minimize(
        objective, wide.mean(0), (wide, alpha), jac=True, options={"gtol": 1e-10, "maxiter": 2000}
    )
    # Of two rows, the heavier one is the least, where the objective has a kink.
    wanted = found.x if clients > 2 else wide[np.argmax(weights)]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5)
    value = (alpha * np.linalg.norm(wanted - wide, axis=1)).sum()
    assert aggregation.measured["distance"] == pytest.approx(value, rel=1e-5)


def on_a_line(positions):
    """Rows along one direction."""
    direction = np.random.default_rng(5).standard_normal(SIZE)
    return np.outer(positions, direction / np.linalg.norm(direction))


def test_on_a_line_it_is_the_weighted_median(aggregation):
    rows = on_a_line([0.0, 1.0, 2.0, 10.0, 11.0])
    got = aggregation.rows(rows, [1, 1, 1, 3, 1])
    np.testing.assert_allclose(got, rows[3], atol=1e-4)
    got = aggregation.rows(rows)
    np.testing.assert_allclose(got, rows[2], atol=1e-4)


def test_of_a_triangle_it_is_the_point_that_sees_the_sides_under_120_degrees(aggregation):
    corners = np.zeros((3, SIZE))
    corners[0, :2], corners[1, :2], corners[2, :2] = (0, 0), (3, 0), (1, 2)
    got = aggregation.rows(corners)
    to_corners = corners - got
    unit = to_corners / np.linalg.norm(to_corners, axis=1, keepdims=True)
    np.testing.assert_allclose(np.sort((unit @ unit.T)[np.triu_indices(3, 1)]), -0.5, atol=1e-5)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_minority_does_not_move_it_beyond_the_honest(attack, aggregation):
    honest = draw(20)[6:]
    got = aggregation.rows(attacked(draw(20), 6, attack))
    assert (got >= honest.min(0)).all() and (got <= honest.max(0)).all()


@pytest.mark.parametrize("attack", ["large", "largest", "flipped"])
def test_with_nearly_half_of_the_weight_its_bound_holds(attack, aggregation):
    """||z - mean|| <= 2 (1 - f) / (1 - 2 f) max ||w_i - mean||: Lopuhaä and Rousseeuw 1991."""
    honest = draw(20)[9:].astype(np.float64)
    weights = np.r_[np.full(9, 0.46 / 9), np.full(11, 0.54 / 11)]
    got = aggregation.rows(attacked(draw(20), 9, attack), weights)
    radius = np.linalg.norm(honest - honest.mean(0), axis=1).max()
    assert np.linalg.norm(got - honest.mean(0)) <= 2 * 0.54 / 0.08 * radius


def test_equal_updates_give_that_update(aggregation):
    rows = np.repeat(draw(1), 6, axis=0)
    np.testing.assert_allclose(aggregation.rows(rows), rows[0], rtol=1e-6)
    np.testing.assert_allclose(aggregation.rows(rows[:1]), rows[0], rtol=1e-6)
    np.testing.assert_array_equal(aggregation.rows(np.zeros((4, SIZE))), 0)


def test_of_pairs_of_equal_updates_it_leaves_the_one_where_it_starts(aggregation):
    """A start on a row that is not the least: where plain Weiszfeld steps end."""
    rows = np.repeat(draw(5), 2, axis=0)
    single = aggregation.rows(draw(5))
    np.testing.assert_allclose(aggregation.rows(rows), single, atol=2e-5)


def test_knobs_out_of_range_are_refused():
    with pytest.raises(ValueError, match="iterations must be >= 1, got 0"):
        geometric_median.Hparams(iterations=0)
    with pytest.raises(ValueError, match="nu must be > 0, got 0"):
        geometric_median.Hparams(nu=0.0)


def test_a_huge_nu_is_the_weighted_mean():
    rows, weights = draw(7), np.arange(1, 8)
    got, measured = aggregate(geometric_median, rows, weights, nu=1e9)
    wanted = np.average(rows.astype(np.float64), axis=0, weights=weights)
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert measured["largest_share"] == pytest.approx(7 / 28)
