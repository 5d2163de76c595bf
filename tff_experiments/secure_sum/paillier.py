"""Paillier with one key: EUROCRYPT 1999 (https://doi.org/10.1007/3-540-48910-X_16), by phe.
The parties, and what they learn, are those of `bfv`. For comparison.

    c = (1 + m n) r^n mod n^2;   a product of ciphertexts decrypts to the sum mod n,

where m packs as many limbs as fit, each with room for the sum of all clients' limbs.

Assumes:     the decisional composite residuosity problem; 3072 bits of n are taken for 128 bits of
             security (NIST SP 800-57 part 1, table 2).
Reveals:     what `bfv` does. A ciphertext has no noise.
Slow:        a ciphertext of 3072 bits takes about 35 ms to make and 10 ms to decrypt, with gmpy2;
             eight times as long without. A vector of 1.2 million entries takes a client 6 minutes.
             Longer ones than `max_length` are refused unless `force` is set.
Licence:     phe is under the GPL 3; it is imported when this protocol starts, and only then.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tff_experiments.secure_sum import he_limbs, he_protocol, stages, vectors

LIMB_BITS = 62  # Sums of limbs are int64.


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of Paillier's scheme."""

    threshold: float = 0.0
    """Fraction of the round's clients that must be in a sum that is opened; 0 is more than half.
    Never less than 2 clients.
    """
    key_bits: int = 3072
    """Bits of n, at least 2048: that is 112 bits of security."""
    max_length: int = 20_000
    """Longest vector that is not refused: this one takes a client some 7 seconds."""
    force: bool = False
    """Takes longer vectors all the same."""

    def __post_init__(self):
        he_protocol.check_fraction(self.threshold)
        if self.key_bits < 2048 or self.key_bits % 2:
            raise ValueError(f"key_bits must be even and >= 2048, got {self.key_bits}.")
        if self.max_length < 1:
            raise ValueError(f"max_length must be >= 1, got {self.max_length}.")


def library():
    """phe; ValueError where it is not installed."""
    try:
        from phe import paillier
    except ImportError as error:
        raise ValueError("this secure sum needs phe: pip install phe gmpy2") from error
    return paillier


class Scheme:
    """Limbs, packed; see `he_parties`."""

    def __init__(self, key_bits: int, limb_bits: int):
        """Takes the bits of n, and those of a sum of limbs."""
        self._phe = library()
        self._key_bits, self._limb_bits = key_bits, limb_bits
        self.slots = slots(key_bits, limb_bits)
        self.parameters = f"{key_bits} bits, {self.slots} limbs a ciphertext"

    def generate(self) -> tuple[Any, bytes]:
        """A secret key, and n as bytes."""
        public, secret = self._phe.generate_paillier_keypair(n_length=self._key_bits)
        return secret, public.n.to_bytes(self._key_bits // 8, "big")

    def encryptor(self, public: bytes) -> Callable[[np.ndarray], bytes]:
        """See `he_parties`."""
        key = self._public_key(public)
        size = self._key_bits // 4

        def encrypt(limbs: np.ndarray) -> bytes:
            packed = 0
            for limb in reversed(limbs.tolist()):
                packed = packed << self._limb_bits | limb
            return key.raw_encrypt(packed).to_bytes(size, "big")

        return encrypt

    def adder(self, public: bytes) -> "Adder":
        """See `he_parties`."""
        return Adder(self._phe, self._public_key(public))

    def decrypt(self, secret: Any, data: bytes) -> np.ndarray:
        """The sums of limbs, int64 [slots]."""
        total = Adder(self._phe, secret.public_key).load(data)
        packed = secret.raw_decrypt(total.ciphertext(be_secure=False))
        limbs = []
        for _ in range(self.slots):
            limbs.append(packed & (1 << self._limb_bits) - 1)
            packed >>= self._limb_bits
        if packed:
            raise stages.ProtocolError("a sum does not fit its slots: it was altered.")
        return np.array(limbs, np.int64)

    def _public_key(self, public: bytes) -> Any:
        n = int.from_bytes(public, "big")
        if n.bit_length() != self._key_bits:
            raise stages.ProtocolError(f"a public key must have {self._key_bits} bits.")
        return self._phe.PaillierPublicKey(n)


class Adder:
    """Multiplies ciphertexts."""

    def __init__(self, phe: Any, key: Any):
        """Takes the public key."""
        self._phe, self._key = phe, key
        self._size = key.n.bit_length() // 4

    def load(self, data: bytes) -> Any:
        """A ciphertext; ProtocolError where it is none of this key's."""
        value = int.from_bytes(data, "big")
        # 1 hides nothing, what has a divisor in common with n can't be inverted.
        fits = 1 < value < self._key.nsquare and math.gcd(value, self._key.n) == 1
        if len(data) != self._size or not fits:
            raise stages.ProtocolError("a ciphertext can't be read.")
        return self._phe.EncryptedNumber(self._key, value)

    def add(self, total: Any, other: Any) -> Any:
        """The ciphertext of the sum."""
        return total + other

    def save(self, total: Any) -> bytes:
        """A ciphertext as bytes."""
        return total.ciphertext(be_secure=False).to_bytes(self._size, "big")


def slots(key_bits: int, limb_bits: int) -> int:
    """Limbs of a ciphertext."""
    # phe takes numbers above two thirds of n for negative ones, which it encrypts in another way.
    return (key_bits - 2) // limb_bits


def choose(hparams: Hparams, layout: vectors.Layout, num_clients: int) -> tuple[int, Scheme]:
    """The largest value of a limb, and the scheme, for so many clients.

    Raises:
        ValueError: The vector is too long.
    """
    if layout.length > hparams.max_length and not hparams.force:
        raise ValueError(
            f"paillier takes minutes for a vector of {layout.length}; choose bfv, or set "
            f"max_length (it is {hparams.max_length}) or force."
        )

    def cost(limb_bits: int) -> int:
        return limb_bits * he_limbs.count(layout, (2**limb_bits - 1) // num_clients)

    limb_bits = min(range(num_clients.bit_length(), LIMB_BITS + 1), key=cost)
    return (2**limb_bits - 1) // num_clients, Scheme(hparams.key_bits, limb_bits)


def build(hparams: Hparams) -> he_protocol.Protocol:
    """Makes the protocol."""
    return he_protocol.Protocol(
        hparams.threshold, lambda layout, num_clients: choose(hparams, layout, num_clients)
    )
