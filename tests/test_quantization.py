"""Scale, norm after rounding and bits, against rounding done and the equations solved anew."""

import math

import numpy as np
import pytest
from scipy import stats

from tff_experiments.privacy import quantization

SETTING = dict(clip=0.03, num_clients=100, local_stddev=0.004, dim=2**20, k_stddevs=4.0)


def test_k_standard_deviations_fill_half_of_the_ring():
    gamma = 1 / quantization.scale(bits=14, **SETTING)
    variance = (100 * 0.03) ** 2 / 2**20 + (gamma**2 / 4 + 0.004**2) * 100
    assert 4 * math.sqrt(variance) / gamma == pytest.approx(2**13, rel=1e-12)


def bits_needed(scale):
    """The least bits in which a sum at a given scale fits."""
    variance = (100 * 0.03) ** 2 / 2**20 + 100 * 0.004**2
    return math.ceil(math.log2(2 * 4 * math.sqrt(scale**2 * variance + 100 / 4)))


@pytest.mark.parametrize("bits", range(8, 25))
def test_a_sum_fits_the_bits_for_which_it_was_scaled_and_no_fewer(bits):
    scale = quantization.scale(bits=bits, **SETTING)
    assert bits_needed(scale * (1 - 1e-9)) == bits
    assert bits_needed(scale * 1.001) == bits + 1


def test_a_ring_that_rounding_alone_fills_is_refused_with_the_bits():
    # 4 sqrt(100) = 40 standard deviations of rounding, of up to 1/2 each, in both directions.
    with pytest.raises(ValueError, match=r"5 bits is too small for 100 clients.* takes 6 bits"):
        quantization.scale(bits=5, **SETTING)
    assert quantization.scale(bits=6, **SETTING) > 0


@pytest.mark.parametrize("kind", ["flat", "halves", "one_coordinate"])
def test_rounding_exceeds_the_bound_no_more_often_than_beta(kind):
    rng, dim, norm, beta, draws = np.random.default_rng(0), 256, 5.0, math.exp(-0.5), 2000
    x = {
        "flat": np.full(dim, norm / math.sqrt(dim)),
        "halves": np.full(dim, 0.5),
        "one_coordinate": np.eye(dim)[0] * norm,
    }[kind]
    norm = np.linalg.norm(x)
    rounded = np.floor(x + rng.random((draws, dim)))
    norms = np.linalg.norm(rounded, axis=1)
    assert norms.max() <= quantization.rounded_l2_norm(norm, dim=dim, beta=0.0)
    exceed = (norms > quantization.rounded_l2_norm(norm, dim=dim, beta=beta)).sum()
    # At rate beta, more than this has probability 1e-7.
    assert exceed <= stats.binom.isf(1e-7, draws, beta)
    bound = quantization.rounded_l1_norm(norms.max(), dim=dim)
    assert np.abs(rounded).sum(axis=1).max() <= bound


def test_a_fine_grid_leaves_the_norm():
    assert quantization.rounded_l2_norm(1e9, dim=256, beta=0.5) == pytest.approx(1e9, rel=1e-8)


def test_few_large_integers_have_an_l1_norm_of_at_most_their_squares():
    # sqrt(3): three ones among many zeros have L1 norm 3 = 3^(1/2) squared.
    assert quantization.rounded_l1_norm(math.sqrt(3), dim=10**6) == pytest.approx(3.0)
    assert quantization.rounded_l1_norm(100.0, dim=4) == 200.0


@pytest.mark.parametrize(("dim", "padded"), [(1, 1), (2, 2), (3, 4), (1_018_174, 2**20)])
def test_the_rotation_takes_powers_of_two(dim, padded):
    assert quantization.padded_dim(dim) == padded


def test_arrivals_are_rounded_down_and_their_noise_adds_up():
    # 100 * (1 - 0.57) is 42.99999999999999 in floating point.
    cases = {(100, 0.1): 90, (100, 0.57): 43, (10, 0.25): 7, (3, 0.9): 1, (100, 0.0): 100}
    assert {k: quantization.expected_arrivals(*k) for k in cases} == cases
    assert 90 * quantization.local_stddev(2.0, 90) ** 2 == pytest.approx(4.0, rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantization.padded_dim(0), "dim must be >= 1"),
        (lambda: quantization.rounded_l2_norm(1.0, dim=4, beta=1.0), r"beta must be in \[0, 1\)"),
        (lambda: quantization.expected_arrivals(9, 1.0), r"expected_dropout must be in \[0, 1\)"),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
