"""OpenFHE set up for one thing: sums of ciphertexts that several parties open together.

No multiplication, rotation or bootstrapping: no evaluation keys, one prime of 60 bits, ring 4096.
`he_noise.MAX_BITS`, the HE standard's table, allows 109 bits there.

The joint key is a sum. The lead draws the polynomial a, and each party i a key part s_i:

    public key i   (b_i, a), b_i = e_i - a s_i          joint public key   (sum b_i, a)
    ciphertext     c_0 + c_1 (sum s_i) = message + noise
    partial        c_1 s_i + flooding

So the sum of c_0 and of all partial decryptions is message + noise, and nobody has sum s_i.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from tff_experiments.secure_sum import openfhe_wire

RING, PRIME_BITS = 4096, 60
STRONG_RING, STRONG_PRIMES = 8192, 3
# The least prime above 2^29 that is 1 modulo 2 * 8192; OpenFHE wants two primes for 2^30.
PLAIN_MODULUS = 536903681


@dataclasses.dataclass(frozen=True)
class Ring:
    """A context of OpenFHE, and how its objects travel."""

    context: Any
    ciphertexts: openfhe_wire.Wire  # (c_0, c_1).
    halves: openfhe_wire.Wire  # c_1, and partial decryptions.
    public_keys: openfhe_wire.Wire
    secret_keys: openfhe_wire.Wire

    @property
    def degree(self) -> int:
        """N."""
        return self.context.GetRingDimension()

    def keys(self, lead: Any = None) -> tuple[Any, Any]:
        """(public, secret) of a party: a new key part, with the polynomial a of the lead's."""
        pair = self.context.MultipartyKeyGen(lead, False, True) if lead else self.context.KeyGen()
        return _tag(pair.publicKey), _tag(pair.secretKey)

    def join(self, publics: list[Any]) -> Any:
        """The joint public key."""
        return _tag(functools.reduce(self.context.MultiAddPubKeys, publics))

    def add(self, total: Any, other: Any) -> None:
        """Adds ciphertexts or partial decryptions, in place."""
        self.context.EvalAddInPlace(total, other)

    def half(self, ciphertext: Any) -> Any:
        """c_1 alone: all that a party needs. Without c_0 it can open nothing."""
        return _with(ciphertext, ciphertext.GetElements()[1:2])

    def partial(self, half: Any, secret: Any) -> Any:
        """c_1 s_i + flooding."""
        # OpenFHE asks for a whole ciphertext, of which this step uses c_1.
        whole = _with(half, half.GetElements() * 2)
        return self.context.MultipartyDecryptMain([whole], secret)[0]

    def fuse(self, ciphertext: Any, partials: Any) -> Any:
        """The plaintext of c_0 and the partial decryptions' sum."""
        return self.context.MultipartyDecryptFusion([ciphertext, partials])


@functools.cache
def ckks(scale_bits: int = 50) -> Ring:
    """CKKS, whose slots are complex numbers: both parts are used."""
    openfhe = openfhe_wire.load()
    parameters = openfhe.CCParamsCKKSRNS()
    parameters.SetScalingTechnique(openfhe.FIXEDMANUAL)
    parameters.SetFirstModSize(PRIME_BITS)
    parameters.SetScalingModSize(scale_bits)
    parameters.SetBatchSize(RING // 2)
    # For real numbers OpenFHE takes the imaginary part as an error, and adds noise of its size.
    parameters.SetCKKSDataType(openfhe.COMPLEX)
    context = _context(parameters, RING)
    return _ring(context, context.MakeCKKSPackedPlaintext(np.zeros(1)))


@functools.cache
def bfv(strong: bool = False) -> Ring:
    """BFV modulo PLAIN_MODULUS; strong: with three primes, for the flooding of 120 bits."""
    openfhe = openfhe_wire.load()
    parameters = openfhe.CCParamsBFVRNS()
    parameters.SetPlaintextModulus(PLAIN_MODULUS)
    if strong:
        parameters.SetMultipartyMode(openfhe.NOISE_FLOODING_MULTIPARTY)
    context = _context(parameters, STRONG_RING if strong else RING)
    return _ring(context, context.MakePackedPlaintext(np.zeros(1, np.int64)))


def _context(parameters: Any, ring: int) -> Any:
    openfhe = openfhe_wire.load()
    parameters.SetMultiplicativeDepth(0)
    parameters.SetRingDim(ring)
    # OpenFHE refuses parameters that are outside of the standard's table.
    parameters.SetSecurityLevel(openfhe.HEStd_128_classic)
    # Other techniques reserve primes for keys that are never made.
    parameters.SetKeySwitchTechnique(openfhe.BV)
    context = openfhe.GenCryptoContext(parameters)
    for feature in (openfhe.PKE, openfhe.LEVELEDSHE, openfhe.MULTIPARTY):
        context.Enable(feature)
    return context


def _ring(context: Any, plain: Any) -> Ring:
    """Learns from a throwaway key how objects are serialized."""
    openfhe = openfhe_wire.load()
    pair = context.KeyGen()
    ciphertext = context.Encrypt(_tag(pair.publicKey), plain)

    def wire(sample, kind):
        read = getattr(openfhe, f"Deserialize{kind}String")
        load_fn = lambda data: read(data, openfhe.BINARY)
        return openfhe_wire.Wire(sample, context.GetRingDimension(), load_fn)

    return Ring(
        context,
        wire(ciphertext, "Ciphertext"),
        wire(_with(ciphertext, ciphertext.GetElements()[1:2]), "Ciphertext"),
        wire(pair.publicKey, "PublicKey"),
        wire(_tag(pair.secretKey), "PrivateKey"),
    )


def _tag(key: Any) -> Any:
    """OpenFHE compares tags where it adds; a session's keys need no names."""
    key.SetKeyTag("")
    return key


def _with(ciphertext: Any, elements: list[Any]) -> Any:
    other = ciphertext.CloneEmpty()
    other.SetElements(elements)
    return other
