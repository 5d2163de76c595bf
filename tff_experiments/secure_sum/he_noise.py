"""Parameters of ring-LWE schemes that only add, and bounds of their noise.

Ring Z_q[X]/(X^N + 1), one prime q: adding needs no key switching, for which SEAL would keep a
second prime. Encryption with a public key (b, a) = (-(a s + e), a):

    c = (b u + e_1 + m, a u + e_2);   c_0 + c_1 s = m + v,   v = -e u + e_1 + e_2 s.

Coefficients of s and u are uniform in {-1, 0, 1}, those of e, e_1 and e_2 centred binomial with
variance SIGMA2 = 10.5 (SEAL 4, native/src/seal/util/rlwe.cpp). Both are strictly sub-Gaussian,
proxies 2/3 and SIGMA2: a sum of independent ones with weights w_i exceeds
TAIL sqrt(proxy sum w_i^2) with probability at most 2 exp(-TAIL^2 / 2) < 2^-71. A round of 2^22
limbs is within the bounds below except with probability 2^-48. Clients must follow the protocol.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from tff_experiments.secure_sum import he_limbs, vectors

MAX_BITS = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438}
"""Largest log2 q by N for 128 bits of security against classical computers, ternary secret:
Albrecht et al., "Homomorphic Encryption Standard" (2018), table 1.
"""
MAX_PRIME_BITS = 60
"""SEAL's largest prime."""
SIGMA2 = 10.5
TAIL = 10
SLACK = 1.01
"""SEAL's primes are less than a hundredth below a power of two."""
DEGREES = (2048, 4096)
"""Larger N hold no more in one prime."""


class Choice(NamedTuple):
    """Parameters that hold a sum.

    Attributes:
        degree: N.
        bits: Of q.
        largest_sum: Of limbs.
        plain: The plaintext modulus t (BFV), or the scale (CKKS).
    """

    degree: int
    bits: int
    largest_sum: int
    plain: int


def coefficient_noise(degree: int, num_clients: int) -> float:
    """Bounds |coefficient| of the sum of v over the clients.

    Given e and s, the clients' u, e_1 and e_2 are independent: the proxy of a coefficient is
    n (2/3 |e|^2 + SIGMA2 + SIGMA2 |s|^2), where |s|^2 <= N and |e|^2 <= 3/2 N SIGMA2: for N >= 2048
    except with probability 2^-120 (Hsu, Kakade and Zhang, 2012, theorem 1).
    """
    return TAIL * math.sqrt(num_clients * SIGMA2 * (2 * degree + 1))


def slot_noise(degree: int, num_clients: int) -> float:
    """Bounds real and imaginary part of the sum of v over the clients at roots of X^N + 1.

    Re v(z) = sum_k -u_k Re(e(z) z^k) + e_1k Re(z^k) + e_2k Re(s(z) z^k), and sum_k Re(y z^k)^2 =
    |y|^2 N / 2. Given e and s the proxy is n N / 2 (2/3 |e(z)|^2 + SIGMA2 + SIGMA2 |s(z)|^2), where
    |e(z)|^2 <= TAIL^2 SIGMA2 N and |s(z)|^2 <= TAIL^2 2/3 N by the same argument.
    """
    proxy = SIGMA2 * (4 / 3 * TAIL**2 * degree + 1)
    return TAIL * math.sqrt(num_clients * degree / 2 * proxy)


def bits_above(value: float) -> int:
    """Bits of a prime q that exceeds `value`."""
    return math.ceil(math.log2(value * SLACK))


def cheapest(choices: Iterable[Choice], layout: vectors.Layout, num_clients: int) -> Choice:
    """The parameters with which the limbs of a vector take the fewest bits.

    Whole ciphertexts are not what counts: in a short vector more limbs would be free, but the sums
    of more limbs say more to the key holder.

    Raises:
        ValueError: None holds so many clients.
    """
    fitting = [choice for choice in choices if choice.largest_sum >= num_clients]
    if not fitting:
        raise ValueError(f"no parameters hold a sum of {num_clients} clients.")

    def cost(choice: Choice) -> tuple[int, int]:
        limbs = he_limbs.count(layout, choice.largest_sum // num_clients)
        return limbs * choice.bits, choice.degree

    return min(fitting, key=cost)
