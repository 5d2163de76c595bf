"""Clients refuse keys and shares that are not what was sent to them, and steps out of order."""

import pytest
from secagg_helpers import (
    ADVERTISE,
    CONSISTENCY,
    GRAPHS,
    SHARE,
    STEPS,
    UNMASK,
    UPLOAD,
    Parties,
    change_table,
    parties,
    refuses,
    table,
)

from tff_experiments.secure_sum import client, keys, messages, stages, statements

both = pytest.mark.parametrize("graph", GRAPHS)
BAD = stages.ProtocolError


# Keys.


def other_keys():
    """Two new public keys, joined, as a man in the middle would put there."""
    return b"".join(
        keys.private_key(keys.system_random).public_key().public_bytes_raw() for _ in range(2)
    )


def bad_keys(session):
    """Client -> keys with signature: what a server may try on client 1; and how it is refused."""
    size, config = 2 * keys.SIZE, session.config
    later = Parties(config.num_clients, config.threshold, degree=config.degree, seed=1)
    later.run(ADVERTISE)
    theirs = lambda i: later.body(later.sent[ADVERTISE][i])
    fake = other_keys()
    by_3 = session.signing[3].sign(statements.own_keys(config, 2, fake))
    low = bytes(keys.SIZE) + fake[keys.SIZE :]
    signed_low = low + session.signing[2].sign(statements.own_keys(config, 2, low))
    few = config.threshold - (config.degree == 0)
    without = lambda t, number: {v: text for v, text in t.items() if v != number}
    return {
        "swapped": (lambda t: {**t, 2: fake + t[2][size:]}, "signature does not hold"),
        "in the middle": (lambda t: {**t, 2: fake + by_3}, "signature does not hold"),
        "of another session": (lambda t: {**t, 2: theirs(2)}, "signature does not hold"),
        "parts exchanged": (
            lambda t: {**t, 2: t[2][32:64] + t[2][:32] + t[2][64:]}, "signature does not hold"
        ),
        "of two clients exchanged": (lambda t: {**t, 2: t[3], 3: t[2]}, "signature does not hold"),
        "twice": (lambda t: {**t, 3: t[2]}, "two clients have one key"),
        "mine as another's": (lambda t: {**t, 2: t[1]}, "two clients have one key"),
        "mine changed": (lambda t: {**t, 1: fake + t[1][size:]}, "this client's keys"),
        "mine missing": (lambda t: without(t, 1), "lacks this client"),
        "of small order": (lambda t: {**t, 2: signed_low}, "small order"),
        "of a stranger": (lambda t: {**t, 99: t[2]}, "unknown client"),
        "few": (lambda t: {1: t[1], **dict(list(without(t, 1).items())[: few - 1])}, "needed"),
    }  # fmt: skip


@both
def test_bad_keys_are_refused(graph):
    names = bad_keys(parties(graph).before(SHARE))
    for name in names:
        session = parties(graph).before(SHARE)
        change, match = bad_keys(session)[name]
        assert {2, 3} <= table(session, 1, SHARE, client.keys_size(session.config)).keys()
        message = change_table(session.message(1, SHARE), client.keys_size(session.config), change)
        refuses(session, 1, SHARE, message, match)


def test_more_neighbours_than_the_graph_has_are_refused():
    """A server might join one client to all others."""
    session = parties("secagg_plus").before(SHARE)
    size = client.keys_size(session.config)
    everybody = {i: session.body(m) for i, m in session.sent[ADVERTISE].items()}
    message = change_table(session.message(1, SHARE), size, lambda t: everybody)
    refuses(session, 1, SHARE, message, "too many neighbours")


