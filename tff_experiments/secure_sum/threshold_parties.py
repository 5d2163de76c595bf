"""A party of threshold decryption: four steps, each taken once and in order.

    advertise   an X25519 key for shares; a key part s_i, and its public key under the lead's a
    share       s_i sealed under a key k_i, for the server to keep; Shamir shares of k_i, each
                sealed to another party
    open        partial decryptions of the sum, once
    recover     its shares of the k_i of parties that shared and then did not open

t shares give k_i, and with it s_i, to the server, which then opens in the missing party's stead.
OpenFHE has sharing of its own (`ShareKeys`), of s_i itself and without a way to send it: a share
of each for each party is 32 KB, where one of k_i is 35 bytes.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tff_experiments.secure_sum import (
    he_parties,
    keys,
    messages,
    openfhe_ring,
    shamir,
    stages,
    statements,
)
from tff_experiments.secure_sum.messages import check
from tff_experiments.secure_sum.stages import ADVERTISE, CONSISTENCY, SHARE, UNMASK, UPLOAD

# What other protocols do in these steps has no place here.
OPEN, RECOVER = CONSISTENCY, UNMASK
SEALED_SIZE = shamir.SHARE_SIZE + keys.TAG_SIZE


class Config(NamedTuple):
    """Public, and the same for all.

    Attributes:
        parties: Clients that hold a key part, ascending.
        threshold: Parties that open the sum.
        sums: Session, vectors and scheme; see `he_parties.Config`.
    """

    parties: tuple[int, ...]
    threshold: int
    sums: he_parties.Config

    @property
    def ring(self) -> openfhe_ring.Ring:
        """OpenFHE's context."""
        return self.sums.scheme.ring

    @property
    def session(self) -> bytes:
        """16 bytes, another for each round."""
        return self.sums.session


class Client(he_parties.Client):
    """A client, party or not: it encrypts under the joint key, which comes from the server."""

    def __init__(self, config: he_parties.Config):
        """Takes what is fixed beforehand."""
        super().__init__(config, None)

    def take_key(self, message: bytes) -> None:
        """Takes the joint public key."""
        body = messages.decode(message, UPLOAD, self._config.session)
        self._encrypt = self._config.scheme.encryptor(body)


class Party:
    """One party in one session."""

    def __init__(self, number: int, config: Config, random_bytes: keys.RandomBytes):
        """Takes its number, the session's config and where its own secrets come from."""
        self.number, self._config, self._random = number, config, random_bytes
        self._next_step = ADVERTISE
        self._opened = 0

    def advertise(self, message: bytes) -> bytes:
        """Makes a key part.

        Args:
            message: The lead's public key; empty for the lead itself.
        """
        self._enter(ADVERTISE)
        body = self._read(message, ADVERTISE)
        ring = self._config.ring
        lead = ring.public_keys.unpack(body) if body else None
        public, self._secret = ring.keys(lead)
        self._sealing = keys.private_key(self._random)
        sealing = self._sealing.public_key().public_bytes_raw()
        return self._reply(ADVERTISE, [sealing, ring.public_keys.pack(public)], SHARE)

    def share(self, message: bytes) -> bytes:
        """Shares its key part.

        Args:
            message: {party that advertised: its X25519 key}.
        """
        self._enter(SHARE)
        found = messages.read_table(self._read(message, SHARE), keys.SIZE)
        check(set(found) <= set(self._config.parties), "an unknown party.")
        mine = self._sealing.public_key().public_bytes_raw()
        check(found.pop(self.number, None) == mine, "this party's key was changed.")
        check(len({mine, *found.values()}) == len(found) + 1, "two parties have one key.")
        stages.check_enough("advertised keys", len(found) + 1, self._config.threshold)
        self._secrets = {v: keys.agree(self._sealing, keys.public_key(found[v])) for v in found}
        key, part = self._random(keys.SIZE), self._config.ring.secret_keys.pack(self._secret)
        holders = sorted(found)
        # A party needs no share of its own part: while it is there, it opens. Where all parties
        # must open, nobody's part may be recovered.
        shares, least = {}, self._config.threshold
        if least <= len(holders):
            split = shamir.split(key, np.array(holders), least, self._random)
            shares = {v: self._seal(v, text) for v, text in zip(holders, split, strict=True)}
        sealed = keys.seal(key, part, part_context(self._config, self.number))
        return self._reply(SHARE, [sealed, messages.table(shares)], OPEN)

    def open(self, message: bytes) -> bytes:
        """Partial decryptions of the next ciphertexts of the sum.

        Args:
            message: [number of the message, c_1 of each].
        """
        chunks = self._config.sums.chunks
        # Each is opened once: flooding that is averaged over several answers is none.
        self._enter(OPEN)
        body = self._read(message, OPEN)
        check(isinstance(body, list) and len(body) == 2, "a part is [number, ciphertexts].")
        check(body[0] == self._opened, "a part of the sum is missing, or came twice.")
        halves = he_parties.read_texts(body[1], len(chunks[self._opened]))
        answer = [self._open(text) for text in halves]
        index, self._opened = self._opened, self._opened + 1
        last = self._opened == len(chunks)
        return self._reply(OPEN, [index, answer], RECOVER if last else OPEN)

    def recover(self, message: bytes) -> bytes:
        """Its shares of missing parties' keys.

        Args:
            message: {missing party: what it sealed for this one}.
        """
        self._enter(RECOVER)
        sealed = messages.read_table(self._read(message, RECOVER), SEALED_SIZE)
        check(set(sealed) <= set(self._secrets), "shares of a stranger.")
        missing = len(self._config.parties) - self._config.threshold
        check(len(sealed) <= missing, "more parties are said to be missing than may be.")
        opened = {v: self._unseal(v, text) for v, text in sealed.items()}
        # Nothing of the session may be used again.
        del self._secret, self._secrets, self._sealing
        return messages.encode(RECOVER, self._config.session, messages.table(opened))

    def _open(self, text: bytes) -> bytes:
        ring = self._config.ring
        return ring.halves.pack(ring.partial(ring.halves.unpack(text), self._secret))

    def _enter(self, step: int) -> None:
        expected, self._next_step = self._next_step, stages.STAYS
        check(step == expected, f"party {self.number} does not take this step now.")

    def _reply(self, step: int, body: Any, next_step: int) -> bytes:
        self._next_step = next_step
        return messages.encode(step, self._config.session, body)

    def _read(self, message: bytes, step: int) -> Any:
        return messages.decode(message, step, self._config.session)

    def _seal(self, holder: int, text: bytes) -> bytes:
        return keys.seal(*self._pair(self.number, holder, self._secrets[holder], text))

    def _unseal(self, source: int, sealed: bytes) -> bytes:
        return keys.unseal(*self._pair(source, self.number, self._secrets[source], sealed))

    def _pair(self, source: int, holder: int, secret: bytes, text: bytes):
        session = self._config.session
        key = keys.derive(secret, b"threshold share", session, source, holder)
        return key, text, statements.share_context(self._config, source, holder)


def part_context(config: Config, party: int) -> bytes:
    """What a sealed key part is bound to."""
    return b"tff-experiments/key_part/" + config.session + party.to_bytes(4, "big")


def chunked(config: Config, step: int, texts: Iterator[bytes]) -> Iterator[bytes]:
    """Messages [number, texts] of the session's chunks."""
    for i, chunk in enumerate(config.sums.chunks):
        yield messages.encode(step, config.session, [i, [next(texts) for _ in chunk]])
