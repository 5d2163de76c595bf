"""BFV and CKKS as sums of integers: what a ciphertext holds, and when what it gives is exact.

With n ciphertexts added, k parties' key parts in the joint key, ring N, ternary secrets and sigma =
3.19, the noise that is opened has in each coefficient and in each slot of CKKS the proxies

    V_coefficient = n sigma^2 (2 N k + 1) + k F^2
    V_slot        = N / 2 (n sigma^2 k (4/3 TAIL^2 N + 1) + k F^2)

by the argument of `he_noise` for a key of k parts, and k times OpenFHE's flooding, F = 2^20, which
is nearly all of it. With v = TAIL sqrt(V), and rounding in n encodings,

    BFV    an integer modulo t is right while       v + n + t < q / (2 t)
    CKKS   an integer's error is below              (v + n N / 2) / scale, which must be < 1/2
           and it does not wrap while               sqrt(2) scale (sum's size) < q / 2, less 1 %

CKKS is given integers less the half of the largest one, which saves a bit, times the power of two
that leaves no room unused.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from tff_experiments.secure_sum import he_noise, messages, openfhe_ring

SIGMA = 3.19
FLOODING = 2.0**20
SCALE_BITS = 50
"""OpenFHE floods whatever the scale: at 2^40 it would cost ten bits more of precision."""
Q = 2.0**openfhe_ring.PRIME_BITS * (1 - 2.0**-20)  # OpenFHE takes the last primes below 2^60.


NOISY = (
    "{} clients and {} parties make too much noise for exact sums; take a committee, or fewer "
    "clients."
)


class Size(NamedTuple):
    """What errors depend on."""

    num_clients: int
    num_parties: int


def coefficient_noise(size: Size) -> float:
    """Bounds a coefficient of what is opened."""
    fresh = size.num_clients * SIGMA**2 * (2 * openfhe_ring.RING * size.num_parties + 1)
    return he_noise.TAIL * math.sqrt(fresh + size.num_parties * FLOODING**2)


def slot_noise(size: Size) -> float:
    """Bounds real and imaginary part of a slot of what is opened."""
    clients, parties = size
    ring = openfhe_ring.RING
    fresh = clients * SIGMA**2 * parties * (4 / 3 * he_noise.TAIL**2 * ring + 1)
    proxy = ring / 2 * (fresh + parties * FLOODING**2)
    return he_noise.TAIL * math.sqrt(proxy) + clients * ring / 2


class _Scheme:
    """What `he_parties` asks of a scheme; keys and partial decryptions are the ring's."""

    def __init__(self, ring: openfhe_ring.Ring, size: Size, largest: int):
        """Takes a context, and the largest integer that a client encrypts."""
        self.ring, self.size, self._largest = ring, size, largest
        self.slots = ring.degree

    def encryptor(self, public: bytes):
        """A function that encrypts limbs, int64 [slots or fewer], as bytes."""
        key = self.ring.public_keys.unpack(public)
        encrypt = lambda limbs: self.ring.context.Encrypt(key, self.encode(limbs))
        return lambda limbs: self.ring.ciphertexts.pack(encrypt(limbs))

    def load(self, text: bytes) -> Any:
        """A ciphertext, as a sum of one; ProtocolError where it is none."""
        return self.ring.ciphertexts.unpack(text)

    def add(self, total: Any, other: Any) -> Any:
        """The sum, in the place of `total`."""
        self.ring.add(total, other)
        return total


class Bfv(_Scheme):
    """Exact integers modulo t; a sum stays below t."""

    @staticmethod
    def capacity(size: Size, *, strong: bool = False) -> int:
        """The largest integer a client may encrypt; ValueError where sums would not be exact."""
        t = openfhe_ring.PLAIN_MODULUS
        noise, q = coefficient_noise(size), Q
        if strong:
            # Flooding is uniform modulo all primes but one; the rest is small beside it.
            noise = size.num_parties * Q ** (openfhe_ring.STRONG_PRIMES - 1)
            q = Q**openfhe_ring.STRONG_PRIMES
        if noise + size.num_clients + t >= q / (2 * t):
            raise ValueError(NOISY.format(*size))
        return (t - 1) // size.num_clients

    def encode(self, limbs: np.ndarray) -> Any:
        """The plaintext of limbs."""
        return self.ring.context.MakePackedPlaintext(limbs.astype(np.int64))

    def decode(self, plain: Any, num_clients: int) -> np.ndarray:
        """The sums of limbs, int64 [slots]."""
        del num_clients
        plain.SetLength(self.slots)
        # OpenFHE gives residues of least size.
        return np.asarray(plain.GetPackedValueArray(), np.int64) % openfhe_ring.PLAIN_MODULUS


class Ckks(_Scheme):
    """Integers as complex numbers with an error, rounded."""

    def __init__(
        self,
        ring: openfhe_ring.Ring,
        size: Size,
        largest: int,
        scale_bits: int = SCALE_BITS,
    ):
        """Fits the scale to the largest sum.

        Args:
            ring: Its scale must be 2^scale_bits.
            size: Of the round.
            largest: Integer that a client encrypts.
            scale_bits: Less than the default leaves room unused, for the error.
        """
        super().__init__(ring, size, largest)
        self.factor = 2.0 ** (_scale_bits(size, largest) - SCALE_BITS)
        self.bound = slot_noise(size) / (self.factor * 2.0**scale_bits)

    @staticmethod
    def capacity(size: Size) -> int:
        """The largest integer a client may encrypt; ValueError where not even a bit is exact."""
        for bits in range(40, 0, -1):
            if slot_noise(size) < 2.0 ** (_scale_bits(size, 2**bits - 1) - 1):
                return 2**bits - 1
        raise ValueError(NOISY.format(*size))

    def encode(self, limbs: np.ndarray) -> Any:
        """The plaintext of limbs."""
        values = np.full(self.slots, -self._largest / 2)
        values[: len(limbs)] += limbs
        half = self.slots // 2
        parts = (values[:half] + 1j * values[half:]) * self.factor
        return self.ring.context.MakeCKKSPackedPlaintext(parts)

    def decode_floats(self, plain: Any, num_clients: int) -> np.ndarray:
        """The sums of limbs with their errors, float64 [slots]."""
        plain.SetLength(self.slots // 2)
        parts = np.asarray(plain.GetCKKSPackedValueArray()) / self.factor
        return np.concatenate([parts.real, parts.imag]) + num_clients * self._largest / 2

    def decode(self, plain: Any, num_clients: int) -> np.ndarray:
        """The sums of limbs, int64 [slots]; ProtocolError where they are not near integers."""
        values = self.decode_floats(plain, num_clients)
        sums = np.rint(values)
        near = np.abs(values - sums).max() <= min(self.bound, 0.5)
        messages.check(near, "what was opened is no sum: something was altered.")
        return sums.astype(np.int64)


def _scale_bits(size: Size, largest: int) -> int:
    """The largest scale, a power of two, at which the sum does not wrap."""
    coefficient = math.sqrt(2) * size.num_clients * max(largest, 1) / 2
    return math.floor(math.log2(0.99 * Q / 2 / coefficient))
