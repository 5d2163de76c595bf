"""Bounds of the noise, against noise that numpy makes from its definition."""

import numpy as np
import pytest
from test_bfv import TABLE, layout

from tff_experiments.secure_sum import he_noise

DEGREE = 1024


def noise_at_roots(rng, num_clients):
    """Sum over clients of v = -e u + e_1 + e_2 s, at the roots; and its coefficients."""
    at = np.exp(1j * np.pi / DEGREE * (np.outer(np.arange(1, 2 * DEGREE, 2), np.arange(DEGREE))))
    ternary = lambda: at @ rng.integers(-1, 2, DEGREE)
    # Centred binomial with variance 10.5.
    error = lambda: at @ (rng.binomial(21, 0.5, DEGREE) - rng.binomial(21, 0.5, DEGREE))
    s, e = ternary(), error()
    v = sum(-e * ternary() + error() + error() * s for _ in range(num_clients))
    return v, (at.conj().T @ v).real / DEGREE


@pytest.mark.parametrize("num_clients", [1, 10])
def test_the_bounds_are_of_the_noise_that_they_are_said_to_be(num_clients):
    """Coefficients: TAIL deviations of the worst s, which has half as much again in it."""
    slots, coefficients = noise_at_roots(np.random.default_rng(0), num_clients)
    bound = he_noise.coefficient_noise(DEGREE, num_clients)
    deviations = bound / coefficients.std()
    assert 10 < deviations < 15 and np.abs(coefficients).max() < bound / 2
    bound = he_noise.slot_noise(DEGREE, num_clients)
    parts = np.concatenate([slots.real, slots.imag])
    # The bound is for the worst slot of e and s, ten deviations of these.
    assert 90 < bound / parts.std() < 150 and np.abs(parts).max() < bound / 8


def test_the_table_is_the_standards():
    assert he_noise.MAX_BITS.items() <= TABLE.items()


def test_the_cheapest_parameters_hold_the_sum():
    small, large = (
        he_noise.Choice(2048, 40, 2**20, 0),
        he_noise.Choice(4096, 50, 2**30, 0),
    )
    cheapest = lambda *args: he_noise.cheapest([small, large], *args)
    assert cheapest(layout(10**6, 15), 32) == small
    # Two limbs of 40 bits are more than one of 50, in a short vector too.
    assert cheapest(layout(10**6, 16), 32) == large == cheapest(layout(1, 16), 32)
    assert cheapest(layout(5, 1), 2**25) == large
    with pytest.raises(ValueError, match="no parameters hold a sum of 2147483648 clients"):
        cheapest(layout(1, 1), 2**31)


def test_a_prime_of_so_many_bits_exceeds_the_value():
    for value in (2.0**30, 2.0**30 * 1.001, 2.0**31 * 0.995, 2.0**31 * 0.97):
        assert 2 ** he_noise.bits_above(value) * 0.99 >= value * 0.999
