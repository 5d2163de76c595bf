"""How much noise is in the sum of all rounds so far, which is what training moves by: the scale on
which independent, tree and banded noise compare at one epsilon.
"""

import functools
import math

from tff_experiments.privacy import matrix_factorization, mechanisms

Mechanism = mechanisms.Gaussian | mechanisms.TreeAggregation | mechanisms.BandedFactorization


def noise(mechanism: Mechanism, num_rounds: int) -> float:
    """Root mean square over rounds of a prefix sum's standard deviation, in clips.

    Args:
        mechanism: Whose noise it is.
        num_rounds: Rounds T >= 1.
    """
    if isinstance(mechanism, mechanisms.TreeAggregation):
        variance = _tree(mechanism.restart_every or num_rounds, num_rounds)
    else:
        bands = getattr(mechanism, "bands", 1)
        c = matrix_factorization.toeplitz_coefficients(num_rounds, bands)
        variance = matrix_factorization.mean_squared_error(c, num_rounds)
    return mechanism.noise_multiplier * math.sqrt(variance)


def _tree(span: int, num_rounds: int) -> float:
    """Of noise 1 in each node, with trees of `span` rounds that add up."""
    full = _prefix_of_tree(span)
    sums = (t // span * full + _prefix_of_tree(t % span) for t in range(1, num_rounds + 1))
    return sum(sums) / num_rounds


@functools.cache
def _prefix_of_tree(leaves: int) -> float:
    """Variance of the nodes that make up the first leaves, by Honaker's estimate from below: a node
    of height h, and what its subtree says of it, have 1 / (1 + 1/2 + ... + 2^-h).
    """
    heights = (h for h in range(leaves.bit_length()) if leaves >> h & 1)
    return sum(1 / (2 - 2.0**-h) for h in heights)
