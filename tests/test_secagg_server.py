"""The server refuses what comes late, twice, or from clients that lie."""

import pytest
from secagg_helpers import (
    ADVERTISE,
    CONSISTENCY,
    GRAPHS,
    SERVER,
    SHARE,
    STEPS,
    UNMASK,
    UPLOAD,
    Parties,
    edit,
    parties,
    refuses,
)

from tff_experiments.secure_sum import client, messages, shamir, stages

both = pytest.mark.parametrize("graph", GRAPHS)
BAD = stages.ProtocolError


@both
def test_the_server_takes_a_message_once_and_in_its_step(graph):
    session = parties(graph)
    for at, step in enumerate(STEPS):
        session.before(step) if step == ADVERTISE else None
        for i in session.clients:
            session.sent[step][i] = session.ask(i, step, session.message(i, step))
            session.server.receive(step, i, session.sent[step][i])
            with pytest.raises(BAD, match="twice"):
                session.server.receive(step, i, session.sent[step][i])
            for earlier in STEPS[:at]:
                with pytest.raises(BAD, match="late, or early"):
                    session.server.receive(earlier, i, session.sent[earlier][i])
        for other in (*STEPS[:at], *STEPS[at + 1 :]):
            with pytest.raises(BAD, match="in order"):
                session.server.close(other)
        session.server.close(step)
    session.server.sum()
    with pytest.raises(BAD, match="once"):
        session.server.sum()


@both
def test_late_uploads_are_not_in_the_sum(graph):
    """Its masked input must stay masked: its other masks are about to be taken off."""
    session = parties(graph).run(ADVERTISE, SHARE).run(UPLOAD, but=[2])
    late = session.ask(2, UPLOAD, session.received[UPLOAD].get(2) or empty_upload(session, 2))
    with pytest.raises(BAD, match="late, or early"):
        session.server.receive(UPLOAD, 2, late)
    session.run(CONSISTENCY, UNMASK, but=[2])
    wanted = [sum(v[i] for n, v in session.vectors.items() if n != 2) % 100 for i in range(3)]
    assert session.server.sum().tolist() == wanted


def empty_upload(session, number):
    """What client `number` would have got at the upload, from what was sent."""
    sealed = {}
    for sender, message in session.sent[SHARE].items():
        given = messages.read_table(session.body(message), client.SEALED_SIZE)
        sealed.update({sender: given[number]} if number in given else {})
    return messages.encode(UPLOAD, session.config.session, messages.table(sealed))


# Clients that lie.


@both
def test_a_client_cannot_act_in_anothers_name(graph):
    """The transport knows the sender; keys and shares are bound to their owner."""
    session = parties(graph)
    for i in session.clients:
        message = session.ask(i, ADVERTISE, None)
        # Client 2 sends what 3 would have sent, with 3's signature.
        session.sent[ADVERTISE][i] = message
    sent = {**session.sent[ADVERTISE], 2: session.sent[ADVERTISE][3]}
    del sent[3]
    for i, message in sent.items():
        session.server.receive(ADVERTISE, i, message)
    session.server.close(ADVERTISE)
    for i in sorted(session.server._neighbours[2]):
        refuses(session, i, SHARE, session.message(i, SHARE), "signature does not hold")
    with pytest.raises(BAD, match="this client's keys were changed"):
        session.ask(2, SHARE, session.message(2, SHARE))


@both
@pytest.mark.parametrize("sender", [-1, SERVER, 2, 99])
def test_the_server_takes_nothing_from_strangers_or_from_who_is_gone(graph, sender):
    """2 drops before it advertises."""
    session = parties(graph).run(ADVERTISE, but=[2])
    for step in STEPS[1:]:
        for i in session.clients:
            if i != 2:
                session.sent[step][i] = session.ask(i, step, session.message(i, step))
        with pytest.raises(BAD):
            session.server.receive(step, sender, session.sent[step][1])
        assert not (sender == 2 and session.server.knows(2))
        for i, message in session.sent[step].items():
            session.server.receive(step, i, message)
        session.server.close(step)
    assert session.server.survivors == set(session.clients) - {2}


@both
@pytest.mark.parametrize(
    "change",
    [
        lambda b: b[:-1],
        lambda b: b + b"\0",
        lambda b: b"",
        lambda b: [b],
        lambda b: None,
        lambda b: b"\xff" * len(b),
    ],
)
def test_vectors_of_another_size_or_out_of_range_are_refused(graph, change):  # fmt: skip
    session = parties(graph).before(UPLOAD)
    message = session.ask(1, UPLOAD, session.message(1, UPLOAD))
    with pytest.raises(BAD):
        session.server.receive(UPLOAD, 1, edit(message, change))
    assert not session.server.survivors and not any(map(any, session.server._sum))


@both
def test_shares_of_the_wrong_kind_or_too_few_are_refused(graph):
    """Keys of those in the sum, seeds of those that are not; or fewer than the client holds."""
    session = parties(graph).run(ADVERTISE, SHARE).run(UPLOAD, but=[2]).run(CONSISTENCY, but=[2])
    answer = session.ask(3, UNMASK, session.message(3, UNMASK))
    none = messages.table({})
    swaps = lambda b: b[::-1], lambda b: [b[0], b[0]], lambda b: [b[1], b[1]]
    fewer = lambda b: [b[0], none], lambda b: [none, b[1]], lambda b: [none, none]
    for change in (*swaps, *fewer):
        with pytest.raises(BAD, match=r"not the (seeds|masking keys)"):
            session.server.receive(UNMASK, 3, edit(answer, change))
    assert not session.server._seed_shares and not session.server._key_shares


@both
def test_a_wrong_share_of_a_masking_key_is_noticed(graph):
    """The key that comes out does not fit the public one. (A wrong share of a seed spoils the sum
    unseen, as in the paper: see `test_secagg_bytes.py`.)
    """
    session = parties(graph).run(ADVERTISE, SHARE).run(UPLOAD, but=[2]).run(CONSISTENCY, but=[2])
    holder = min(set(session.server._neighbours[2]) - {2})
    size = shamir.SHARE_SIZE
    flip = lambda t: {v: bytes([s[0] ^ 1]) + s[1:] for v, s in t.items()}
    change = lambda b: [b[0], messages.table(flip(messages.read_table(b[1], size)))]
    for i in session.clients:
        if i != 2:
            answer = session.ask(i, UNMASK, session.message(i, UNMASK))
            if i == holder:
                answer = edit(answer, change)
            session.server.receive(UNMASK, i, answer)
    session.server.close(UNMASK)
    with pytest.raises(BAD, match="altered"):
        session.server.sum()


def test_the_graph_is_that_of_all_clients_not_of_those_that_are_left():
    """On a ring of those left, neighbours that are gone would be replaced, by corrupt ones as well:
    more of them than the threshold was computed for.
    """
    session = Parties(9, 3, degree=4).run(ADVERTISE, but=[2])
    assert session.server._neighbours[1] == [3, 8, 9]
    session.run(SHARE, UPLOAD, CONSISTENCY, UNMASK, but=[2])
    wanted = [sum(v[i] for n, v in session.vectors.items() if n != 2) % 100 for i in range(3)]
    assert session.server.sum().tolist() == wanted
