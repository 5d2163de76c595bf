"""What clients sign, and what the parties of one session agree on beforehand."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ed25519

Directory = Mapping[int, ed25519.Ed25519PublicKey]


class Config(NamedTuple):
    """Public, and the same for all parties.

    Attributes:
        num_clients: Clients are numbered from 1 to this.
        threshold: Shares that give a secret; also the fewest clients that may be left.
        degree: Neighbours of a client; 0 where each is everybody's, as in Bonawitz et al.
        active: Whether keys and survivors are signed.
        session: 16 bytes, another for each round.
        quorum: Clients that must be in the sum, if more than `threshold`: with fewer, a graph need
            not hide.
    """

    num_clients: int
    threshold: int
    degree: int
    active: bool
    session: bytes
    quorum: int = 0


def own_keys(config: Config, client: int, public: bytes) -> bytes:
    """`client` has these two public keys, joined, in this session."""
    return b"tff-experiments/keys/" + config.session + client.to_bytes(4, "big") + public


def survivors(config: Config, clients: Sequence[int]) -> bytes:
    """These clients' inputs are in the sum (Bonawitz et al., round 3)."""
    listed = b"".join(client.to_bytes(4, "big") for client in clients)
    return b"tff-experiments/survivors/" + config.session + listed


def included(config: Config, signer: int, neighbour: int) -> bytes:
    """`signer` was told that its neighbour's input is in the sum."""
    pair = signer.to_bytes(4, "big") + neighbour.to_bytes(4, "big")
    return b"tff-experiments/included/" + config.session + pair


def share_context(config: Config, source: int, holder: int) -> bytes:
    """What the shares of `source` for `holder` are bound to."""
    return config.session + source.to_bytes(4, "big") + holder.to_bytes(4, "big")
