"""The quantized secure sum against float64 numpy."""

import collections

import numpy as np
import pytest
import tensorflow_federated as tff

from tff_experiments import runtime
from tff_experiments.aggregation import quantized_sum

TYPE = tff.to_type(
    collections.OrderedDict(w=tff.TensorType(np.float32, [40, 5]), b=tff.TensorType(np.float32, []))
)


def constant_bound(value):
    """A bound that follows nothing."""
    server = lambda kind: tff.FederatedType(kind, tff.SERVER)

    @tff.federated_computation
    def initialize():
        return tff.federated_value(np.float32(value), tff.SERVER)

    @tff.federated_computation(server(np.float32), tff.FederatedType(np.float32, tff.CLIENTS))
    def next_fn(state, largest):
        del largest
        return state

    @tff.federated_computation(server(np.float32))
    def report(state):
        return state

    return tff.templates.EstimationProcess(initialize, next_fn, report)


def aggregate(values, *, bits, bound=2.0, rounding="nearest", seed=0):
    """(sum as a flat float64 vector, measurements)."""
    factory = quantized_sum.QuantizedSumFactory(constant_bound(bound), bits=bits, rounding=rounding)
    with runtime.use(seed=seed):
        total, measurements = as_round(factory.create(TYPE))(np.float32(bound), values)[1]
    return flat(total), measurements


def as_round(process):
    """A MapReduceForm has two results."""

    @tff.federated_computation(
        process.initialize.type_signature.result, tff.FederatedType(TYPE, tff.CLIENTS)
    )
    def next_fn(state, value):
        output = process.next(state, value)
        return output.state, (output.result, output.measurements)

    return next_fn


def flat(value):
    return np.concatenate([np.ravel(value["w"]), np.ravel(value["b"])]).astype(np.float64)


def draw(num_clients, *, scale=0.5):
    rng = np.random.default_rng(num_clients)
    return [
        {
            "w": (scale * rng.standard_normal((40, 5))).astype(np.float32),
            "b": np.float32(scale * rng.standard_normal()),
        }
        for _ in range(num_clients)
    ]


def quantized(x, bits, bound):
    """The grid, written out; numpy rounds halves to even, as TensorFlow does."""
    levels = 2 ** (bits - 1) - 1
    step = np.float64(np.float32(bound)) / levels
    return np.clip(np.round(x / step), -levels, levels) * step


@pytest.mark.parametrize("bits", [2, 8, 20, 32])
def test_the_sum_is_that_of_the_grid(bits):
    values = draw(7)
    got, measured = aggregate(values, bits=bits)
    wanted = sum(quantized(flat(value), bits, 2.0) for value in values)
    # The sum leaves as float32.
    np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-7)
    assert measured["step"] == pytest.approx(2.0 / (2 ** (bits - 1) - 1))


@pytest.mark.parametrize("bits", [8, 20])
def test_the_reported_error_is_the_geometric_mean_of_the_clients(bits):
    values = draw(5)
    _, measured = aggregate(values, bits=bits)
    errors = []
    for value in values:
        x = flat(value)
        errors.append(np.linalg.norm(quantized(x, bits, 2.0) - x) / np.linalg.norm(x))
    wanted = np.exp(np.mean(np.log(errors)))
    # The logarithms travel as 32-bit integers of a range of 64.
    assert measured["quantization_error"] == pytest.approx(wanted, rel=1e-5)
    assert measured["clipped_clients"] == 0


def test_zero_is_exact_and_coordinates_above_the_bound_are_clipped_and_counted():
    zeros = {"w": np.zeros((40, 5), np.float32), "b": np.float32(0)}
    got, measured = aggregate([zeros, zeros], bits=8)
    np.testing.assert_array_equal(got, 0)
    assert measured["quantization_error"] == 2.0**-64
    got, measured = aggregate([{**zeros, "b": np.float32(9)}, zeros], bits=8)
    assert got[-1] == pytest.approx(2.0) and measured["clipped_clients"] == 1


def test_no_client_sums_to_zero():
    got, measured = aggregate([], bits=8)
    np.testing.assert_array_equal(got, 0)
    assert measured["quantization_error"] == 0


def test_stochastic_rounding_is_right_on_average():
    """400 rounds of one client at 4 bits: the mean's standard error is step / 40 at most."""
    value = draw(1)[0]
    factory = quantized_sum.QuantizedSumFactory(constant_bound(2.0), bits=4, rounding="stochastic")
    next_fn = as_round(factory.create(TYPE))
    with runtime.use(seed=3):
        sums = [flat(next_fn(np.float32(2.0), [value])[1][0]) for _ in range(400)]
    step = 2.0 / 7
    assert np.abs(np.mean(sums, axis=0) - np.clip(flat(value), -2, 2)).max() < 5 * step / 40
    # Each is on the grid, next to the value.
    assert np.abs(np.array(sums) - np.clip(flat(value), -2, 2)).max() <= step * (1 + 1e-6)


def test_at_32_bits_it_is_tffs_secure_sum():
    values = draw(6)
    next_fn = as_round(tff.aggregators.SecureSumFactory(2.0, -2.0).create(TYPE))
    with runtime.use():
        wanted = flat(next_fn((), values)[1][0])
    got, _ = aggregate(values, bits=32)
    # Both grids have 4 / 2^32 steps; results are float32.
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bits", [1, 33])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match=rf"bits must be in 2 \.\. 32, got {bits}"):
        quantized_sum.QuantizedSumFactory(constant_bound(1.0), bits=bits)
