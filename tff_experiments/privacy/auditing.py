"""Epsilon as it looks from outside: how well two Gaussians can be told apart.

Andrew et al. 2024, section 4 (https://arxiv.org/abs/2302.03098): a statistic that is P = N(m, s^2)
with a client's data and Q = N(0, s0^2) without. (epsilon, delta) holds for the two if

    H(P, Q) = sup_A P(A) - e^epsilon Q(A) <= delta    and    H(Q, P) <= delta

where the best A is {x: log p(x) / q(x) > epsilon}, the solution of a quadratic.
"""

import math

import numpy as np
from scipy import optimize, stats

MOST = 1000.0  # Epsilons above are not told apart.


def epsilon_of_gaussians(mean: float, stddev: float, null_stddev: float, delta: float) -> float:
    """The least epsilon >= 0 for which N(mean, stddev^2) and N(0, null_stddev^2) are within
    (epsilon, delta); `MOST` where it is above.

    Raises:
        ValueError: A standard deviation is not > 0, or delta not in (0, 1).
    """
    if not (stddev > 0 and null_stddev > 0 and 0 < delta < 1):
        raise ValueError(f"stddevs must be > 0, delta in (0, 1), got {stddev, null_stddev, delta}.")
    pair = ((mean, stddev), (0.0, null_stddev))
    excess = lambda e: max(_divergence(*pair, e), _divergence(*pair[::-1], e)) - delta
    if excess(0.0) <= 0:
        return 0.0
    return MOST if excess(MOST) > 0 else float(optimize.brentq(excess, 0.0, MOST, xtol=1e-9))


def _divergence(p: tuple[float, float], q: tuple[float, float], epsilon: float) -> float:
    """sup_A P(A) - e^epsilon Q(A)."""
    (m, s), (m0, s0) = p, q
    # log p - log q - epsilon = a x^2 + b x + c.
    a = 1 / (2 * s0**2) - 1 / (2 * s**2)
    b = m / s**2 - m0 / s0**2
    c = m0**2 / (2 * s0**2) - m**2 / (2 * s**2) + math.log(s0 / s) - epsilon
    ends = _where_positive(a, b, c)
    mass = lambda mu, sd: sum(_between(low, high, mu, sd) for low, high in ends)
    # e^epsilon overflows where Q's mass is 0.
    of_q = mass(m0, s0)
    return mass(m, s) - (math.exp(min(epsilon + math.log(of_q), 700.0)) if of_q > 0 else 0.0)


def _where_positive(a: float, b: float, c: float) -> list[tuple[float, float]]:
    """The intervals in which a x^2 + b x + c > 0."""
    scale = max(abs(a), abs(b), abs(c))
    if abs(a) <= 1e-12 * scale:
        if abs(b) <= 1e-300:
            return [(-np.inf, np.inf)] if c > 0 else []
        return [(-c / b, np.inf)] if b > 0 else [(-np.inf, -c / b)]
    discriminant = b * b - 4 * a * c
    if discriminant <= 0:
        return [(-np.inf, np.inf)] if a > 0 else []
    # The root without cancellation, and from it the other.
    u = -(b + math.copysign(math.sqrt(discriminant), b)) / 2
    low, high = sorted((u / a, c / u))
    return [(-np.inf, low), (high, np.inf)] if a > 0 else [(low, high)]


def _between(low: float, high: float, mean: float, stddev: float) -> float:
    """A Gaussian's mass, from the side on which it is small."""
    low, high = (low - mean) / stddev, (high - mean) / stddev
    if low > 0:
        return float(stats.norm.sf(low) - stats.norm.sf(high))
    return float(stats.norm.cdf(high) - stats.norm.cdf(low))
