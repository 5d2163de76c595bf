"""A client of SecAgg and SecAgg+: five steps, each taken once and in order.

    advertise_keys   two X25519 keys: one seals shares, the other makes masks
    share_keys       Shamir shares of the masking key s and of the self mask's seed b, sealed
    masked_input     y = x + PRG(b) +- PRG(agree(s, s_v)) for each neighbour v that shared
    sign_survivors   (active) what it was told of who is in the sum
    unmask           of each neighbour one share: of b if it is in the sum, else of s

A client that refused a message is done: it answers nothing more in that session.
"""

import numpy as np
from cryptography.hazmat.primitives.asymmetric import x25519

from tff_experiments.secure_sum import keys, masks, messages, shamir, stages, statements, vectors
from tff_experiments.secure_sum.stages import ADVERTISE, CONSISTENCY, SHARE, UNMASK, UPLOAD

SEALED_SIZE = 2 * shamir.SHARE_SIZE + keys.TAG_SIZE


class Client:
    """One client in one session."""

    def __init__(
        self,
        number: int,
        config: statements.Config,
        layout: vectors.Layout,
        *,
        random_bytes: keys.RandomBytes = keys.system_random,
        signing_key=None,
        directory: statements.Directory | None = None,
    ):
        """Takes what is fixed beforehand.

        Args:
            number: 1 to `config.num_clients`.
            config: The session's.
            layout: Of vectors.
            random_bytes: Where secrets come from.
            signing_key: The client's Ed25519 key (active).
            directory: All clients' verification keys, from somebody other than the server (active).
        """
        self.number, self._config, self._layout = number, config, layout
        self._random, self._signing_key, self._directory = random_bytes, signing_key, directory
        self._next_step = ADVERTISE

    def advertise_keys(self) -> bytes:
        """Makes the keys of this session."""
        self._enter(ADVERTISE)
        self._sealing = keys.private_key(self._random)
        self._masking_secret = self._random(keys.SIZE)
        self._masking = keys.private_key(lambda _: self._masking_secret)
        body = self._public_keys()
        if self._config.active:
            body += self._signing_key.sign(statements.own_keys(self._config, self.number, body))
        return self._reply(ADVERTISE, body)

    def share_keys(self, message: bytes) -> bytes:
        """Shares its secrets among its neighbours.

        Args:
            message: {client: sealing key, masking key and, if active, signature, joined}, itself
                among them.
        """
        self._enter(SHARE)
        found = messages.read_table(self._read(message, SHARE), keys_size(self._config))
        self._check_keys(found)
        self._neighbours = sorted(found.keys() - {self.number})
        self._public = {v: masking_key(found[v]) for v in self._neighbours}
        self._seed = self._random(keys.SIZE)
        # Bonawitz et al. give a share to its owner, too; on a graph only neighbours hold one.
        shares = self._split(self._neighbours if self._config.degree else sorted(found))
        self._own_shares = shares.pop(self.number, b"")
        # Agreeing is the dear part: both directions' keys come from one secret.
        self._secrets = {
            v: keys.agree(self._sealing, keys.public_key(found[v][: keys.SIZE]))
            for v in self._neighbours
        }
        sealed = {v: self._seal(v, text) for v, text in shares.items()}
        return self._reply(SHARE, messages.table(sealed))

    def masked_input(self, message: bytes, vector: np.ndarray) -> bytes:
        """Masks its vector.

        Args:
            message: {neighbour that shared: what it sealed for this client}.
            vector: int64 [length].
        """
        signed_keys = self._mask_keys(message)
        words = self._layout.words(vector)
        masks.add(words, self._layout, signed_keys)
        return self._reply(UPLOAD, self._layout.pack(words))

    def hand_over_masks(self, message: bytes) -> list[tuple[bytes, int]]:
        """`masked_input` where the vector is elsewhere (see `group_sum`): what masks it."""
        signed_keys = self._mask_keys(message)
        self._next_step = UPLOAD + 1
        return signed_keys

    def sign_survivors(self, message: bytes) -> bytes:
        """Signs what it was told of who is in the sum.

        Args:
            message: Its neighbours, and itself, that are in the sum.
        """
        self._enter(CONSISTENCY)
        self._take_survivors(self._read(message, CONSISTENCY))
        sign = self._signing_key.sign
        if not self._config.degree:
            return self._reply(CONSISTENCY, sign(statements.survivors(self._config, self._alive)))
        others = [v for v in self._alive if v != self.number]
        statement = lambda v: statements.included(self._config, self.number, v)
        return self._reply(CONSISTENCY, messages.table({v: sign(statement(v)) for v in others}))

    def unmask(self, message: bytes) -> bytes:
        """Gives its shares: of survivors' seeds and of the others' masking keys.

        Args:
            message: Active: {client: its signature of who is in the sum}. Else the survivors.
        """
        self._enter(UNMASK)
        body = self._read(message, UNMASK)
        if self._config.active:
            self._check_signatures(messages.read_table(body, keys.SIGNATURE_SIZE))
        else:
            self._take_survivors(body)
        opened = {v: self._unseal(v, sealed) for v, sealed in sorted(self._sealed.items())}
        if self._own_shares:
            opened[self.number] = self._own_shares
        alive = set(self._alive)
        size = shamir.SHARE_SIZE
        seeds = {v: both[:size] for v, both in opened.items() if v in alive}
        masking = {v: both[size:] for v, both in opened.items() if v not in alive}
        self._finish()
        body = [messages.table(seeds), messages.table(masking)]
        return messages.encode(UNMASK, self._config.session, body)

    def _public_keys(self) -> bytes:
        both = self._sealing, self._masking
        return b"".join(key.public_key().public_bytes_raw() for key in both)

    def _enter(self, step: int) -> None:
        expected = self._next_step
        if expected == CONSISTENCY and not self._config.active:
            expected = UNMASK
        # Until the answer is made, the client counts as one that refused.
        self._next_step = stages.STAYS
        messages.check(step == expected, f"client {self.number} does not take this step now.")

    def _mask_keys(self, message: bytes) -> list[tuple[bytes, int]]:
        self._enter(UPLOAD)
        self._sealed = messages.read_table(self._read(message, UPLOAD), SEALED_SIZE)
        messages.check(set(self._sealed) <= set(self._neighbours), "shares of a stranger.")
        self._check_enough(len(self._sealed), "shared their keys")
        session, me = self._config.session, self.number
        signed_keys = [(self_mask_key(self._config, me, self._seed), 1)]
        for v in self._sealed:
            secret = keys.agree(self._masking, self._public[v])
            key = keys.derive(secret, b"pair", session, min(me, v), max(me, v))
            signed_keys.append((key, 1 if me > v else -1))
        return signed_keys

    def _reply(self, step: int, body) -> bytes:
        self._next_step = step + 1
        return messages.encode(step, self._config.session, body)

    def _read(self, message: bytes, step: int):
        return messages.decode(message, step, self._config.session)

    def _check_enough(self, others: int, what: str) -> None:
        # Bonawitz et al. count the client itself, as it holds a share; a graph's clients do not.
        stages.check_enough(what, others + (not self._config.degree), self._config.threshold)

    def _check_keys(self, found) -> None:
        messages.check(self.number in found, "the list of keys lacks this client's.")
        messages.check(max(found) <= self._config.num_clients, "an unknown client.")
        size = 2 * keys.SIZE
        mine = found[self.number][:size]
        messages.check(mine == self._public_keys(), "this client's keys were changed.")
        public = {text[at : at + keys.SIZE] for text in found.values() for at in (0, keys.SIZE)}
        messages.check(len(public) == 2 * len(found), "two clients have one key.")
        if self._config.degree:
            messages.check(len(found) - 1 <= self._config.degree, "too many neighbours.")
        self._check_enough(len(found) - 1, "advertised keys")
        if self._config.active:
            for v, text in found.items():
                statement = statements.own_keys(self._config, v, text[:size])
                keys.verify(self._directory[v], text[size:], statement)

    def _take_survivors(self, body) -> None:
        alive = messages.numbers(body)
        messages.check(self.number in alive, "this client is said to be gone.")
        others = set(alive) - {self.number}
        messages.check(others <= set(self._sealed), "a survivor that shared no keys.")
        self._check_enough(len(others), "are in the sum")
        self._alive = alive

    def _check_signatures(self, signatures) -> None:
        config, alive = self._config, set(self._alive)
        messages.check(set(signatures) <= alive, "a signature of one that is gone.")
        if not config.degree:
            # Its own statement needs no signature.
            others = set(signatures) - {self.number}
            statement = statements.survivors(config, self._alive)
            for v in others:
                keys.verify(self._directory[v], signatures[v], statement)
            self._check_enough(len(others), "signed the list of survivors")
            return
        messages.check(self.number not in signatures, "a client is no neighbour of its own.")
        for v, signature in signatures.items():
            statement = statements.included(config, v, self.number)
            keys.verify(self._directory[v], signature, statement)
        self._check_enough(len(signatures), "were told that this client is in the sum")

    def _split(self, holders: list[int]) -> dict[int, bytes]:
        """A share of the seed and one of the masking key, joined, for each holder."""
        points, threshold = np.array(holders), self._config.threshold
        both = self._seed, self._masking_secret
        pairs = zip(*shamir.split_all(both, points, threshold, self._random), strict=True)
        del self._masking_secret
        return {holder: b"".join(pair) for holder, pair in zip(holders, pairs, strict=True)}

    def _seal(self, holder: int, text: bytes) -> bytes:
        config, me = self._config, self.number
        key = keys.derive(self._secrets[holder], b"share", config.session, me, holder)
        return keys.seal(key, text, statements.share_context(config, me, holder))

    def _unseal(self, source: int, sealed: bytes) -> bytes:
        config, me = self._config, self.number
        key = keys.derive(self._secrets[source], b"share", config.session, source, me)
        return keys.unseal(key, sealed, statements.share_context(config, source, me))

    def _finish(self) -> None:
        # Nothing of the session may be used again.
        for name in ("_seed", "_secrets", "_sealing", "_masking", "_own_shares", "_sealed"):
            delattr(self, name)


def keys_size(config: statements.Config) -> int:
    """Bytes of a client's public keys, with their signature if there is one."""
    return 2 * keys.SIZE + config.active * keys.SIGNATURE_SIZE


def masking_key(public: bytes) -> x25519.X25519PublicKey:
    """Of a client's public keys the one that makes masks."""
    return keys.public_key(public[keys.SIZE : 2 * keys.SIZE])


def self_mask_key(config: statements.Config, client: int, seed: bytes) -> bytes:
    """The key of a client's self mask, from its seed b."""
    return keys.derive(seed, b"self", config.session, client)
