"""Bounds for sums of discrete noise, against exact Renyi divergences in one dimension."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import special

from tff_experiments.privacy import distributed, quantization

ORDERS = np.array([2.0, 3.0, 8.0])
SUPPORT = np.arange(-2000, 2001)
PLAN = distributed.Distributed(
    "skellam", noise_multiplier=1.0, clip=0.03, num_clients=100, dim=2**20, bits=16
)


def discrete_gaussians(stddev, clients):
    """Probabilities of a sum of discrete Gaussians; positive terms, so tails are accurate, too."""
    one = np.exp(-(SUPPORT**2) / (2 * stddev**2))
    total = one / one.sum()
    for _ in range(clients - 1):
        total = np.convolve(total, one / one.sum(), mode="same")
    return total


def skellams(stddev, clients):
    """Probabilities of a sum of Skellams: e^-v I_|k|(v), v the variance."""
    return special.ive(np.abs(SUPPORT), clients * stddev**2)


SUMS = {"discrete_gaussian": discrete_gaussians, "skellam": skellams}


def divergences(pmf, shift):
    """Renyi divergences of a distribution that is shifted, from itself."""
    seen = (pmf[:-shift] > 1e-300) & (pmf[shift:] > 1e-300)
    p, q = np.log(pmf[:-shift][seen]), np.log(pmf[shift:][seen])
    return np.array([special.logsumexp(a * p - (a - 1) * q) / (a - 1) for a in ORDERS])


@pytest.mark.parametrize("noise", SUMS)
@pytest.mark.parametrize(("stddev", "clients"), [(3.0, 1), (3.0, 4), (10.0, 3), (1.5, 20)])
@pytest.mark.parametrize("shift", [1, 5])
def test_the_bound_is_above_the_divergence(noise, stddev, clients, shift):
    exact = divergences(SUMS[noise](stddev, clients), shift)
    bound = distributed.NoisySumEvent(noise, clients, stddev, shift, shift, dim=1).rdp(ORDERS)
    assert (exact <= bound * (1 + 1e-12)).all()
    if shift == 1:  # Not far above: what the theorems add is below 4 / variance of it, or tau.
        assert (bound <= exact * (1 + 4 / (clients * stddev**2)) + 1e-6).all()


def test_narrow_discrete_gaussians_pay_for_not_being_closed_under_sums():
    # Proposition 14 written out, where tau is not negligible; and above the exact divergence.
    stddev, clients, l1, l2, dim = 0.6, 4, 3.0, math.sqrt(3.0), 50
    tau = sum(10 * math.exp(-2 * math.pi**2 * stddev**2 * j / (j + 1)) for j in range(1, clients))
    z = math.sqrt(clients) * stddev
    event = distributed.NoisySumEvent("discrete_gaussian", clients, stddev, l2, l1, dim)
    for a, found in zip((2, 64), event.rdp(np.array([2.0, 64.0])), strict=True):
        first = a * l2**2 / (2 * z**2) + tau * dim
        second = a / 2 * (l2**2 / z**2 + 2 * l1 * tau / z + tau**2 * dim)
        third = a / 2 * (l2 / z + math.sqrt(dim) * tau) ** 2
        assert found == pytest.approx(min(first, second, third), rel=1e-12)
    exact = divergences(discrete_gaussians(stddev, clients), 1)
    assert (
        exact <= dataclasses.replace(event, l1_sensitivity=1, l2_sensitivity=1).rdp(ORDERS)
    ).all()


def test_skellams_pay_the_lesser_of_two_excesses():
    stddev, clients, l1, l2 = 2.0, 4, 30.0, 5.0
    event = distributed.NoisySumEvent("skellam", clients, stddev, l2, l1, dim=50)
    mu = clients * stddev**2
    for a, found in zip((2, 64), event.rdp(np.array([2.0, 64.0])), strict=True):
        low, high = ((2 * a - 1) * l2**2 + 6 * l1) / (4 * mu**2), 3 * l1 / (2 * mu)
        assert found == pytest.approx(a * l2**2 / (2 * mu) + min(low, high), rel=1e-12)
    assert low > high  # Each is the lesser at one of the orders.


def test_many_bits_make_both_a_gaussian():
    z, orders = 0.7, np.array([2.0, 10.0, 100.0])
    for noise in SUMS:
        plan = dataclasses.replace(PLAN, noise=noise, noise_multiplier=z, bits=28)
        np.testing.assert_allclose(
            plan.event(100, sensitivity=1).rdp(orders), orders / (2 * z**2), rtol=1e-6
        )


def test_the_noise_is_that_of_those_who_arrived():
    # At 28 bits the divergence goes with 1 / variance.
    plan = dataclasses.replace(PLAN, bits=28)
    of = lambda arrived: plan.event(arrived, sensitivity=1).rdp(np.array([2.0]))
    assert of(60) / of(100) == pytest.approx(100 / 60, rel=1e-6)


def test_compensation_adds_what_is_expected_to_drop_out_and_still_fits_if_nobody_does():
    more = dataclasses.replace(PLAN, expected_dropout=0.3)
    assert more.expected_arrivals == 70
    assert 70 * more.local_stddev**2 == pytest.approx(100 * PLAN.local_stddev**2)
    noise_and_rounding = 100 * (more.scaled_local_stddev**2 + 1 / 4)
    signal = (more.scale * 100 * 0.03) ** 2 / 2**20
    assert 4 * math.sqrt(noise_and_rounding + signal) == pytest.approx(2**15, rel=1e-12)


def test_a_replaced_client_moves_the_sum_twice_as_far():
    one, two = (PLAN.event(100, sensitivity=s) for s in (1, 2))
    assert two.l2_sensitivity == 2 * one.l2_sensitivity == 2 * PLAN.scaled_l2_norm
    assert two.l1_sensitivity == 2 * one.l1_sensitivity
    assert one.l1_sensitivity == quantization.rounded_l1_norm(PLAN.scaled_l2_norm, dim=2**20)


def test_discrete_gaussians_too_narrow_for_the_theorem_have_no_bound():
    event = distributed.NoisySumEvent("discrete_gaussian", 9, 0.49, 1.0, 1.0, dim=1)
    assert np.isinf(event.rdp(ORDERS)).all()
    assert np.isfinite(dataclasses.replace(event, local_stddev=0.5).rdp(ORDERS)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(noise="laplace"), "noise must be one of"),
        (dict(noise_multiplier=0.0), "noise_multiplier must be > 0, got 0.0"),
        (dict(clip=-1.0), "clip must be > 0"),
        (dict(num_clients=0), "num_clients must be > 0"),
        (dict(bits=33), "bits must be in 1 .. 32, got 33"),
        (dict(bits=4), "4 bits is too small for 100 clients .* takes 6 bits"),
        (dict(beta=1.0), r"beta must be in \[0, 1\)"),
        (dict(expected_dropout=-0.1), r"expected_dropout must be in \[0, 1\)"),
    ],
)
def test_what_can_not_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAN, **change)


def test_a_sum_of_nobody_has_no_event():
    with pytest.raises(ValueError, match="arrived must be >= 1, got 0"):
        PLAN.event(0, sensitivity=1)
