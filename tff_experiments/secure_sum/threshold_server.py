"""The server of threshold decryption: adds ciphertexts, keeps what it can't read, fuses.

It holds public keys, one sum of ciphertexts, sealed key parts and sealed shares; then the sum of
partial decryptions; and, of parties that shared and were missing when the sum was opened, their key
parts. Without the key part of each party that opened, those decrypt nothing.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tff_experiments.secure_sum import (
    he_parties,
    keys,
    messages,
    shamir,
    stages,
    threshold_parties,
)
from tff_experiments.secure_sum.messages import check
from tff_experiments.secure_sum.stages import ADVERTISE, SHARE, UPLOAD
from tff_experiments.secure_sum.threshold_parties import OPEN, RECOVER, Config


class Server(he_parties.Server):
    """The server in one session; uploads are its base's."""

    def __init__(self, config: Config):
        """Starts with no keys and no sum."""
        # There is no key holder to verify.
        super().__init__(config.sums, None)
        self._adder = config.sums.scheme
        self._all, self._ring = config, config.ring
        self._sealing: dict[int, bytes] = {}
        self._publics: dict[int, Any] = {}
        self._parts: dict[int, bytes] = {}
        self._shares: dict[int, dict[int, bytes]] = {}
        self._partials: list[Any] = []
        self._coming: dict[int, list[Any]] = {}
        self.opened: list[int] = []
        self._given: dict[int, dict[int, bytes]] = {}

    def lead(self) -> bytes:
        """Asks a party for its key: the lead's public key, if there is one yet."""
        first = next(iter(self._publics.values()), None)
        body = self._ring.public_keys.pack(first) if first else b""
        return self._message(ADVERTISE, body)

    def take_key(self, party: int, message: bytes) -> None:
        """Takes a party's keys."""
        body = self._body(message, ADVERTISE)
        check(party in self._all.parties and party not in self._publics, "no key is due.")
        check(isinstance(body, list) and len(body) == 2, "keys are [sealing, public].")
        keys.public_key(body[0])
        self._publics[party] = self._ring.public_keys.unpack(body[1])
        self._sealing[party] = body[0]

    def directory(self) -> bytes:
        """All parties' X25519 keys."""
        return self._message(SHARE, messages.table(self._sealing))

    def take_shares(self, party: int, message: bytes) -> None:
        """Takes a party's sealed key part and the sealed shares of its key."""
        body = self._body(message, SHARE)
        check(party in self._publics and party not in self._parts, "no shares are due.")
        check(isinstance(body, list) and len(body) == 2, "shares are [key part, shares].")
        size = self._ring.secret_keys.num_bytes + keys.TAG_SIZE
        check(isinstance(body[0], bytes) and len(body[0]) == size, "no sealed key part.")
        shares = messages.read_table(body[1], threshold_parties.SEALED_SIZE)
        due = set(self._publics) - {party}
        check(set(shares) == (due if self._all.threshold <= len(due) else set()), "wrong shares.")
        self._parts[party], self._shares[party] = body[0], shares

    def joint_key(self) -> bytes:
        """The public key of the parties that shared; AbortedError where they are too few."""
        stages.check_enough("shared their keys", len(self._parts), self._all.threshold)
        joint = self._ring.join([self._publics[party] for party in sorted(self._parts)])
        return self._message(UPLOAD, self._ring.public_keys.pack(joint))

    @property
    def parties(self) -> list[int]:
        """Those whose key parts are in the joint key."""
        return sorted(self._parts)

    def halves(self) -> Iterator[bytes]:
        """The sum as parties get it; AbortedError where too few clients are in it."""
        stages.check_enough("uploaded", len(self.survivors), self._config.threshold)
        texts = (self._ring.halves.pack(self._ring.half(total)) for total in self._sum)
        return threshold_parties.chunked(self._all, OPEN, texts)

    def take_partials(self, party: int, message: bytes) -> None:
        """Takes a party's next partial decryptions; with its last ones it has opened."""
        body = self._body(message, OPEN)
        check(party in self._parts and party not in self.opened, "no decryption is due.")
        check(isinstance(body, list) and len(body) == 2, "decryptions are [number, texts].")
        chunks, (coming, done) = self._config.chunks, self._coming.pop(party, ([], 0))
        check(body[0] == done, "decryptions are missing, or came twice.")
        texts = he_parties.read_texts(body[1], len(chunks[done]))
        coming += [self._ring.halves.unpack(text) for text in texts]
        if done + 1 == len(chunks):
            self._add_partials(coming)
            self.opened.append(party)
        else:
            self._coming = {party: (coming, done + 1)}

    @property
    def missing(self) -> list[int]:
        """Parties whose key parts must be recovered."""
        return [party for party in self.parties if party not in self.opened]

    def check_opened(self) -> None:
        """Raises AbortedError where too few parties opened."""
        stages.check_enough("opened the sum", len(self.opened), self._all.threshold)

    def question(self, party: int) -> bytes:
        """Asks a party for its shares of what is missing."""
        return self._message(
            RECOVER, messages.table({v: self._shares[v][party] for v in self.missing})
        )

    def take_given(self, party: int, message: bytes) -> None:
        """Takes a party's shares."""
        given = messages.read_table(self._body(message, RECOVER), shamir.SHARE_SIZE)
        due = party in self.opened and party not in self._given
        check(due and sorted(given) == self.missing, "no such shares are due.")
        self._given[party] = given

    def recover(self) -> None:
        """Recovers the missing parties' key parts, and opens in their stead.

        Raises:
            AbortedError: There are too few shares.
            ProtocolError: A share or a key part was altered.
        """
        need = self._all.threshold
        stages.check_enough("gave their shares", len(self._given), need)
        givers = sorted(self._given)[:need]
        for party in self.missing:
            shares = [[self._given[giver][party] for giver in givers]]
            (key,) = shamir.reconstruct(np.array([givers]), shares)
            context = threshold_parties.part_context(self._all, party)
            part = self._ring.secret_keys.unpack(keys.unseal(key, self._parts[party], context))
            halves = (self._ring.half(total) for total in self._sum)
            self._add_partials([self._ring.partial(half, part) for half in halves])

    def total(self) -> np.ndarray:
        """The sum, int64 [length]; ProtocolError where what was opened is none."""
        scheme, count, limbs = self._config.scheme, len(self.survivors), self._config.limbs
        opened = [np.zeros(0, np.int64)]
        for ciphertext, partial in zip(self._sum, self._partials, strict=True):
            opened.append(scheme.decode(self._ring.fuse(ciphertext, partial), count))
        sums = np.concatenate(opened)
        # What no client has filled is zero, unless something was altered.
        check(not sums[limbs.length :].any(), "what was opened is no sum: something was altered.")
        return self._config.layout.vector(limbs.join(sums[: limbs.length], count))

    def _add_partials(self, partials: list[Any]) -> None:
        if not self._partials:
            self._partials = partials
            return
        for total, partial in zip(self._partials, partials, strict=True):
            self._ring.add(total, partial)

    def _message(self, step: int, body: Any) -> bytes:
        return messages.encode(step, self._config.session, body)

    def _body(self, message: bytes, step: int) -> Any:
        return messages.decode(message, step, self._config.session)
