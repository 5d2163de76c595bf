"""Rows at the server: who is left out, any structure, empty cohorts, any number of workers."""

import collections

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from aggregation_helpers import Aggregation, draw

from tff_experiments.aggregation import flat, median, stacked


def spread(rows, weights):
    """A rule that shows what it is given: the mean, and sums of rows and weights."""
    return tf.reduce_mean(rows, 0), {"rows": tf.reduce_sum(rows), "weights": tf.reduce_sum(weights)}


@pytest.fixture(scope="module")
def aggregation():
    return Aggregation(stacked.StackedFactory(spread))


def test_rows_and_weights_reach_the_rule_whatever_their_order(aggregation):
    rows, weights = draw(40), np.arange(1, 41)
    got = aggregation.rows(rows, weights)
    np.testing.assert_allclose(got, rows.mean(0, dtype=np.float64), rtol=1e-5, atol=1e-6)
    measured = aggregation.measured
    assert measured["rows"] == pytest.approx(rows.sum(dtype=np.float64), rel=1e-4)
    assert measured["weights"] == weights.sum() and measured["clients"] == 40


def test_who_has_no_weight_or_is_not_finite_is_left_out_and_counted(aggregation):
    rows, weights = draw(9), np.ones(9)
    rows[1, 5], rows[2, 200], rows[3] = np.nan, np.inf, 0
    weights[3], weights[4], weights[5] = 0, np.nan, -1
    got = aggregation.rows(rows, weights)
    np.testing.assert_allclose(got, rows[[0, 6, 7, 8]].mean(0), rtol=1e-5, atol=1e-6)
    measured = aggregation.measured
    assert (measured["clients"], measured["non_finite"], measured["without_weight"]) == (4, 3, 2)


@pytest.mark.parametrize("rows", [np.zeros((0, 201)), np.full((3, 201), np.nan)])
def test_without_rows_the_update_and_the_rules_measurements_are_0(aggregation, rows):
    np.testing.assert_array_equal(aggregation.rows(rows), 0)
    left = dict(aggregation.measured)
    assert left.pop("non_finite") == len(rows)
    assert not any(left.values())


kind = lambda dtype, *shape: tff.TensorType(dtype, shape)
TYPES = {
    "lone tensor": kind(np.float32, 3),
    "lone scalar": kind(np.float32),
    "one leaf": tff.to_type([kind(np.float32, 2, 2)]),
    "one scalar leaf": tff.to_type(collections.OrderedDict(a=kind(np.float32))),
    "a leaf without coordinates": tff.to_type([kind(np.float32, 0), kind(np.float32, 2)]),
    "nested": tff.to_type(
        collections.OrderedDict(z=[kind(np.float32, 2), kind(np.float32)], a=(kind(np.float32),))
    ),
    "float64": tff.to_type([kind(np.float64, 2), kind(np.float32, 2)]),
    "half": tff.to_type([kind(np.float16, 2), kind(ml_dtypes.bfloat16, 2), kind(np.float32)]),
}


@pytest.mark.parametrize("name", TYPES)
def test_the_update_may_be_any_structure_of_floats(name):
    """Of three clients with 1, 2 and 4 everywhere the median has 2, in each tensor's dtype."""
    specs = tff.types.type_to_tf_tensor_specs(TYPES[name])
    fill = lambda number: tf.nest.map_structure(
        lambda spec: np.full(spec.shape, number, spec.dtype.as_numpy_dtype), specs
    )
    aggregation = Aggregation(median.build(median.Hparams()), value_type=TYPES[name])
    got = aggregation.values([fill(4), fill(1), fill(2)])
    for leaf, spec in zip(tf.nest.flatten(got), tf.nest.flatten(specs), strict=True):
        leaf = np.asarray(leaf)
        assert leaf.dtype == spec.dtype.as_numpy_dtype and leaf.shape == spec.shape
        np.testing.assert_array_equal(leaf, np.full(spec.shape, 2, leaf.dtype))


def test_float64_keeps_its_digits():
    layout = flat.Flat(tff.to_type([np.float64, np.float32]))
    assert layout.type.dtype == np.float64
    value = [tf.constant(1 + 2.0**-40, tf.float64), tf.constant(3.0)]
    assert layout.unflatten(layout.flatten(value))[0] == 1 + 2.0**-40


@pytest.mark.parametrize("wrong", [np.int32, tff.TensorType(np.float32, [None])])
def test_what_is_no_vector_of_floats_is_refused(wrong):
    with pytest.raises(TypeError, match="expected float tensors of known shapes, got"):
        median.build(median.Hparams()).create(tff.to_type([wrong]), tff.TensorType(np.float32))


def test_the_pieces_are_all_columns_in_order():
    for size in (1, 5, 32, 33, 1000):
        rows = tf.random.normal([3, size])
        parts = stacked.pieces(rows)
        assert len(parts) <= 32
        np.testing.assert_array_equal(tf.concat(parts, 1), rows)


def test_distances_of_near_rows_are_right_beside_one_that_is_huge():
    rows = np.concatenate([1000 + draw(4).astype(np.float64), np.full((1, 201), 3e38)])
    rows = rows.astype(np.float32)
    got = stacked.squared_distances(stacked.gram(tf.constant(rows))).numpy()
    wide = rows.astype(np.float64)
    wanted = ((wide[:, None] - wide[None]) ** 2).sum(2)
    # Squares of 1e3 * sqrt(201) have 16 digits: 2e8 * 1e-16 of distances of about 100.
    np.testing.assert_allclose(got[:4, :4], wanted[:4, :4], rtol=1e-8, atol=1e-6)
    np.testing.assert_allclose(got[4, :4], wanted[4, :4], rtol=1e-8)


@pytest.mark.parametrize(("share", "clients", "count"), [(0.29, 100, 29), (0.3, 9, 2), (0, 5, 0)])
def test_a_fraction_of_the_clients_is_rounded_down(share, clients, count):
    assert stacked.fraction(tf.zeros([clients, 1]), share) == count
