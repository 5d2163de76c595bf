"""Shares of clients against counting them one by one."""

import numpy as np
import pytest
import reporting_helpers as helpers

from tff_experiments.reporting import distribution

METRIC = "test/accuracy"


def run(*values, name=METRIC):
    return helpers.run(helpers.rows([0.5]), clients={name: np.array(values, np.float64)})


def at(curve, value):
    """The share that the steps' corners say at a value: that of the last corner at or before it."""
    x = curve.x[distribution.VALUE]
    before = np.flatnonzero(x <= value)
    return curve.mean[before[-1]] if len(before) else 0.0


def counted(values, value):
    return sum(each <= value for each in values) / len(values)


def test_the_share_is_that_of_the_clients_who_have_at_most_the_value():
    values = [0.5, 0.25, 0.5, 1.0, 0.75]
    curve = distribution.mean_shares([run(*values)], METRIC)
    for value in (0.0, 0.25, 0.3, 0.5, 0.6, 0.75, 0.9, 1.0, 2.0):
        assert at(curve, value) == counted(values, value)
    # The corners of the steps, from 0 to 1.
    np.testing.assert_array_equal(
        curve.x[distribution.VALUE], [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1]
    )
    np.testing.assert_allclose(curve.mean, [0, 0.2, 0.2, 0.6, 0.6, 0.8, 0.8, 1])
    assert curve.seeds == 1 and not curve.std.any()


def test_over_seeds_the_shares_are_averaged_at_each_value_with_their_deviation():
    seeds = [0.2, 0.4], [0.4, 0.4, 0.8]
    curve = distribution.mean_shares([run(*values) for values in seeds], METRIC)
    assert curve.seeds == 2
    for i, value in enumerate((0.2, 0.4, 0.8)):
        shares = [counted(values, value) for values in seeds]
        assert at(curve, value) == pytest.approx(np.mean(shares))
        assert curve.std[2 * i + 1] == pytest.approx(abs(shares[0] - shares[1]) / np.sqrt(2))


def test_many_values_are_thinned_and_what_is_left_is_exact():
    values = np.random.default_rng(0).normal(size=5000)
    curve = distribution.mean_shares([run(*values)], METRIC)
    x = curve.x[distribution.VALUE]
    assert len(x) == 2 * distribution.MOST_STEPS
    assert x[0] == values.min() and x[-1] == values.max() and curve.mean[-1] == 1
    np.testing.assert_allclose(curve.mean[1::2], [np.mean(values <= value) for value in x[1::2]])
    # A step is one of 249 equal parts of the clients.
    assert np.diff(curve.mean).max() < 1 / 249 + 1 / 5000


def test_all_seeds_must_have_kept_their_clients_and_clients_may_lack_the_metric():
    assert distribution.mean_shares([run(0.5), run(name="test/loss")], METRIC) is None
    assert distribution.mean_shares([run(np.nan)], METRIC) is None
    assert at(distribution.mean_shares([run(np.nan, 0.5, 0.7)], METRIC), 0.5) == 0.5


@pytest.mark.parametrize(
    ("metric", "column"),
    [
        ("test/accuracy", "test/accuracy"),
        ("test/clients/accuracy/p10", "test/accuracy"),
        ("personal/accuracy/mean", "personal/accuracy"),
        ("global_on_same/loss/worst_decile", "global_on_same/loss"),
    ],
)
def test_a_metric_of_a_row_is_found_among_those_of_clients(metric, column):
    assert distribution.column(metric) == column
