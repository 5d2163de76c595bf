"""Mechanisms whose noise is Gaussian, as frozen data: what is noised, by how much.

`noise_multiplier` z is the noise's standard deviation over the clip C, the L2 norm that a client's
update has at most. Updates are summed (or divided by a constant) with equal weights: with weights
of their own a client's influence is not C.

    Gaussian          sum_i x_i + N(0, (z C)^2)                         (McMahan et al. 2018)
    AdaptiveClipping  the same, and a noisy count of the clipped        (Andrew et al. 2021)
    TreeAggregation   N(0, (z C)^2) at each node of a binary tree       (Kairouz et al. 2021)
    BandedFactorization  x + C^-1 Z, Z ~ N(0, (z clip)^2), C banded     (Choquette-Choo et al. 2023)
    LocalGaussian     each client's x_i + N(0, (z C)^2), seen one by one
"""

import dataclasses
import math

import dp_accounting

Event = dp_accounting.DpEvent


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Noise of the server's, in each round's sum."""

    noise_multiplier: float
    """Standard deviation of the noise in the sum over the clip, z > 0."""

    def __post_init__(self):
        _check_noise(self.noise_multiplier)

    def event(self, arrived: int, *, sensitivity: float) -> Event:
        """One round; `sensitivity` is in clips: 1 if a client is taken out, 2 if replaced."""
        del arrived  # The server's noise does not shrink with the cohort.
        return dp_accounting.GaussianDpEvent(self.noise_multiplier / sensitivity)


@dataclasses.dataclass(frozen=True)
class AdaptiveClipping:
    """A clip that follows a quantile of the updates' norms, estimated under noise.

    Andrew et al. 2021, theorem 1 (https://arxiv.org/abs/1905.03871). Each client adds a bit, -1/2
    or 1/2, to a sum with noise sigma_b. Both sums together cost what one with z does, if the
    updates get

        z_delta = (z^-2 - (2 sigma_b)^-2)^(-1/2)
    """

    noise_multiplier: float
    """Effective noise multiplier z > 0, of both sums together."""
    count_stddev: float
    """sigma_b, standard deviation of the noise in the count of unclipped clients, > z / 2."""

    def __post_init__(self):
        _check_noise(self.noise_multiplier)
        if not 2 * self.count_stddev > self.noise_multiplier:
            raise ValueError(
                f"count_stddev must be > {self.noise_multiplier / 2:g}, half of the "
                f"noise_multiplier: no noise on the updates makes up for less; got "
                f"{self.count_stddev}."
            )

    @property
    def value_noise_multiplier(self) -> float:
        """z_delta, by which the updates are noised; above z."""
        return (self.noise_multiplier**-2 - (2 * self.count_stddev) ** -2) ** -0.5

    def event(self, arrived: int, *, sensitivity: float) -> Event:
        """One round, as `Gaussian.event`: a replaced client moves bit and update twice as far."""
        return Gaussian(self.noise_multiplier).event(arrived, sensitivity=sensitivity)


@dataclasses.dataclass(frozen=True)
class TreeAggregation:
    """DP-FTRL: prefix sums of the rounds from noisy nodes of a binary tree, restarted.

    Kairouz et al. 2021, appendix D (https://arxiv.org/abs/2103.00039). Variance reduction
    (Honaker's) is postprocessing, and costs nothing.
    """

    noise_multiplier: float
    """Standard deviation of the noise in one node over the clip, z > 0."""
    restart_every: int = 0
    """Rounds of a tree, after which a new one begins; 0 is one tree for all."""

    def __post_init__(self):
        _check_noise(self.noise_multiplier)
        if self.restart_every < 0:
            raise ValueError(f"restart_every must be >= 0, got {self.restart_every}.")


@dataclasses.dataclass(frozen=True)
class BandedFactorization:
    """DP-FTRL with noise correlated over `bands` rounds (`matrix_factorization`).

    Choquette-Choo et al. 2023 (https://arxiv.org/abs/2306.08153): where no client takes
    part twice within `bands` rounds, the columns of C that it meets are orthogonal, each of norm
    <= 1, and k participations cost what k rounds of `Gaussian` do.
    """

    noise_multiplier: float
    """Standard deviation of Z, of which noise is made as C^-1 Z, over the clip, z > 0."""
    bands: int
    """Diagonals of C, >= 1; 1 is independent noise."""

    def __post_init__(self):
        _check_noise(self.noise_multiplier)
        if self.bands < 1:
            raise ValueError(f"bands must be >= 1, got {self.bands}.")

    def event(self, arrived: int, *, sensitivity: float) -> Event:
        """One participation, as `Gaussian.event`."""
        return Gaussian(self.noise_multiplier).event(arrived, sensitivity=sensitivity)


@dataclasses.dataclass(frozen=True)
class LocalGaussian:
    """Noise of each client's own, enough for its update alone: for comparison."""

    noise_multiplier: float
    """Standard deviation of a client's noise over the clip, z > 0."""

    def __post_init__(self):
        _check_noise(self.noise_multiplier)

    def event(self, arrived: int, *, sensitivity: float) -> Event:
        """One participation; see `Gaussian.event`. No other client's noise counts."""
        return Gaussian(self.noise_multiplier).event(arrived, sensitivity=sensitivity)


def _check_noise(noise_multiplier: float) -> None:
    if not 0 < noise_multiplier < math.inf:
        raise ValueError(
            f"noise_multiplier must be > 0: without noise there is no bound; got "
            f"{noise_multiplier}."
        )
