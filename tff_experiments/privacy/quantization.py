"""From float vectors to integers modulo 2^bits: scale, and norm after rounding.

Kairouz, Liu, Steinke 2021 (https://arxiv.org/abs/2102.06387), sections 4.2 and 4.4. A client's
vector x [d], of L2 norm at most c, is rotated, multiplied by `scale` = 1 / gamma, rounded at random
to integers, again and again until the norm is within the bound below (conditional rounding), given
noise of standard deviation scale * sigma, and sent modulo 2^b. With n clients the coordinates of
the sum are sub-Gaussian; k standard deviations of it must fit the ring:

    2^b / 2 = k sqrt((c n)^2 / d + (gamma^2 / 4 + sigma^2) n) / gamma              (scale)
    min(s + sqrt(d), sqrt(s^2 + d / 4 + sqrt(2 log(1 / beta)) (s + sqrt(d) / 2)))      (norm)

with s = scale * c; the flatness rho of the rotation is taken as 1, as the authors do. `dim` is the
length that is rotated: see `padded_dim`. What wraps around the ring harms the sum, not privacy.
"""

import math


def padded_dim(dim: int) -> int:
    """The least power of two >= `dim`, which the Hadamard transform takes."""
    if dim < 1:
        raise ValueError(f"dim must be >= 1, got {dim}.")
    return 1 << (dim - 1).bit_length()


def scale(
    *,
    bits: int,
    clip: float,
    num_clients: int,
    local_stddev: float,
    dim: int,
    k_stddevs: float,
) -> float:
    """The largest factor 1 / gamma with which k standard deviations of the sum fit 2^bits.

    Args:
        bits: Of the modulus.
        clip: L2 norm c of a client's vector, at most.
        num_clients: Clients n in the sum, at most.
        local_stddev: Noise sigma of one client, in the units of `clip`.
        dim: Length of the rotated vector.
        k_stddevs: How many standard deviations, k.

    Raises:
        ValueError: Rounding alone needs more; the message has the bits that would do.
    """
    room = 4.0**bits - num_clients * k_stddevs**2
    if room <= 0:
        least = math.floor(math.log2(k_stddevs * math.sqrt(num_clients))) + 1
        raise ValueError(
            f"a modulus of {bits} bits is too small for {num_clients} clients and k_stddevs "
            f"{k_stddevs:g}: rounding alone takes {least} bits, a sum that is of use more."
        )
    variance = (clip * num_clients) ** 2 / dim + num_clients * local_stddev**2
    return math.sqrt(room / variance) / (2 * k_stddevs)


def rounded_l2_norm(l2_norm: float, *, dim: int, beta: float) -> float:
    """Bound on the L2 norm of integers that a vector is rounded to, theorem 1 and proposition 22.

    Args:
        l2_norm: Of the scaled vector, at most.
        dim: Length of the vector.
        beta: Probability, in [0, 1), with which unconditional rounding exceeds the bound; 0 for
            rounding that is not conditional. The larger, the tighter, and the more bias.
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta must be in [0, 1), got {beta}.")
    always = l2_norm + math.sqrt(dim)
    if beta == 0:
        return always
    deviation = math.sqrt(2 * math.log(1 / beta)) * (l2_norm + math.sqrt(dim) / 2)
    return min(always, math.sqrt(l2_norm**2 + dim / 4 + deviation))


def rounded_l1_norm(rounded_l2_norm: float, *, dim: int) -> float:
    """Bound on the L1 norm of integers: |x| <= x^2 for each, besides Cauchy-Schwarz."""
    return rounded_l2_norm * min(math.sqrt(dim), rounded_l2_norm)


def expected_arrivals(num_clients: int, dropout_rate: float) -> int:
    """Clients whose noise a plan counts on, at least 1: what drops is rounded up."""
    if not 0 <= dropout_rate < 1:
        raise ValueError(f"expected_dropout must be in [0, 1), got {dropout_rate}.")
    # 100 * (1 - 0.57) is 42.99999999999999.
    return max(1, math.floor(num_clients * (1 - dropout_rate) + 1e-9))


def local_stddev(central_stddev: float, arrivals: int) -> float:
    """One client's noise, so that that of `arrivals` clients adds up to `central_stddev`."""
    return central_stddev / math.sqrt(arrivals)
