"""Microsoft SEAL as TenSEAL binds it (tenseal.sealapi): contexts, keys and ciphertexts as bytes.

TenSEAL's own vectors would add a second prime and print to stdout; SEAL itself does not. Its
bindings write to files only: here a file in memory. Each party makes its context from the public
parameters; a context holds no key. SEAL draws its randomness from the operating system: it can't be
made repeatable, and needs not be, as sums do not depend on it.
"""

import abc
import contextlib
import os
from typing import Any

import numpy as np

from tff_experiments.secure_sum import stages

# Bytes around a ciphertext's 64-bit words.
_HEADERS = 1024
# What SEAL throws at bytes that are no such object, or of other parameters.
_ERRORS = (ValueError, RuntimeError, IndexError, TypeError, MemoryError, OverflowError)


def library():
    """SEAL; ValueError where TenSEAL is not installed."""
    try:
        from tenseal import sealapi
    except ImportError as error:
        raise ValueError("this secure sum needs TenSEAL: pip install tenseal") from error
    return sealapi


class Scheme(abc.ABC):
    """What BFV and CKKS have in common; see `he_parties`."""

    def __init__(self, kind: str, degree: int, bits: int, plain_modulus: int = 0):
        """Makes the context.

        Args:
            kind: "BFV" or "CKKS".
            degree: N.
            bits: Of q.
            plain_modulus: t, for BFV.

        Raises:
            ValueError: SEAL has no such parameters, or they have less than 128 bits of security.
        """
        self._seal = library()
        parameters = self._seal.EncryptionParameters(getattr(self._seal.SCHEME_TYPE, kind))
        parameters.set_poly_modulus_degree(degree)
        primes = self._seal.CoeffModulus.Create(degree, [bits])
        parameters.set_coeff_modulus(primes)
        if plain_modulus:
            parameters.set_plain_modulus(plain_modulus)
        level = self._seal.SEC_LEVEL_TYPE.TC128
        self.context = self._seal.SEALContext(parameters, True, level)
        if not self.context.parameters_set():
            raise ValueError(f"SEAL: {self.context.parameters_error_message()}")
        self.slots, self.modulus = degree, primes[0].value()
        self.parameters = f"N = {degree}, log q = {bits}"
        self._evaluator = self._seal.Evaluator(self.context)

    def generate(self) -> tuple[Any, bytes]:
        """A secret key, and the public key as bytes."""
        generator, public = self._seal.KeyGenerator(self.context), self._seal.PublicKey()
        generator.create_public_key(public)
        return generator.secret_key(), to_bytes(public)

    def encryptor(self, public: bytes):
        """See `he_parties`; ProtocolError where the public key is none."""
        key = self._load(self._seal.PublicKey(), public)
        encryptor = self._seal.Encryptor(self.context, key)

        def encrypt(limbs: np.ndarray) -> bytes:
            ciphertext = self._seal.Ciphertext()
            encryptor.encrypt(self._encode(limbs), ciphertext)
            return to_bytes(ciphertext)

        return encrypt

    def adder(self, public: bytes) -> "Scheme":
        """Adding needs no key."""
        del public
        return self

    def load(self, data: bytes) -> Any:
        """A ciphertext; ProtocolError where it is none of these parameters."""
        if len(data) > 2 * 8 * self.slots + _HEADERS:
            raise stages.ProtocolError("a ciphertext is too long.")
        ciphertext = self._load(self._seal.Ciphertext(), data)
        fits = ciphertext.size() == 2 and self._fits(ciphertext)
        if not fits or ciphertext.parms_id() != self.context.first_parms_id():
            raise stages.ProtocolError("a ciphertext has other parameters.")
        # Its c_1 is zero: c_0 is the plaintext, for all to see.
        if ciphertext.is_transparent():
            raise stages.ProtocolError("a ciphertext hides nothing.")
        return ciphertext

    def save(self, total: Any) -> bytes:
        """A ciphertext as bytes."""
        return to_bytes(total)

    def add(self, total: Any, other: Any) -> Any:
        """Adds in place."""
        self._evaluator.add_inplace(total, other)
        return total

    def decrypt(self, secret: Any, data: bytes) -> np.ndarray:
        """The sums of limbs, int64 [N]."""
        plaintext = self._seal.Plaintext()
        self._seal.Decryptor(self.context, secret).decrypt(self.load(data), plaintext)
        return self._decode(plaintext)

    def _load(self, new: Any, data: bytes) -> Any:
        try:
            with _memory() as file:
                os.pwrite(file, data, 0)
                new.load(self.context, _path(file))
        except _ERRORS as error:
            raise stages.ProtocolError("a key or ciphertext can't be read.") from error
        return new

    @abc.abstractmethod
    def _fits(self, ciphertext: Any) -> bool:
        """Whether a ciphertext is of the form that the scheme adds."""

    @abc.abstractmethod
    def _encode(self, limbs: np.ndarray) -> Any:
        """A plaintext of limbs, int64 [N or fewer]."""

    @abc.abstractmethod
    def _decode(self, plaintext: Any) -> np.ndarray:
        """The limbs of a plaintext, int64 [N]."""


def to_bytes(item: Any) -> bytes:
    """A key or ciphertext as bytes."""
    with _memory() as file:
        item.save(_path(file))
        return os.pread(file, os.fstat(file).st_size, 0)


@contextlib.contextmanager
def _memory():
    file = os.memfd_create("seal")
    try:
        yield file
    finally:
        os.close(file)


def _path(file: int) -> str:
    return f"/proc/self/fd/{file}"
