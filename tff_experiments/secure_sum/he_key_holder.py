"""The key holder of a sum under homomorphic encryption; the other parties are in `he_parties`."""

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ed25519

from tff_experiments.secure_sum import he_parties, messages
from tff_experiments.secure_sum.messages import check
from tff_experiments.secure_sum.stages import ADVERTISE, UNMASK


class KeyHolder:
    """Who can decrypt, in one session: it opens one sum."""

    def __init__(self, config: he_parties.Config, signing_key: ed25519.Ed25519PrivateKey):
        """Makes the keys."""
        self._config, self._signing_key = config, signing_key
        self._secret, self._public = config.scheme.generate()
        self._limbs: list[np.ndarray] = [np.zeros(0, np.int64)]
        self._next, self._clients = 0, None

    def public_key(self) -> bytes:
        """The public key, signed."""
        statement = he_parties.key_statement(self._config.session, self._public)
        body = [self._public, self._signing_key.sign(statement)]
        return messages.encode(ADVERTISE, self._config.session, body)

    def decrypt(self, message: bytes) -> bytes:
        """Decrypts a message's part of the sum; the answer to the last one is the sum.

        The number of clients is what the server says: this guards against its mistakes, not lies.

        Raises:
            ProtocolError: The message is none, or not the next one, or the sum is not over enough
                clients, or it was altered.
        """
        body = messages.decode(message, UNMASK, self._config.session)
        chunks, scheme = self._config.chunks, self._config.scheme
        check(isinstance(body, list) and len(body) == 3, "a part is [number, clients, sums].")
        check(self._next < len(chunks), "the sum of a session is opened once.")
        check(body[0] == self._next, "a part of the sum is missing, or came twice.")
        self._check_clients(messages.numbers(body[1]))
        for text in he_parties.read_texts(body[2], len(chunks[self._next])):
            self._limbs.append(scheme.decrypt(self._secret, text))
        self._next += 1
        return self._answer() if self._next == len(chunks) else b""

    def _check_clients(self, clients: list[int]) -> None:
        check(max(clients, default=0) <= self._config.num_clients, "an unknown client.")
        check(len(clients) >= self._config.threshold, "too few clients are in the sum.")
        check(self._clients in (None, clients), "the parts are of different clients.")
        self._clients = clients

    def _answer(self) -> bytes:
        limbs, rest = np.split(np.concatenate(self._limbs), [self._config.limbs.length])
        # Nothing of the session may be used again.
        del self._secret, self._limbs
        check(not rest.any(), "slots that no client fills are filled: the sum was altered.")
        words = self._config.limbs.join(limbs, len(self._clients))
        return messages.encode(UNMASK, self._config.session, self._config.layout.pack(words))
