"""What travels: msgpack of [step, session, body]. Whatever can't be read is a ProtocolError."""

import itertools
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np

from tff_experiments.secure_sum import stages

Table = list[Any]  # [clients, strings joined]


def encode(step: int, session: bytes, body: Any) -> bytes:
    """Makes a message; `body` holds integers, bytes and lists."""
    return msgpack.packb([step, session, body])


def decode(data: bytes, step: int, session: bytes) -> Any:
    """The body of a message of this step and session.

    Raises:
        ProtocolError: It is of another step or session (a replay), or no message.
    """
    try:
        fields = msgpack.unpackb(data)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException) as error:
        raise stages.ProtocolError("a message can't be read.") from error
    if not isinstance(fields, list) or len(fields) != 3:
        raise stages.ProtocolError("a message is [step, session, body].")
    if fields[:2] != [step, session]:
        raise stages.ProtocolError("a message is of another step or session.")
    return fields[2]


def check(condition: bool, what: str) -> None:
    """Raises ProtocolError(what) where a body is not as it must be."""
    if not condition:
        raise stages.ProtocolError(what)


def table(entries: Mapping[int, bytes]) -> Table:
    """The body for strings of one size, one for each client: [clients, strings joined]."""
    clients = sorted(entries)
    return [clients, b"".join([entries[client] for client in clients])]


def read_table(body: Any, size: int) -> dict[int, bytes]:
    """What `table` was given, clients ascending; raises as `check_table` does."""
    clients = check_table(body, size)
    # This runs a million times in a round of a thousand clients.
    starts = range(0, size * len(clients), size)
    return {client: body[1][at : at + size] for client, at in zip(clients, starts, strict=True)}


def check_table(body: Any, size: int) -> list[int]:
    """A table's clients, ascending; ProtocolError where its strings are not of `size`."""
    check(isinstance(body, list) and len(body) == 2, "a table is [clients, strings].")
    clients, strings = numbers(body[0]), body[1]
    fits = isinstance(strings, bytes) and len(strings) == size * len(clients)
    check(fits, f"a table's strings must have {size} bytes each.")
    return clients


def by_recipient(tables: Mapping[int, Table], size: int) -> dict[int, Table]:
    """Of senders' tables, each of strings for recipients, the recipients' tables of senders.

    Written for a million strings: they are sorted as one array.
    """
    senders = sorted(tables)
    listed = itertools.chain.from_iterable(tables[v][0] for v in senders)
    recipients = np.fromiter(listed, np.int64)
    order = np.argsort(recipients, kind="stable")
    sources = np.repeat(np.array(senders, np.int64), [len(tables[v][0]) for v in senders])[order]
    strings = np.frombuffer(b"".join([tables[v][1] for v in senders]), f"V{size}")[order]
    found, counts = np.unique(recipients, return_counts=True)
    stops = np.cumsum(counts)
    return {
        recipient: [sources[start:stop].tolist(), strings[start:stop].tobytes()]
        for recipient, start, stop in zip(found.tolist(), stops - counts, stops, strict=True)
    }


def numbers(body: Any) -> list[int]:
    """Checks a list of clients, positive and strictly ascending."""
    check(isinstance(body, list), "clients must be a list.")
    check(set(map(type, body)) <= {int}, "a client must be a number.")
    check(body == sorted(set(body)) and min(body, default=1) > 0, "clients must ascend from 1.")
    return body
