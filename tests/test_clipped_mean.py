"""The clipped mean against numpy, against TFF's own, and under attack."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from aggregation_helpers import Aggregation, aggregate, draw

from tff_experiments.aggregation import clipped_mean, mean


def test_fixed_bounds_zero_then_clip_then_average():
    rows, weights = draw(6).astype(np.float64), np.arange(1.0, 7)
    rows[2, 7], rows[3] = 50, 0.001 * rows[3]
    got, measured = aggregate(
        clipped_mean, rows, weights, clipping="fixed", clip=3.0, zeroing="fixed", zero=20.0
    )
    rows[2] = 0
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows *= np.minimum(1, 3 / np.maximum(norms, 1e-9))
    # A client that is zeroed keeps its weight, as in TFF.
    np.testing.assert_allclose(got, np.average(rows, axis=0, weights=weights), atol=1e-6)
    measured = measured["finite"]
    assert measured["zeroed_count"] == 1 and measured["zeroing_norm"] == 20
    assert measured["zeroing"]["clipped_count"] == 4 and measured["zeroing"]["clipping_norm"] == 3


def test_with_adaptive_bounds_it_is_tffs_robust_aggregator():
    ours = Aggregation(clipped_mean.build(clipped_mean.Hparams()))
    tffs = Aggregation(tff.learning.robust_aggregator())
    for seed in range(4):
        rows = draw(8, seed=seed) * 3.0 ** np.arange(8)[:, None]
        np.testing.assert_array_equal(ours.rows(rows), tffs.rows(rows))
        leaves = zip(tf.nest.flatten(ours.state), tf.nest.flatten(tffs.state), strict=True)
        assert all(a == b for a, b in leaves)
        assert ours.measured["finite"] == tffs.measured


def test_without_both_it_is_the_mean():
    rows, weights = draw(5), np.arange(1, 6)
    got, _ = aggregate(clipped_mean, rows, weights, clipping="off", zeroing="off")
    np.testing.assert_array_equal(got, aggregate(mean, rows, weights)[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_left_out_and_counted(bad):
    rows, weights = draw(6), np.arange(1.0, 7)
    rows[1, 200] = rows[2, 0] = bad
    weights[3] = bad
    aggregation = Aggregation(clipped_mean.build(clipped_mean.Hparams(clip=100.0)))
    got = aggregation.rows(rows, weights)
    kept = [0, 4, 5]
    wanted = np.average(rows[kept].astype(np.float64), axis=0, weights=weights[kept])
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    assert aggregation.measured["non_finite"] == 3
    assert all(np.isfinite(leaf).all() for leaf in tf.nest.flatten(aggregation.state))


@pytest.mark.parametrize("size", [1e6, 3e38])
def test_an_attacker_moves_the_mean_by_its_share_of_the_norm_at_most(size):
    """3e38 squared is infinite in float32: such an update is zeroed, or its scale is 0."""
    rows = draw(10)
    for zeroing in ("fixed", "off"):
        honest, _ = aggregate(clipped_mean, rows[1:], clipping="fixed", clip=2.0)
        attacked = np.concatenate([np.full_like(rows[:1], size), rows[1:]])
        got, _ = aggregate(clipped_mean, attacked, clipping="fixed", clip=2.0, zeroing=zeroing)
        # (9 honest + a) / 10 - honest = (a - honest) / 10, both of norm 2 at most.
        assert np.linalg.norm(got - honest) <= 4 / 10 * (1 + 1e-5)


def test_no_client_gives_zero():
    got, measured = aggregate(clipped_mean, np.zeros((0, 201)))
    np.testing.assert_array_equal(got, 0)
    assert measured["non_finite"] == 0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("clip", 0.0, "clip must be > 0, got 0"),
        ("zero", -1.0, "zero must be > 0, got -1"),
        ("clip_quantile", 1.5, r"clip_quantile must be in \(0, 1\], got 1.5"),
    ],
)
def test_knobs_out_of_range_are_refused(field, value, message):
    with pytest.raises(ValueError, match=message):
        clipped_mean.Hparams(**{field: value})
