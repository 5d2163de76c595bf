"""The server of SecAgg and SecAgg+: routes what it can't read, adds what it can't open.

It holds public keys, sealed shares, one sum of masked vectors, and at the end the shares that
clients gave. `close(step)` ends the collection of a step's messages; fewer than the threshold
abort the round.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tff_experiments.secure_sum import (
    client,
    graph,
    keys,
    masks,
    messages,
    shamir,
    stages,
    statements,
    vectors,
)
from tff_experiments.secure_sum.stages import ADVERTISE, CONSISTENCY, SHARE, UNMASK, UPLOAD

_EVERYBODY = 0


class Server:
    """The server in one session."""

    def __init__(
        self, config: statements.Config, layout: vectors.Layout, permutation: Sequence[int] = ()
    ):
        """Starts the session.

        Args:
            config: The session's.
            layout: Of vectors.
            permutation: Of range(num_clients), random: the graph's ring.
        """
        self._config, self._layout, self._permutation = config, layout, permutation
        self._step = ADVERTISE
        self._messages: dict[int, bytes] = {}
        self._public: dict[int, bytes] = {}
        self._neighbours: dict[int, list[int]] = {}
        # Sender -> its table of sealed shares; once all are there, holder -> a table for it.
        self._sealed: dict[int, messages.Table] = {}
        self._shared: set[int] = set()
        self._sum = layout.zeros()
        self._uploaded: set[int] = set()
        self._signatures: dict[int, dict[int, bytes]] = defaultdict(dict)
        self._signers: set[int] = set()
        self._seed_shares: dict[int, dict[int, bytes]] = defaultdict(dict)
        self._key_shares: dict[int, dict[int, bytes]] = defaultdict(dict)
        self._unmasked: set[int] = set()

    @property
    def survivors(self) -> set[int]:
        """Clients whose inputs are in the sum."""
        return self._uploaded

    def knows(self, client: int) -> bool:
        """Whether a client took the step before, and so is asked for the present one."""
        before = {SHARE: self._public, UPLOAD: self._shared, CONSISTENCY: self._uploaded}
        unmasks = self._signers if self._config.active else self._uploaded
        return client in before.get(self._step, unmasks)

    def receive(self, step: int, sender: int, message: bytes) -> None:
        """Takes a client's message.

        Args:
            step: The step that it answers.
            sender: Who sent it, as the transport knows.
            message: It.

        Raises:
            ProtocolError: It breaks the protocol, or comes late or twice; nothing of it is kept.
        """
        messages.check(1 <= sender <= self._config.num_clients, "a message of a stranger.")
        body = messages.decode(message, step, self._config.session)
        take = {
            ADVERTISE: self._take_keys,
            SHARE: self._take_shares,
            UPLOAD: self._take_input,
            CONSISTENCY: self._take_signatures,
            UNMASK: self._take_unmasking,
        }
        messages.check(step == self._step, "a message came late, or early.")
        take[step](sender, body)

    def receive_group(self, senders: Sequence[int], words: Sequence[np.ndarray]) -> None:
        """Takes the masked vectors of several clients, added up, as their uploads.

        Raises:
            ProtocolError: They come late, twice, or from one that shared no keys; none is taken.
        """
        messages.check(self._step == UPLOAD, "a message came late, or early.")
        messages.check(len(set(senders)) == len(senders), "an input came twice.")
        for sender in senders:
            self._check_uploads(sender)
        self._layout.add(self._sum, words)
        self._uploaded.update(senders)

    def close(self, step: int) -> None:
        """Ends a step's collection; raises AbortedError where too few took it."""
        messages.check(step == self._step, "a step ends once, and in order.")
        if step == ADVERTISE:
            self._close_advertising()
        if step == SHARE:
            self._sealed = messages.by_recipient(self._sealed, client.SEALED_SIZE)
        took = {
            ADVERTISE: self._public,
            SHARE: self._shared,
            UPLOAD: self._uploaded,
            CONSISTENCY: self._signers,
            UNMASK: self._unmasked,
        }
        have, need = len(took[step]), self._config.threshold
        if step <= UPLOAD:
            need = max(need, self._config.quorum)
        stages.check_enough(f"were left {stages.STAGES[step][7:]}", have, need)
        following = step + 1
        if following == CONSISTENCY and not self._config.active:
            following = UNMASK
        self._step, self._messages = following, {}

    def message(self, recipient: int) -> bytes:
        """What a client gets at the present step."""
        messages.check(SHARE <= self._step <= UNMASK, "there is nothing to send at this step.")
        messages.check(recipient in self._public, "a client without keys is sent nothing.")
        if self._step == UPLOAD:
            sealed = self._sealed.pop(recipient, messages.table({}))
            return messages.encode(UPLOAD, self._config.session, sealed)
        # In the complete graph all get the same.
        about = recipient if self._config.degree else _EVERYBODY
        if about not in self._messages:
            body = {
                SHARE: self._keys_for,
                CONSISTENCY: self._survivors_for,
                UNMASK: self._signatures_for if self._config.active else self._survivors_for,
            }[self._step](recipient)
            self._messages = {about: messages.encode(self._step, self._config.session, body)}
        return self._messages[about]

    def sum(self) -> np.ndarray:
        """Takes the masks off and returns the sum, int64 [length], entries in [0, modulus).

        Raises:
            AbortedError: A secret lacks shares.
            ProtocolError: Shares were altered, or the sum was opened before.
        """
        messages.check(self._step == stages.STAYS, "the sum is opened once, after all steps.")
        self._step += 1
        dropped = [u for u in sorted(self._shared - self._uploaded) if self._masked_with(u)]
        alive = sorted(self._uploaded)
        seeds = self._open(alive, self._seed_shares)
        secrets = self._open(dropped, self._key_shares)
        pairs = zip(alive, seeds, strict=True)
        own = [(client.self_mask_key(self._config, v, seed), -1) for v, seed in pairs]
        masks.add(self._sum, self._layout, own)
        public = {v: client.masking_key(self._public[v]) for v in [*alive, *dropped]}
        for u, secret in zip(dropped, secrets, strict=True):
            masks.add(self._sum, self._layout, self._pair_masks(u, secret, public))
        return self._layout.vector(self._sum)

    def _take_keys(self, sender: int, body) -> None:
        messages.check(sender not in self._public, "keys came twice.")
        size = client.keys_size(self._config)
        fits = isinstance(body, bytes) and len(body) == size
        messages.check(fits, f"a client's keys are {size} bytes.")
        self._public[sender] = body

    def _close_advertising(self) -> None:
        clients = range(1, self._config.num_clients + 1)
        degree = self._config.degree or len(clients)
        # Of all clients: on a graph of those that are left, the share of corrupt neighbours would
        # be higher than `graph.parameters` counted on.
        near = graph.neighbours(clients, degree, self._permutation or range(len(clients)))
        self._neighbours = {u: [v for v in near[u] if v in self._public] for u in self._public}

    def _keys_for(self, recipient: int):
        near = recipient, *self._neighbours[recipient]
        return messages.table({v: self._public[v] for v in near})

    def _take_shares(self, sender: int, body) -> None:
        messages.check(sender in self._public, "shares of a client without keys.")
        messages.check(sender not in self._shared, "shares came twice.")
        holders = messages.check_table(body, client.SEALED_SIZE)
        near = self._neighbours[sender]
        messages.check(holders == near, "shares must go to the neighbours.")
        self._shared.add(sender)
        self._sealed[sender] = body

    def _check_uploads(self, sender: int) -> None:
        messages.check(sender in self._shared, "an input of a client that shared no keys.")
        messages.check(sender not in self._uploaded, "an input came twice.")

    def _take_input(self, sender: int, body) -> None:
        self._check_uploads(sender)
        messages.check(isinstance(body, bytes), "an input must be bytes.")
        try:
            words = self._layout.unpack(body)
        except ValueError as error:
            raise stages.ProtocolError(str(error)) from error
        self._layout.add(self._sum, words)
        self._uploaded.add(sender)

    def _survivors_for(self, recipient: int):
        if not self._config.degree:
            return sorted(self._uploaded)
        near = {recipient, *self._neighbours[recipient]}
        return sorted(near & self._uploaded)

    def _take_signatures(self, sender: int, body) -> None:
        messages.check(sender in self._uploaded, "a signature of one that is gone.")
        messages.check(sender not in self._signers, "signatures came twice.")
        if self._config.degree:
            given = messages.read_table(body, keys.SIGNATURE_SIZE)
            near = self._uploaded & set(self._neighbours[sender])
            messages.check(given.keys() == near, "signatures must go to the neighbours in the sum.")
            for neighbour, signature in given.items():
                self._signatures[neighbour][sender] = signature
        else:
            fits = isinstance(body, bytes) and len(body) == keys.SIGNATURE_SIZE
            messages.check(fits, "a signature has a wrong size.")
            self._signatures[_EVERYBODY][sender] = body
        self._signers.add(sender)

    def _signatures_for(self, recipient: int):
        about = recipient if self._config.degree else _EVERYBODY
        return messages.table(self._signatures[about])

    def _take_unmasking(self, sender: int, body) -> None:
        messages.check(sender in self._uploaded, "shares of one that is gone.")
        messages.check(sender not in self._unmasked, "shares came twice.")
        messages.check(isinstance(body, list) and len(body) == 2, "shares are two tables.")
        seeds, masking = (messages.read_table(part, shamir.SHARE_SIZE) for part in body)
        # In the complete graph a client holds a share of its own secrets, too.
        own = set() if self._config.degree else {sender}
        held = self._shared & (own | set(self._neighbours[sender]))
        # All that it holds, so that who gives too little does not count as one that unmasked.
        messages.check(seeds.keys() == self._uploaded & held, "not the seeds of those in the sum.")
        messages.check(
            masking.keys() == held - self._uploaded, "not the masking keys of those that are gone."
        )
        self._unmasked.add(sender)
        for shares, into in ((seeds, self._seed_shares), (masking, self._key_shares)):
            for owner, share in shares.items():
                into[owner][sender] = share

    def _masked_with(self, dropped: int) -> list[int]:
        return [v for v in self._neighbours[dropped] if v in self._uploaded]

    def _open(self, owners: Sequence[int], shares: dict[int, dict[int, bytes]]) -> list[bytes]:
        threshold = self._config.threshold
        if not owners:
            return []
        chosen = []
        for owner in owners:
            stages.check_enough("gave shares of a secret", len(shares[owner]), threshold)
            chosen.append(sorted(shares[owner].items())[:threshold])
        points = np.array([[holder for holder, _ in row] for row in chosen])
        return shamir.reconstruct(points, [[share for _, share in row] for row in chosen])

    def _pair_masks(self, dropped: int, secret: bytes, public) -> list[tuple[bytes, int]]:
        """What takes a dropped client's masks off: keys and signs, for `masks.add`."""
        private = keys.private_key(lambda _: secret)
        messages.check(private.public_key() == public[dropped], "a masking key was altered.")
        session, signed_keys = self._config.session, []
        for v in self._masked_with(dropped):
            shared = keys.agree(private, public[v])
            key = keys.derive(shared, b"pair", session, min(v, dropped), max(v, dropped))
            signed_keys.append((key, -1 if v > dropped else 1))
        return signed_keys