def test_a_masking_key_of_small_order_ends_in_a_refusal_before_the_upload():
    """A corrupt client signs it. Whoever masks with it refuses, and the round may abort."""
    session = parties("secagg")
    for i in session.clients:
        message = session.ask(i, ADVERTISE, None)
        if i == 2:
            body = session.body(message)[:32] + bytes(32)
            body += session.signing[2].sign(statements.own_keys(session.config, 2, body))
            message = messages.encode(ADVERTISE, session.config.session, body)
        session.server.receive(ADVERTISE, i, message)
    session.server.close(ADVERTISE)
    session.clients[2]._public_keys = lambda: body[:64]
    session.run(SHARE)
    for i in (1, 3, 4):
        refuses(session, i, UPLOAD, session.message(i, UPLOAD), "small order")


def test_swapped_keys_are_not_excluded_by_the_semi_honest_variants():
    """There a server that lies can be in the middle: its keys are taken."""
    for graph in GRAPHS:
        session = parties(graph, active=False).before(SHARE)
        message = change_table(session.message(1, SHARE), 64, lambda t: {**t, 2: other_keys()})
        assert session.ask(1, SHARE, message)


# Shares on their way.


@both
@pytest.mark.parametrize("active", [True, False])
def test_shares_of_two_senders_exchanged_are_refused(graph, active):
    session = parties(graph, active=active).before(UPLOAD)
    exchanged = lambda t: {**t, 2: t[3], 3: t[2]}
    session.received[UPLOAD][1] = change_table(
        session.message(1, UPLOAD), client.SEALED_SIZE, exchanged
    )
    session.run(*[step for step in (UPLOAD, CONSISTENCY) if active or step == UPLOAD])
    refuses(session, 1, UNMASK, session.message(1, UNMASK), "altered or is another's")


@both
def test_a_clients_own_shares_do_not_come_back_as_anothers(graph):
    """Reflected: 1 would give a share of its own key as one of 2's."""
    session = parties(graph).before(UPLOAD)
    own = messages.read_table(session.body(session.sent[SHARE][1]), client.SEALED_SIZE)
    session.received[UPLOAD][1] = change_table(
        session.message(1, UPLOAD), client.SEALED_SIZE, lambda t: {**t, 2: own[2]}
    )
    session.run(UPLOAD, CONSISTENCY)
    refuses(session, 1, UNMASK, session.message(1, UNMASK), "altered or is another's")


@both
@pytest.mark.parametrize("active", [True, False])
def test_too_few_or_strange_shares_are_refused_before_the_upload(graph, active):
    session = parties(graph, active=active).before(UPLOAD)
    need = session.config.threshold - (session.config.degree == 0)
    few = lambda t: dict(list(t.items())[: need - 1])
    for i, change, match in (
        (1, few, "needed"),
        (2, lambda t: {**t, 99: bytes(client.SEALED_SIZE)}, "stranger"),
        (3, lambda t: {**t, 3: bytes(client.SEALED_SIZE)}, "stranger"),
    ):
        message = change_table(session.message(i, UPLOAD), client.SEALED_SIZE, change)
        refuses(session, i, UPLOAD, message, match)


# Order, and times.


@both
@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("wrong", STEPS)
def test_a_client_takes_each_step_once_and_in_order(graph, active, wrong):
    """A server that is rolled back, or jumps ahead, gains nothing, then or later."""
    steps = [step for step in STEPS if active or step != CONSISTENCY]
    for due in [*steps, None]:
        if wrong == due:
            continue
        session = parties(graph, active=active)
        session.run(*steps) if due is None else session.before(due)
        for step in (wrong, *STEPS):
            with pytest.raises(BAD, match="does not take this step now"):
                session.ask(1, step, session.received[step].get(1, b""))


@both
def test_messages_of_another_round_are_refused(graph):
    later, sooner = parties(graph, seed=1), parties(graph).run(*STEPS)
    for step in STEPS:
        message = sooner.sent[step][1]
        with pytest.raises(BAD, match="another step or session"):
            later.server.receive(step, 1, message)
        if step != ADVERTISE:
            session = parties(graph, seed=1).before(step)
            refuses(session, 1, step, sooner.received[step][1], "another step or session")
        later.run(step)
    assert later.server.sum().tolist() == [
        sum(v[i] for v in later.vectors.values()) % 100 for i in range(3)
    ]
