"""Distributed noise: each client adds integers of its own, and the secure sum hides all but their
total.

    discrete_gaussian  Kairouz, Liu, Steinke, ICML 2021 (https://arxiv.org/abs/2102.06387)
    skellam            Agarwal, Kairouz, Liu, NeurIPS 2021 (https://arxiv.org/abs/2110.04995)

In integers, with m clients' noise in the sum, local variance s^2, sensitivities D1 and D2, dim d:

    discrete Gaussian (proposition 14), tau = 10 sum_{j=1}^{m-1} exp(-2 pi^2 s^2 j / (j + 1)):
      eps(a) = min(a/2 D2^2/(m s^2) + tau d,
                   a/2 (D2^2/(m s^2) + 2 D1 tau/(sqrt(m) s) + tau^2 d),
                   a/2 (D2/(sqrt(m) s) + sqrt(d) tau)^2)                        s >= 1/2
    Skellam (section 3), mu = m s^2:
      eps(a) = a D2^2/(2 mu) + min(((2a - 1) D2^2 + 6 D1)/(4 mu^2), 3 D1/(2 mu))

Both hold for integer orders a. Sums of Skellams are Skellams, those of discrete Gaussians are not
quite: tau. Clients that drop out before their upload take their noise with them: m is what arrived.
"""

import dataclasses
import math
from typing import Literal

import dp_accounting
import numpy as np

from tff_experiments.privacy import quantization

Noise = Literal["discrete_gaussian", "skellam"]


@dataclasses.dataclass(frozen=True)
class NoisySumEvent(dp_accounting.DpEvent):
    """A sum of integer vectors, with the noise of some clients; all norms in integers."""

    noise: Noise
    """Distribution of one client's noise."""
    arrived: int
    """Clients whose noise is in the sum, >= 1."""
    local_stddev: float
    """Standard deviation of one client's noise."""
    l2_sensitivity: float
    """How far one client moves the sum, in L2."""
    l1_sensitivity: float
    """The same in L1."""
    dim: int
    """Length of the vectors."""

    def rdp(self, orders: np.ndarray) -> np.ndarray:
        """Renyi divergences at integer orders > 1, float64 [orders]; infinity where no bound is."""
        return RDP[self.noise](self, np.asarray(orders, np.float64))


def _discrete_gaussian_rdp(event: NoisySumEvent, a: np.ndarray) -> np.ndarray:
    if event.local_stddev < 0.5:  # The theorem wants more.
        return np.full_like(a, np.inf)
    j = np.arange(1, event.arrived)
    tau = 10 * np.exp(-2 * (np.pi * event.local_stddev) ** 2 * j / (j + 1)).sum()
    stddev = math.sqrt(event.arrived) * event.local_stddev
    l1, l2, d = event.l1_sensitivity / stddev, event.l2_sensitivity / stddev, event.dim
    return np.minimum.reduce(
        [
            a / 2 * l2**2 + tau * d,
            a / 2 * (l2**2 + 2 * l1 * tau + tau**2 * d),
            a / 2 * (l2 + math.sqrt(d) * tau) ** 2,
        ]
    )


def _skellam_rdp(event: NoisySumEvent, a: np.ndarray) -> np.ndarray:
    mu = event.arrived * event.local_stddev**2
    l1, l2 = event.l1_sensitivity, event.l2_sensitivity
    excess = np.minimum(((2 * a - 1) * l2**2 + 6 * l1) / (4 * mu**2), 3 * l1 / (2 * mu))
    return a * l2**2 / (2 * mu) + excess


RDP = {"discrete_gaussian": _discrete_gaussian_rdp, "skellam": _skellam_rdp}


@dataclasses.dataclass(frozen=True)
class Distributed:
    """Integer noise in a modular sum, at the scale of `quantization.scale`.

    A client sends round(`scale` x) + noise of standard deviation `scaled_local_stddev`, modulo
    2^`bits`, where the norm of what is rounded is at most `scaled_l2_norm`.
    """

    noise: Noise
    """Distribution of a client's noise."""
    noise_multiplier: float
    """Standard deviation of the noise in the sum of all that are expected, over the clip, z > 0."""
    clip: float
    """L2 norm of a client's vector, at most, > 0."""
    num_clients: int
    """Clients in a round's sum, >= 1."""
    dim: int
    """Length of the rotated vector: `quantization.padded_dim`."""
    bits: int
    """Of the modulus, 1 to 32."""
    beta: float = math.exp(-0.5)
    """See `quantization.rounded_l2_norm`."""
    k_stddevs: float = 4.0
    """Standard deviations of the sum that fit the modulus, > 0."""
    expected_dropout: float = 0.0
    """Share of the clients whose noise is not counted on: the others add more for it."""

    def __post_init__(self):
        if self.noise not in RDP:
            raise ValueError(f"noise must be one of {sorted(RDP)}, got {self.noise!r}.")
        for name in ("noise_multiplier", "clip", "num_clients", "dim", "k_stddevs"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}.")
        if not 1 <= self.bits <= 32:
            raise ValueError(f"bits must be in 1 .. 32, got {self.bits}.")
        self.event(self.expected_arrivals, sensitivity=1)

    @property
    def expected_arrivals(self) -> int:
        """Clients whose noise the plan counts on."""
        return quantization.expected_arrivals(self.num_clients, self.expected_dropout)

    @property
    def local_stddev(self) -> float:
        """One client's noise, in the units of `clip`."""
        central = self.noise_multiplier * self.clip
        return quantization.local_stddev(central, self.expected_arrivals)

    @property
    def scale(self) -> float:
        """Integers to a unit of `clip`: even if nobody drops out, the sum fits."""
        return quantization.scale(
            bits=self.bits,
            clip=self.clip,
            num_clients=self.num_clients,
            local_stddev=self.local_stddev,
            dim=self.dim,
            k_stddevs=self.k_stddevs,
        )

    @property
    def scaled_local_stddev(self) -> float:
        """One client's noise, in integers."""
        return self.scale * self.local_stddev

    @property
    def scaled_l2_norm(self) -> float:
        """L2 norm of a client's integers before noise, at most: what rounding is conditioned on."""
        return quantization.rounded_l2_norm(self.scale * self.clip, dim=self.dim, beta=self.beta)

    @property
    def norm_inflation(self) -> float:
        """By what rounding may lengthen a vector; 1 where bits are plenty."""
        return self.scaled_l2_norm / (self.scale * self.clip)

    def event(self, arrived: int, *, sensitivity: float) -> NoisySumEvent:
        """One round with the noise of `arrived` clients.

        `sensitivity` is in clients: 1 if one is taken out, 2 if it is replaced by another.
        """
        if arrived < 1:
            raise ValueError(f"arrived must be >= 1, got {arrived}.")
        l2 = self.scaled_l2_norm
        return NoisySumEvent(
            noise=self.noise,
            arrived=arrived,
            local_stddev=self.scaled_local_stddev,
            l2_sensitivity=sensitivity * l2,
            l1_sensitivity=sensitivity * quantization.rounded_l1_norm(l2, dim=self.dim),
            dim=self.dim,
        )
