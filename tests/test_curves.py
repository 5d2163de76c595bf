"""Totals, crossings and intervals against sums by hand and scipy."""

import json

import numpy as np
import pytest
import reporting_helpers as helpers
import scipy.stats

from tff_experiments.reporting import curves

CURVE = [0.5, 0.7, 0.8]


def test_totals_are_sums_over_all_rounds():
    spent = curves.totals(helpers.run(helpers.rows(CURVE)))
    # 30 rounds of 2 s and three evaluations of 1 s; 10 clients x 100 up, x 200 down.
    assert spent["seconds"][-1] == pytest.approx(30 * 2 + 3)
    assert spent["uplink_bytes"][-1] == 30 * 10 * 100
    assert spent["downlink_bytes"][-1] == 30 * 10 * 200
    assert np.isnan(spent["simulated_seconds"]).all()


def test_the_protocol_counts_its_own_uploads_and_adds_its_downloads():
    protocol = {
        "secure_sum/upload_bytes_per_client": 70.5,
        "secure_sum/download_bytes_per_client": 5,
    }
    spent = curves.totals(helpers.run(helpers.rows(CURVE, **protocol)))
    assert spent["uplink_bytes"][-1] == pytest.approx(30 * 10 * 70.5)
    assert spent["downlink_bytes"][-1] == pytest.approx(30 * 10 * 205)


def test_an_aborted_round_cost_bytes_and_time_too():
    made = helpers.rows(CURVE, **{"time/total_s": 7.0})
    for name in ("bytes/uplink_per_client", "bytes/downlink_per_client", "time/total_s"):
        del made[14][name]
    spent = curves.totals(helpers.run(made))
    assert spent["uplink_bytes"][-1] == 30 * 10 * 100
    assert spent["simulated_seconds"][14] == 7.0


def test_what_a_run_does_not_know_is_not_a_number():
    spent = curves.totals(helpers.run([{"round": 1}, {"round": 2}]))
    assert all(np.isnan(spent[name]).all() for name in spent if name != "round")


def test_rows_that_are_missing_are_estimated_and_totals_make_them_exact():
    # One slow round, between the evaluated ones.
    made = helpers.rows(CURVE)
    made[4]["seconds/round"] = 50.0
    whole = helpers.run(made)
    kept = helpers.run(made[9::10])
    assert curves.is_estimated(kept) and not curves.is_estimated(whole)
    assert curves.totals(kept)["seconds"][-1] == pytest.approx(30 * 2 + 3)
    exact = helpers.run(json.loads(json.dumps(curves.with_totals(whole)[9::10])))
    assert not curves.is_estimated(exact)
    for axis in ("seconds", "uplink_bytes", "downlink_bytes"):
        assert curves.totals(exact)[axis] == pytest.approx(curves.totals(whole)[axis][9::10])


@pytest.mark.parametrize(
    ("target", "expected"),
    [(0.5, 10), (0.6, 15), (0.7, 20), (0.75, 37.5), (0.3, 10), (0.9, np.nan)],
)
def test_the_best_so_far_crosses_a_target_between_evaluations(target, expected):
    x = np.array([10.0, 20, 30, 40])
    # After the dip, the way to 0.8 starts at the best before, 0.7 in round 30.
    y = np.array([0.5, 0.7, 0.1, 0.7 + 0.2 / 3])
    np.testing.assert_allclose(curves.crossing(x, y, target, higher=True), expected)
    np.testing.assert_allclose(curves.crossing(x, -y, -target, higher=False), expected)


def test_a_target_is_counted_on_every_axis():
    made = helpers.rows(CURVE)
    for each in made:
        each["time/total_s"] = 100.0 * each["round"]
    spent = curves.to_target(helpers.run(made), "test/accuracy", 0.6, higher=True)
    assert spent["round"] == pytest.approx(15)
    assert spent["simulated_seconds"] == pytest.approx(1500)
    assert spent["seconds"] == pytest.approx((21 + 42) / 2)
    assert spent["uplink_bytes"] == pytest.approx(15_000)


def test_the_interval_is_scipys():
    values = np.random.default_rng(1).normal(200, 20, 12)
    ours = curves.bootstrap_interval(values)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, random_state=2
    ).confidence_interval
    # Ends are quantiles of 10^4 draws of a mean with deviation 5: 0.4 is three of their errors.
    np.testing.assert_allclose(ours, theirs, atol=0.4)
    assert curves.bootstrap_interval(values) == ours


def test_one_seed_has_no_interval_and_equal_seeds_an_empty_one():
    assert np.isnan(curves.bootstrap_interval([3.0])).all()
    assert curves.bootstrap_interval([3.0, 3.0]) == (3.0, 3.0)


def test_a_mean_curve_is_over_the_rounds_that_all_seeds_have():
    short, long = helpers.run(helpers.rows([0.4, 0.6])), helpers.run(helpers.rows(CURVE))
    curve = curves.mean_curve([short, long], "test/accuracy")
    np.testing.assert_allclose(curve.x["round"], [10, 20])
    np.testing.assert_allclose(curve.mean, [0.45, 0.65])
    np.testing.assert_allclose(curve.std, [0.1 / np.sqrt(2)] * 2)
    assert curves.mean_curve([short, long], "test/mse") is None


def test_losses_are_good_when_small():
    assert curves.higher_is_better("test/accuracy")
    assert not curves.higher_is_better("test/loss")
    assert not curves.higher_is_better("test/clients/loss/mean")
    assert not curves.higher_is_better("personal/mse/worst_decile")
    assert curves.higher_is_better("test/clients/accuracy/mean")
