"""Messages: whatever comes in at an entry of client or server is read, or refused."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_helpers import (
    ADVERTISE,
    GRAPHS,
    STEPS,
    parties,
)

from tff_experiments.secure_sum import messages, stages

REFUSED = (stages.ProtocolError, stages.AbortedError)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5)
    # Of 3, 64 and 128 bytes are vectors, keys and signatures: any such bytes are taken.
    | st.binary(max_size=80).filter(lambda b: len(b) not in (3, 64)) | st.just(bytes(86)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)  # fmt: skip
lists = st.lists(st.integers(0, 9) | st.sampled_from([2**32, 2**64 - 1]), max_size=7)
tables = st.tuples(
    lists.map(sorted), st.binary(max_size=90) | st.builds(bytes, st.integers(0, 700))
)
bodies = values | lists | tables.map(list) | st.tuples(tables, tables).map(list)
SESSIONS: dict = {}


def waiting(graph, active, step):
    """Parties of which all wait for a step, made once."""
    key = graph, active, step
    if key not in SESSIONS:
        session = SESSIONS[key] = parties(graph, active=active).before(step)
        session.message(1, step)
    return SESSIONS[key]


CASES = [(g, a, s) for g in GRAPHS for a in (True, False) for s in STEPS if a or s != 3]


@pytest.mark.parametrize("graph, active, step", CASES)
@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.data())
def test_garbage_is_refused_at_every_entry(graph, active, step, data):
    """Nothing but refusals; and the server keeps nothing of it, the client answers nothing more."""
    session = waiting(graph, active, step)
    body = data.draw(bodies)
    encoded = messages.encode(step, session.config.session, body)
    for message in (data.draw(st.binary(max_size=40)), encoded, encoded[:-1], encoded + b"\0"):
        before = repr(vars(session.server))
        with pytest.raises(REFUSED):
            session.server.receive(step, data.draw(st.integers(-1, 10)), message)
        assert repr(vars(session.server)) == before
        if step != ADVERTISE:
            party, session.clients[1] = session.clients[1], copy.copy(session.clients[1])
            with pytest.raises(REFUSED):
                session.ask(1, step, message)
            with pytest.raises(REFUSED):
                session.ask(1, step, session.message(1, step))
            session.clients[1] = party


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 5000,
        None,
        7,
        "text",
    ],
)
def test_bombs_and_other_types_are_refused(data):  # fmt: skip
    """Lengths of 2^32 - 1 with nothing behind them, and lists in lists."""
    with pytest.raises(stages.ProtocolError, match="message"):
        messages.decode(data, 1, bytes(16))


@pytest.mark.parametrize("body", [None, 1, "1", b"1", {}, [1.0], [True], [0], [-1], [2, 1], [1, 1],
                                  [[1]], [b"1"]])  # fmt: skip
def test_what_is_no_list_of_clients_is_refused(body):
    with pytest.raises(stages.ProtocolError, match="client"):
        messages.numbers(body)
    with pytest.raises(stages.ProtocolError):
        messages.read_table([body, b""], 0)


def test_tables_come_back():
    entries = {1: b"ab", 5: b"cd", 2**32: b"ef"}
    assert messages.read_table(messages.table(entries), 2) == entries
    assert messages.read_table(messages.table({}), 2) == {}
    for body in ([[1], b"abc"], [[1, 2], b"ab"], [[], b"a"], [[1], "ab"], [[1]], [1, 2, 3], b"12"):
        with pytest.raises(stages.ProtocolError):
            messages.read_table(body, 2)
