"""BFV with one key: Brakerski, CRYPTO 2012 (https://eprint.iacr.org/2012/078); Fan and Vercauteren,
2012 (https://eprint.iacr.org/2012/144). Exact sums under encryption, by SEAL through TenSEAL.

A key holder, neither the server nor a client, makes keys for one round. Each client encrypts its
vector with the public key, the server adds ciphertexts, the key holder decrypts the sum. A slot
holds an integer modulo a prime t = 1 mod 2N (batching), and with q/t m + v in a ciphertext,

    decrypts exactly while |sum of v| + n / 2 < q / (2 t),

which the smallest parameters in `he_noise` are chosen for. t exceeds any sum of limbs, so that sums
do not wrap: the key holder reduces them modulo the segments' moduli.

Hides:       each client's vector from a server that follows the protocol but looks at what it
             gets, and from all other clients together with it, as long as they and the key holder
             do not pool what they know. A client's ciphertext is opened by the secret key alone.
Assumes:     ring-LWE at 128 bits by the Homomorphic Encryption Standard's table; Ed25519; that
             clients know the key holder's verification key from somebody other than the server.
Reveals:     the sum, to server and key holder; to the key holder also its carry, that is the sum
             before it is reduced modulo M (and of wide entries the sum of each limb); who took
             part. To both, n vectors that are all known but one give away that one.
Key holder   and server together learn each client's vector. So does the key holder with whoever
             reads the clients' channels. With a client it learns the sum of the others.
A server     that lies learns all: it asks for the sum of one client and says that it is of many;
             the key holder counts only what it is told. Where the server may lie, choose secagg.
Not covered: clients that encrypt a wrong vector or add noise: they can spoil the sum, unseen.
             Ciphertexts altered on the way, if they are still ciphertexts: the sum is wrong, or
             refused where no such clients have such a sum.
Simulated:   network and machines (see `he_simulation`).

Keys are fresh each round: they take milliseconds, what a round's key opens is one sum, and its
parameters follow the round's clients. SEAL's randomness can't be repeated: a seed repeats sums, not
ciphertexts.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from tff_experiments.secure_sum import he_noise, he_protocol, seal, vectors

MIN_PLAIN_BITS = 18
"""Of fewer bits there is not always a prime that is 1 modulo 2N."""


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of BFV."""

    threshold: float = 0.0
    """Fraction of the round's clients that must be in a sum that is opened; 0 is more than half.
    Never less than 2 clients.
    """

    def __post_init__(self):
        he_protocol.check_fraction(self.threshold)


class Scheme(seal.Scheme):
    """BFV with batching."""

    def __init__(self, choice: he_noise.Choice):
        """Takes N, q and t."""
        super().__init__("BFV", choice.degree, choice.bits, choice.plain)
        self.parameters += f", log t = {choice.plain.bit_length()}"
        self._encoder = self._seal.BatchEncoder(self.context)

    def _fits(self, ciphertext) -> bool:
        return not ciphertext.is_ntt_form()

    def _encode(self, limbs: np.ndarray):
        plaintext = self._seal.Plaintext()
        self._encoder.encode(limbs.tolist(), plaintext)
        return plaintext

    def _decode(self, plaintext) -> np.ndarray:
        return np.array(self._encoder.decode_uint64(plaintext), np.int64)


def choose(layout: vectors.Layout, num_clients: int) -> tuple[int, Scheme]:
    """The largest value of a limb, and the scheme, for so many clients.

    Raises:
        ValueError: There are too many clients.
    """
    choice = he_noise.cheapest(choices(num_clients), layout, num_clients)
    return choice.largest_sum // num_clients, Scheme(choice)


def choices(num_clients: int) -> Iterator[he_noise.Choice]:
    """All parameters that decrypt the sum of so many ciphertexts."""
    for degree in he_noise.DEGREES:
        noise = he_noise.coefficient_noise(degree, num_clients) + num_clients / 2
        for plain_bits in range(MIN_PLAIN_BITS, he_noise.MAX_PRIME_BITS):
            plain = plain_modulus(degree, plain_bits)
            # A factor of two more than the bound: SEAL's decryption rounds in residues.
            bits = he_noise.bits_above(4 * plain * noise)
            if bits <= min(he_noise.MAX_BITS[degree], he_noise.MAX_PRIME_BITS):
                yield he_noise.Choice(degree, bits, plain - 1, plain)


@functools.cache
def plain_modulus(degree: int, bits: int) -> int:
    """The largest prime of so many bits that is 1 modulo 2N."""
    return seal.library().PlainModulus.Batching(degree, bits).value()


def build(hparams: Hparams) -> he_protocol.Protocol:
    """Makes the protocol."""
    return he_protocol.Protocol(hparams.threshold, choose)
