"""CKKS with one key: Cheon, Kim, Kim and Song, ASIACRYPT 2017 (https://eprint.iacr.org/2016/421).
The parties, and what they learn, are those of `bfv`; by SEAL through TenSEAL.

CKKS decrypts approximately. Here two limbs are the parts of a complex slot, z = x + i y; the
polynomial with these values at N/2 roots of X^N + 1 is multiplied by a scale D and rounded. The sum
of n ciphertexts decodes to sum z + error, each part of which is below

    (slot_noise(N, n) + n N / 2) / D + 2 F S,      F = 8 2^-53 (log2 N + 2) sqrt(2 N):

noise (see `he_noise`); n roundings of N coefficients by 1/2 at most; and double precision in
SEAL's transforms of numbers whose sum is up to S: a transform of N values has a relative error
below 8 2^-53 log2 N in the 2-norm (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
theorem 24.2). Integers are exact while that is below 1/2: the key holder rounds. A scale for which
it is not, or D S that does not fit q, is refused: sums wrap unseen where 2^(1/2) S D >= q / 2.

Reveals:     what `bfv` does.
Decryptions  of CKKS carry the noise: who sees one beside the ciphertexts can find the secret key
             (Li and Micciancio, EUROCRYPT 2021, https://eprint.iacr.org/2020/1533). The key holder
             gives out integers. While the error is below 1/2, they are a function of the clients'
             integers alone and say nothing about the noise. That is no more than: for ciphertexts
             made by clients that follow the protocol, except with probability 2^-48. Who makes
             ciphertexts with more noise may learn about the key from what rounding does to them, as
             with BFV; a key is used for one round and opens one sum.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from tff_experiments.secure_sum import he_noise, he_protocol, seal, vectors


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of CKKS."""

    threshold: float = 0.0
    """Fraction of the round's clients that must be in a sum that is opened; 0 is more than half.
    Never less than 2 clients.
    """
    scale_bits: int = 0
    """The scale is 2^this; 0 chooses the smallest with exact sums."""

    def __post_init__(self):
        he_protocol.check_fraction(self.threshold)
        if not 0 <= self.scale_bits < he_noise.MAX_PRIME_BITS:
            raise ValueError(
                f"scale_bits must be in 0 .. {he_noise.MAX_PRIME_BITS - 1}, got {self.scale_bits}."
            )


class Scheme(seal.Scheme):
    """CKKS, two limbs a slot."""

    def __init__(self, choice: he_noise.Choice):
        """Takes N, q and the scale."""
        super().__init__("CKKS", choice.degree, choice.bits)
        self.parameters += f", scale 2^{choice.plain.bit_length() - 1}"
        self._scale = float(choice.plain)
        self._encoder = self._seal.CKKSEncoder(self.context)

    def _fits(self, ciphertext) -> bool:
        return ciphertext.is_ntt_form() and ciphertext.scale == self._scale

    def _encode(self, limbs: np.ndarray):
        pairs = np.zeros((len(limbs) + 1) // 2, np.complex128)
        pairs.view(np.float64)[: len(limbs)] = limbs
        plaintext = self._seal.Plaintext()
        self._encoder.encode(pairs.tolist(), self._scale, plaintext)
        return plaintext

    def _decode(self, plaintext) -> np.ndarray:
        return np.rint(self.decode(plaintext)).astype(np.int64)

    def decode(self, plaintext) -> np.ndarray:
        """The sums of limbs before they are rounded, float64 [N]. Not to be given out."""
        return np.array(self._encoder.decode_complex(plaintext), np.complex128).view(np.float64)


def error_bound(degree: int, num_clients: int, scale: float, largest_sum: float) -> float:
    """Bounds the error of a decoded sum of limbs; see above."""
    rounding = num_clients * degree / 2
    transform = 8 * 2.0**-53 * (math.log2(degree) + 2) * math.sqrt(2 * degree)
    noise = he_noise.slot_noise(degree, num_clients)
    return (noise + rounding) / scale + 2 * transform * largest_sum


def choices(num_clients: int, scale_bits: int = 0) -> Iterator[he_noise.Choice]:
    """All parameters with exact sums of so many ciphertexts."""
    scales = [scale_bits] if scale_bits else range(1, he_noise.MAX_PRIME_BITS)
    for degree in he_noise.DEGREES:
        most = min(he_noise.MAX_BITS[degree], he_noise.MAX_PRIME_BITS)
        for scale in (2**bits for bits in scales):
            for largest in (2**bits - 1 for bits in range(1, he_noise.MAX_PRIME_BITS)):
                # Room for the square root of two and for the noise.
                bits = he_noise.bits_above(4 * scale * largest)
                if bits <= most and error_bound(degree, num_clients, scale, largest) < 1 / 2:
                    yield he_noise.Choice(degree, bits, largest, scale)


def choose(layout: vectors.Layout, num_clients: int, scale_bits: int = 0) -> tuple[int, Scheme]:
    """The largest value of a limb, and the scheme, for so many clients.

    Raises:
        ValueError: There are too many clients, or the scale is too small or too large for them.
    """
    seal.library()
    try:
        choice = he_noise.cheapest(choices(num_clients, scale_bits), layout, num_clients)
    except ValueError:
        fitting = [c.plain for c in choices(num_clients) if c.largest_sum >= num_clients]
        if not fitting:
            raise
        least, most = (math.frexp(scale)[1] - 1 for scale in (min(fitting), max(fitting)))
        raise ValueError(
            f"scale_bits={scale_bits} gives {num_clients} clients no exact sums: below {least} the "
            f"error may reach 1/2, above {most} sums do not fit q; take one of these, or 0."
        ) from None
    return choice.largest_sum // num_clients, Scheme(choice)


def build(hparams: Hparams) -> he_protocol.Protocol:
    """Makes the protocol."""
    return he_protocol.Protocol(
        hparams.threshold,
        lambda layout, num_clients: choose(layout, num_clients, hparams.scale_bits),
    )
