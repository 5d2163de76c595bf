"""Threshold BFV: exact sums under a key that nobody has, opened by t of k parties. By OpenFHE.

Fan and Vercauteren, 2012 (https://eprint.iacr.org/2012/144); keys and decryption as in Asharov et
al., EUROCRYPT 2012 (https://eprint.iacr.org/2011/613): see `openfhe_ring`. A slot holds an integer
modulo a prime t = 1 mod 2N. t exceeds any sum of limbs, so that sums do not wrap; the server
reduces them by the segments' moduli.

Hides, assumes, reveals, recovers, leaves uncovered and simulates what `threshold_ckks` does, which
says it at length; but sums are exact, and what noise tells depends on the flooding:

Carry        The server, which alone opens, sees the sum before it is reduced by its modulus, and of
             wide entries the sum of each limb.
fixed        Gaussian noise of deviation 2^20, as in `threshold_ckks`: no statistical bound, only
             ring-LWE. One prime of 60 bits, N = 4096.
strong       Noise uniform modulo q_1 q_2, about 2^120 (OpenFHE's NOISE_FLOODING_MULTIPARTY). What
             is opened of two sums that differ by noise alone, by at most v in each of D
             coefficients, is at a statistical distance of at most D v / 2^120 if one party floods
             as it should: 2^-69 for v = 2^30, more than a thousand clients have, and D = 2^21. It
             bounds what noise tells of secrets, not what the sum tells, nor other assumptions.
             Three primes, N = 8192: three times the bytes.
"""

import dataclasses
import functools
from typing import Literal

from tff_experiments.secure_sum import openfhe_ring, openfhe_schemes, threshold_protocol


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of threshold BFV."""

    committee: int = 0
    """Clients that hold a part of the key, drawn each round; 0 is all."""
    threshold: float = 0.0
    """Fraction of them that opens the sum: above 1/2; 0 is floor(2 k / 3) + 1 of k."""
    flooding: Literal["fixed", "strong"] = "fixed"
    """Noise of partial decryptions: 2^20, or with a statistical bound at three times the bytes."""

    def __post_init__(self):
        threshold_protocol.check_hparams(self.committee, self.threshold)


def choose(size: openfhe_schemes.Size, *, strong: bool):
    """See `threshold_ckks.choose`; `strong` is the flooding."""
    ring, capacity = openfhe_ring.bfv(strong), openfhe_schemes.Bfv.capacity(size, strong=strong)
    return capacity, lambda largest: openfhe_schemes.Bfv(ring, size, largest)


def build(hparams: Hparams) -> threshold_protocol.Protocol:
    """Makes the protocol."""
    choose_for = functools.partial(choose, strong=hparams.flooding == "strong")
    return threshold_protocol.Protocol(hparams.committee, hparams.threshold, choose_for)
