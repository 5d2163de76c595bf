"""What travels: msgpack of [step, session, body]. Whatever can't be read is a ProtocolError."""

from collections.abc import Mapping
from typing import Any

import msgpack

from tff_experiments.secure_sum import stages


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


def table(entries: Mapping[int, bytes]) -> list[Any]:
    """The body for strings of one size, one for each client: [clients, strings joined]."""
    clients = sorted(entries)
    return [clients, b"".join([entries[client] for client in clients])]


def read_table(body: Any, size: int) -> dict[int, bytes]:
    """What `table` was given, clients ascending; ProtocolError where strings are not of `size`."""
    check(isinstance(body, list) and len(body) == 2, "a table is [clients, strings].")
    clients, strings = numbers(body[0]), body[1]
    fits = isinstance(strings, bytes) and len(strings) == size * len(clients)
    check(fits, f"a table's strings must have {size} bytes each.")
    # This runs a million times in a round of a thousand clients.
    starts = range(0, len(strings), size)
    return {client: strings[at : at + size] for client, at in zip(clients, starts, strict=True)}


def numbers(body: Any) -> list[int]:
    """Checks a list of clients, positive and strictly ascending."""
    check(isinstance(body, list), "clients must be a list.")
    check(set(map(type, body)) <= {int}, "a client must be a number.")
    check(body == sorted(set(body)) and min(body, default=1) > 0, "clients must ascend from 1.")
    return body
