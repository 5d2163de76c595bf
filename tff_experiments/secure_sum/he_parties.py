"""Clients and server of a sum under homomorphic encryption with one key.

    key holder   makes the keys; signs the public one
    client       checks the signature; encrypts its limbs, a chunk at a time
    server       adds ciphertexts; has no key that decrypts
    key holder   decrypts the one sum that it is asked for, if it is over enough clients

They exchange bytes. A scheme is an object that knows parameters and no keys:

    slots                 limbs of a ciphertext
    parameters            in words
    generate()            (secret, public key as bytes)
    encryptor(public)     limbs, int64 [slots or fewer] -> a ciphertext as bytes
    adder(public)         an object with load(bytes) -> a ciphertext, add(total, other) -> total
                          (which may be the first, changed) and save(total) -> bytes
    decrypt(secret, sum)  a sum of ciphertexts as bytes -> limbs, int64 [slots]

All raise ProtocolError where bytes are not what they should be.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ed25519

from tff_experiments.secure_sum import he_limbs, keys, messages, stages, vectors
from tff_experiments.secure_sum.messages import check
from tff_experiments.secure_sum.stages import ADVERTISE, UNMASK, UPLOAD

CHUNK = 16
"""Ciphertexts of a message."""


class Config(NamedTuple):
    """Public, and the same for all parties.

    Attributes:
        num_clients: Clients are numbered from 1 to this.
        threshold: Fewest clients in a sum that is opened.
        session: 16 bytes, another for each round.
        layout: Of vectors.
        limbs: How they are cut.
        scheme: See above.
    """

    num_clients: int
    threshold: int
    session: bytes
    layout: vectors.Layout
    limbs: he_limbs.Limbs
    scheme: Any

    @property
    def num_ciphertexts(self) -> int:
        """Of a vector."""
        return -(-self.limbs.length // self.scheme.slots)

    @property
    def chunks(self) -> list[range]:
        """Numbers of the ciphertexts of each message; at least one message, be it empty."""
        count = self.num_ciphertexts
        return [range(i, min(i + CHUNK, count)) for i in range(0, max(count, 1), CHUNK)]


def key_statement(session: bytes, public: bytes) -> bytes:
    """This is the public key of this session."""
    return b"tff-experiments/he_key/" + session + public


def read_key(session: bytes, verification_key: ed25519.Ed25519PublicKey, message: bytes) -> bytes:
    """The public key in a message; ProtocolError unless the key holder signed it so."""
    body = messages.decode(message, ADVERTISE, session)
    check(isinstance(body, list) and len(body) == 2, "a key is [public key, signature].")
    public, signature = read_texts(body, 2)
    keys.verify(verification_key, signature, key_statement(session, public))
    return public


class Client:
    """One client in one session."""

    def __init__(self, config: Config, verification_key: ed25519.Ed25519PublicKey):
        """Takes the key holder's verification key, from somebody other than the server."""
        self._config, self._verification_key = config, verification_key
        self._encrypt = None

    def take_key(self, message: bytes) -> None:
        """Takes the public key.

        Raises:
            ProtocolError: It is not the key holder's of this session.
        """
        public = read_key(self._config.session, self._verification_key, message)
        self._encrypt = self._config.scheme.encryptor(public)

    def upload(self, vector: np.ndarray) -> Iterator[bytes]:
        """Encrypts a vector, int64 [length]: message after message, once."""
        check(self._encrypt is not None, "this client has no key to encrypt with.")
        encrypt, self._encrypt = self._encrypt, None
        limbs, slots = self._config.limbs.split(vector), self._config.scheme.slots
        for i, chunk in enumerate(self._config.chunks):
            texts = [encrypt(limbs[j * slots : (j + 1) * slots]) for j in chunk]
            yield messages.encode(UPLOAD, self._config.session, [i, texts])


class Server:
    """The server in one session. Beside the sum it holds what one client sent so far."""

    def __init__(self, config: Config, verification_key: ed25519.Ed25519PublicKey):
        """Starts with no sum."""
        self._config, self._verification_key = config, verification_key
        self._adder = None
        self._sum: list[Any] = []
        self._sender, self._received, self._num_chunks = 0, [], 0
        self.survivors: list[int] = []

    def take_key(self, message: bytes) -> None:
        """Takes the public key, which it hands out as it came; ProtocolError where it is none."""
        public = read_key(self._config.session, self._verification_key, message)
        self._adder = self._config.scheme.adder(public)

    def receive(self, number: int, message: bytes) -> None:
        """Takes a client's next ciphertexts; with its last ones it is in the sum.

        Raises:
            ProtocolError: These are none; the client is left out unless it is in the sum already.
        """
        if number != self._sender:
            self._sender, self._received, self._num_chunks = number, [], 0
        try:
            check(number not in self.survivors, "this client is in the sum already.")
            body = messages.decode(message, UPLOAD, self._config.session)
            self._received += self._read(body)
            self._num_chunks += 1
        except stages.ProtocolError:
            # What is missing now keeps the client from being complete.
            self._received, self._num_chunks = [], len(self._config.chunks)
            raise
        if self._num_chunks == len(self._config.chunks):
            self._add(number)

    def questions(self) -> Iterator[bytes]:
        """The sum for the key holder, message after message.

        Raises:
            AbortedError: Too few clients are in it.
        """
        stages.check_enough("uploaded", len(self.survivors), self._config.threshold)
        clients = sorted(self.survivors)
        for i, chunk in enumerate(self._config.chunks):
            texts = [self._adder.save(self._sum[j]) for j in chunk]
            yield messages.encode(UNMASK, self._config.session, [i, clients, texts])

    def read_sum(self, message: bytes) -> np.ndarray:
        """The key holder's answer, int64 [length]; ProtocolError where it is none."""
        body = messages.decode(message, UNMASK, self._config.session)
        try:
            return self._config.layout.vector(self._config.layout.unpack(body))
        except (TypeError, ValueError) as error:
            raise stages.ProtocolError("the key holder's answer is no vector.") from error

    def _read(self, body: Any) -> list[Any]:
        check(self._num_chunks < len(self._config.chunks), "the client sent what is no upload.")
        check(isinstance(body, list) and len(body) == 2, "an upload is [number, ciphertexts].")
        check(body[0] == self._num_chunks, "ciphertexts are missing, or came twice.")
        texts = read_texts(body[1], len(self._config.chunks[self._num_chunks]))
        return [self._adder.load(text) for text in texts]

    def _add(self, number: int) -> None:
        received, self._received = self._received, []
        if self.survivors:
            pairs = zip(self._sum, received, strict=True)
            received = [self._adder.add(total, other) for total, other in pairs]
        self._sum = received
        self.survivors.append(number)


def read_texts(body: Any, number: int) -> list[bytes]:
    """Checks that these are so many byte strings."""
    check(isinstance(body, list) and len(body) == number, f"expected {number} byte strings.")
    check(all(isinstance(text, bytes) for text in body), "a key or ciphertext is bytes.")
    return body
