"""Gaussian mechanisms as data: what they are to an accountant, and what is refused."""

import dp_accounting
import numpy as np
import pytest
from dp_accounting import rdp

from tff_experiments.privacy import mechanisms


def test_a_client_that_moves_the_sum_twice_as_far_needs_twice_the_noise():
    gaussian = mechanisms.Gaussian(3.0)
    assert gaussian.event(7, sensitivity=1) == dp_accounting.GaussianDpEvent(3.0)
    assert gaussian.event(7, sensitivity=2) == dp_accounting.GaussianDpEvent(1.5)


def test_both_sums_of_adaptive_clipping_cost_what_one_gaussian_does():
    # The library composes the two itself. A bit of -1/2 or 1/2 with sigma_b has multiplier 2 sigma.
    adaptive = mechanisms.AdaptiveClipping(noise_multiplier=1.1, count_stddev=2.0)
    both = dp_accounting.ComposedDpEvent(
        [
            dp_accounting.GaussianDpEvent(adaptive.value_noise_multiplier),
            dp_accounting.GaussianDpEvent(2 * 2.0),
        ]
    )
    curve = lambda event: (
        rdp.RdpAccountant().compose(dp_accounting.PoissonSampledDpEvent(0.1, event)).rdp
    )
    np.testing.assert_allclose(
        curve(adaptive.event(1, sensitivity=1)), curve(both), rtol=1e-12
    )  # Rounding of the sum of squares only.


def test_without_noise_to_spare_for_the_count_updates_get_all():
    almost_free = mechanisms.AdaptiveClipping(noise_multiplier=1.0, count_stddev=1e6)
    assert almost_free.value_noise_multiplier == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mechanisms.Gaussian(0.0), "noise_multiplier must be > 0"),
        (lambda: mechanisms.Gaussian(float("nan")), "noise_multiplier must be > 0"),
        (lambda: mechanisms.LocalGaussian(-1.0), "noise_multiplier must be > 0"),
        (lambda: mechanisms.AdaptiveClipping(1.0, 0.5), "count_stddev must be > 0.5"),
        (lambda: mechanisms.TreeAggregation(1.0, -1), "restart_every must be >= 0"),
        (lambda: mechanisms.BandedFactorization(1.0, 0), "bands must be >= 1"),
    ],
)
def test_what_gives_no_bound_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
