"""Top-k against numpy, its bound and its bits."""

import numpy as np
import pytest
import tensorflow as tf
from aggregation_helpers import Aggregation, aggregate, draw, encode_often

from tff_experiments.aggregation import top_k


def kept(x, k):
    """x with all but its k largest magnitudes 0."""
    out = np.zeros_like(x)
    largest = np.argsort(-np.abs(x), kind="stable")[:k]
    out[largest] = x[largest]
    return out


@pytest.mark.parametrize(("fraction", "k"), [(1e-9, 1), (0.07, 7), (0.071, 8), (0.5, 50), (1, 100)])
def test_the_largest_are_kept_exactly_and_the_error_is_within_the_bound(fraction, k):
    x = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    (got,) = encode_often(top_k.TopK(100, fraction), x, 1)
    np.testing.assert_array_equal(got, kept(x, k))
    assert ((got - x) ** 2).sum() <= (1 - k / 100) * (x**2).sum() + 1e-6


def test_the_bound_is_met_where_all_coordinates_are_of_one_size():
    x = np.array([1, -1] * 50, np.float32)
    (got,) = encode_often(top_k.TopK(100, 0.25), x, 1)
    assert ((got - x) ** 2).sum() == 75


@pytest.mark.parametrize("size", [1, 2, 3])
def test_short_vectors(size):
    x = np.arange(1, size + 1, dtype=np.float32)
    (got,) = encode_often(top_k.TopK(size, 0.5), x, 1)
    np.testing.assert_array_equal(got, kept(x, -(-size // 2)))


@pytest.mark.parametrize(
    ("fraction", "bits"), [(0.05, 11 * 32 + 2 * 64), (1.0, 201 * 32 + 26 * 64)]
)
def test_the_mean_is_of_what_is_kept_and_bits_are_those_of_the_message(fraction, bits):
    """201 coordinates: positions of 8 bits, 8 to a word."""
    rows, weights = draw(6), np.arange(1, 7)
    aggregation = Aggregation(top_k.build(top_k.Hparams(fraction=fraction)))
    got = aggregation.rows(rows, weights)
    # The type's fields are in the order w, b; positions do not matter.
    sparse = np.array([kept(row, int(np.ceil(201 * fraction))) for row in rows], np.float64)
    np.testing.assert_allclose(
        got, np.average(sparse, axis=0, weights=weights), rtol=1e-5, atol=1e-6
    )
    measured = aggregation.measured["mean_value"]
    assert measured["uplink_bits"] == bits
    assert aggregation.round["bytes/uplink_per_client"] == bits / 8 + 8
    errors = ((sparse - rows) ** 2).sum(1) / (rows.astype(np.float64) ** 2).sum(1)
    assert measured["nmse"] == pytest.approx(errors.mean(), rel=1e-4, abs=1e-7)


def test_no_client_gives_zero():
    got, measured = aggregate(top_k, np.zeros((0, 201)))
    np.testing.assert_array_equal(got, 0)
    assert measured["mean_value"] == {"uplink_bits": 0, "nmse": 0}


def test_large_positions_come_back():
    x = np.zeros(1_206_590, np.float32)
    x[[0, 7, 1_206_589]] = 1, -2, 3
    (got,) = encode_often(top_k.TopK(len(x), 3 / len(x)), x, 1)
    np.testing.assert_array_equal(got, x)
    assert top_k.TopK(len(x), 0.01).encode(tf.constant(x))["positions"].shape == [4022]


@pytest.mark.parametrize("fraction", [0, 1.5])
def test_fractions_out_of_range_are_refused(fraction):
    with pytest.raises(ValueError, match=rf"fraction must be in \(0, 1\], got {fraction}"):
        top_k.Hparams(fraction=fraction)
