"""Clients that cost little, so that a server may be measured with a thousand.

SIMULATION ONLY: stand-ins tell each other their shares, and mask nothing.
"""

import dataclasses

import numpy as np

from tff_experiments.secure_sum import client, keys, messages
from tff_experiments.secure_sum.stages import SHARE, UPLOAD


@dataclasses.dataclass
class Pool:
    """What the stand-ins of one session have in common.

    Attributes:
        real: Clients that are not stand-ins.
        shares: Source -> holder -> shares, in the clear.
        upload: The vector that they all send.
    """

    real: frozenset[int]
    shares: dict[int, dict[int, bytes]] = dataclasses.field(default_factory=dict)
    upload: bytes = b""

    def make_client(self, number: int, *args, **kwargs) -> client.Client:
        """A client that does all its work, or a stand-in."""
        if number in self.real:
            return client.Client(number, *args, **kwargs)
        return StandIn(self, number, *args, **kwargs)


class StandIn(client.Client):
    """Sends what the server and real clients accept, without the work of n masks and checks.

    Its keys, its signatures, its shares, and those that it seals for real clients, are valid. What
    it seals for other stand-ins is zeros; its vector is not masked; it verifies nothing.
    """

    def __init__(self, pool: Pool, number: int, *args, **kwargs):
        """Joins the pool."""
        super().__init__(number, *args, **kwargs)
        self._pool = pool

    def share_keys(self, message: bytes) -> bytes:
        """Splits its secrets, and agrees with the real clients only."""
        self._enter(SHARE)
        found = messages.read_table(self._read(message, SHARE), client.keys_size(self._config))
        self._neighbours = sorted(found.keys() - {self.number})
        self._seed = self._random(keys.SIZE)
        shares = self._split(self._neighbours if self._config.degree else sorted(found))
        self._own_shares = shares.pop(self.number, b"")
        self._pool.shares[self.number] = shares
        self._secrets = {
            v: keys.agree(self._sealing, keys.public_key(found[v][: keys.SIZE]))
            for v in self._pool.real & shares.keys()
        }
        sealed = dict.fromkeys(shares, bytes(client.SEALED_SIZE))
        sealed |= {v: self._seal(v, shares[v]) for v in self._secrets}
        return self._reply(SHARE, messages.table(sealed))

    def masked_input(self, message: bytes, vector: np.ndarray) -> bytes:
        """Sends the pool's vector."""
        self._enter(UPLOAD)
        self._sealed = messages.read_table(self._read(message, UPLOAD), client.SEALED_SIZE)
        self._pool.upload = self._pool.upload or self._layout.pack(self._layout.words(vector))
        return self._reply(UPLOAD, self._pool.upload)

    def _check_signatures(self, signatures) -> None:
        pass

    def _unseal(self, source: int, sealed: bytes) -> bytes:
        if source in self._pool.real:
            return super()._unseal(source, sealed)
        return self._pool.shares[source][self.number]
