"""Renyi divergence of any mechanism on a random part of the clients.

`dp_accounting` has this for Gaussian noise only. For a mechanism with divergences eps(j), known at
the integers 2 .. a, and a fraction q of the clients:

    Poisson, a client taken out: Zhu and Wang, ICML 2019, theorem 5
      (https://proceedings.mlr.press/v97/zhu19c.html)
      exp((a - 1) eps'(a)) = (1 - q)^(a-1) (a q - q + 1) + C(a, 2) q^2 (1 - q)^(a-2) e^eps(2)
                             + 3 sum_{j=3}^a C(a, j) (1 - q)^(a-j) q^j e^((j-1) eps(j))
    Without replacement, a client replaced by another: Wang, Balle, Kasiviswanathan, AISTATS 2019,
      theorem 9 (https://arxiv.org/abs/1808.00087), where eps(infinity) is not known
      exp((a - 1) eps'(a)) = 1 + C(a, 2) q^2 min(4 (e^eps(2) - 1), 2 e^eps(2))
                             + 2 sum_{j=3}^a C(a, j) q^j e^((j-1) eps(j))

eps'(a) is never above eps(a), which is taken where the theorems give more.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

Curve = Callable[[np.ndarray], np.ndarray]  # Orders [n] -> divergences [n].


def poisson(curve: Curve, q: float, orders: np.ndarray) -> np.ndarray:
    """Divergences under Poisson sampling; see `_amplify` for arguments and result."""
    return _amplify(curve, q, orders, _log_poisson_terms)


def without_replacement(curve: Curve, q: float, orders: np.ndarray) -> np.ndarray:
    """Divergences under sampling without replacement; see `_amplify` for arguments and result."""
    return _amplify(curve, q, orders, _log_without_replacement_terms)


def _amplify(curve: Curve, q: float, orders: np.ndarray, log_terms) -> np.ndarray:
    """Applies a theorem.

    Args:
        curve: The mechanism's divergences at integer orders >= 2, float64 [n] -> [n].
        q: Fraction of the clients that take part, in (0, 1].
        orders: float [n].
        log_terms: (a, q, eps(2 .. a)) -> logarithms of the summands.

    Returns:
        float64 [n]; infinity at orders that are not integers >= 2.
    """
    if not 0 < q <= 1:
        raise ValueError(f"the sampled fraction must be in (0, 1], got {q}.")
    orders = np.asarray(orders, np.float64)
    whole = (orders == np.floor(orders)) & (orders >= 2)
    if not whole.any():
        return np.full_like(orders, np.inf)
    eps = curve(np.arange(2.0, orders[whole].max() + 1))
    at = lambda a: special.logsumexp(log_terms(a, q, eps[: a - 1])) / (a - 1)
    amplified = [min(at(a), eps[a - 2]) if q < 1 else eps[a - 2] for a in orders[whole].astype(int)]
    result = np.full_like(orders, np.inf)
    result[whole] = amplified
    return result


def _log_poisson_terms(a: int, q: float, eps: np.ndarray) -> np.ndarray:
    j = np.arange(2, a + 1)
    terms = _log_binomial(a, j) + (a - j) * np.log1p(-q) + j * np.log(q) + (j - 1) * eps
    terms[1:] += np.log(3)
    return np.append(terms, (a - 1) * np.log1p(-q) + np.log(a * q - q + 1))


def _log_without_replacement_terms(a: int, q: float, eps: np.ndarray) -> np.ndarray:
    j = np.arange(2, a + 1)
    log_factors = np.log(2) + (j - 1) * eps
    # log(e^x - 1), for x that may be huge.
    log_expm1 = eps[0] + np.log(-np.expm1(-eps[0]))
    log_factors[0] = min(log_factors[0], np.log(4) + log_expm1)
    return np.append(_log_binomial(a, j) + j * np.log(q) + log_factors, 0.0)


def _log_binomial(n: int, k: np.ndarray) -> np.ndarray:
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
