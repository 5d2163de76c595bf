"""Defences taken out one by one: the attack that each stops then succeeds, so tests have power.

Each attack returns what the server learns of one client's vector, or what it is refused with.
"""

import itertools

import pytest
from secagg_helpers import (
    ADVERTISE,
    CONSISTENCY,
    SHARE,
    UNMASK,
    UPLOAD,
    Parties,
    change_table,
    parties,
    reconstruct,
    shares_of,
)

from tff_experiments.secure_sum import client, keys, masks, messages, shamir, stages, statements

REFUSED = (stages.ProtocolError, stages.AbortedError)
nothing = lambda *args: None


def late_input():
    """Client 2 is said to be gone, its key is opened; then its masked input comes after all."""
    session = parties("secagg").before(UPLOAD)
    session.sent[UPLOAD][2] = session.ask(2, UPLOAD, session.message(2, UPLOAD))
    session.run(UPLOAD, CONSISTENCY, UNMASK, but=[2])
    secret = reconstruct(dict(list(session.server._key_shares[2].items())[:5]))
    return session.open_alone(2, None, secret).tolist() == session.vectors[2].tolist()


def test_the_self_mask_hides_an_input_that_comes_late(monkeypatch):
    assert not late_input()
    own, key_of, add = set(), client.self_mask_key, masks.add

    def recorded(*args):
        own.add(key := key_of(*args))
        return key

    def unmasked(words, layout, signed_keys):
        add(words, layout, [(key, sign) for key, sign in signed_keys if key not in own])

    monkeypatch.setattr(client, "self_mask_key", recorded)
    monkeypatch.setattr(masks, "add", unmasked)
    assert late_input()


def many_lists():
    """Eight clients get four lists of survivors; half of the clients are told that 3 is gone."""
    session = Parties(8, 4).before(CONSISTENCY)
    everybody, without = set(range(1, 9)), [(), (8,), (3,), (1, 3)]
    lists = {i: sorted(everybody.difference(without[(i - 1) // 2])) for i in everybody}
    seeds, secrets = shares_of(session, 3, lists)
    if not seeds and not secrets:
        return False
    b, s = reconstruct(seeds), reconstruct(secrets)
    return session.open_alone(3, b, s).tolist() == session.vectors[3].tolist()


def test_the_consistency_check_keeps_lists_equal(monkeypatch):
    """t = 4 of 8 is less than the protocol allows: else the numbers alone would stop this one."""
    assert not many_lists()
    monkeypatch.setattr(client.Client, "_check_signatures", nothing)
    assert many_lists()


def lonely_sum():
    """Each client v is told that only 1 and v are in the sum: all other keys are opened."""
    session = parties("secagg", active=False).before(UNMASK)
    answers = {}
    for i in range(2, 8):
        message = messages.encode(UNMASK, session.config.session, [1, i])
        answers[i] = session.body(session.ask(i, UNMASK, message))
    tables = {
        i: [messages.read_table(part, shamir.SHARE_SIZE) for part in a] for i, a in answers.items()
    }
    seed = reconstruct({i: t[0][1] for i, t in tables.items()})
    words = session.uploaded(1)
    own = client.self_mask_key(session.config, 1, seed)
    masks.add(words, session.layout, [(own, -1)])
    public = messages.read_table(session.body(session.received[SHARE][1]), 64)
    for u in range(2, 8):
        secret = reconstruct({i: t[1][u] for i, t in tables.items() if i != u})
        shared = keys.agree(keys.private_key(lambda _, s=secret: s), client.masking_key(public[1]))
        key = keys.derive(shared, b"pair", session.config.session, 1, u)
        masks.add(words, session.layout, [(key, 1)])
    return session.layout.vector(words).tolist() == session.vectors[1].tolist()


def test_the_least_number_of_survivors_keeps_sums_from_being_of_one(monkeypatch):
    with pytest.raises(REFUSED, match="needed"):
        lonely_sum()
    monkeypatch.setattr(client.Client, "_check_enough", nothing)
    assert lonely_sum()


def in_the_middle():
    """All others' keys that client 1 gets are the server's: it reads the shares of both secrets."""
    session = parties("secagg").before(SHARE)
    config, size = session.config, 2 * keys.SIZE
    private = {v: [keys.private_key(keys.seeded_random(v, p)) for p in "sm"] for v in range(2, 8)}
    public = {
        v: b"".join(k.public_key().public_bytes_raw() for k in both) for v, both in private.items()
    }
    forged = lambda t: {v: text if v == 1 else public[v] + text[size:] for v, text in t.items()}
    message = change_table(session.message(1, SHARE), client.keys_size(config), forged)
    session.received[SHARE][1] = message
    shared = session.body(session.ask(1, SHARE, message))
    mine = keys.public_key(session.body(session.sent[ADVERTISE][1])[: keys.SIZE])
    opened = {}
    for v, sealed in messages.read_table(shared, client.SEALED_SIZE).items():
        key = keys.derive(keys.agree(private[v][0], mine), b"share", config.session, 1, v)
        opened[v] = keys.unseal(key, sealed, statements.share_context(config, 1, v))
    # What 1 gets from "others" need not open before the upload.
    garbage = messages.table(dict.fromkeys(private, bytes(client.SEALED_SIZE)))
    session.received[UPLOAD][1] = messages.encode(UPLOAD, config.session, garbage)
    session.sent[UPLOAD][1] = session.ask(1, UPLOAD, session.received[UPLOAD][1])
    b, s = (reconstruct({v: both[at : at + 35] for v, both in opened.items()}) for at in (0, 35))
    return session.open_alone(1, b, s).tolist() == session.vectors[1].tolist()


def test_signed_keys_keep_the_server_out_of_the_middle(monkeypatch):
    with pytest.raises(REFUSED, match="signature does not hold"):
        in_the_middle()
    monkeypatch.setattr(keys, "verify", nothing)
    assert in_the_middle()


def reflected():
    """Client 1 gets back its own sealed shares for 2 as those of 2, who is said to be gone. Is what
    it gives as 2's share one of its own key, while it is itself in the sum?
    """
    session = parties("secagg").before(UPLOAD)
    own = messages.read_table(session.body(session.sent[SHARE][1]), client.SEALED_SIZE)
    change = lambda t: {**t, 2: own[2]}
    message = change_table(session.message(1, UPLOAD), client.SEALED_SIZE, change)
    session.received[UPLOAD][1] = message
    session.message(2, UPLOAD)
    session.run(UPLOAD, CONSISTENCY, but=[2])
    answer = session.body(session.ask(1, UNMASK, session.message(1, UNMASK)))
    given = messages.read_table(answer[1], shamir.SHARE_SIZE)[2]
    mine = messages.read_table(session.body(session.received[UPLOAD][2]), client.SEALED_SIZE)[1]
    return given == session.clients[2]._unseal(1, mine)[shamir.SHARE_SIZE :]


@pytest.mark.parametrize("context, bound", itertools.product([True, False], repeat=2))
def test_sealed_shares_are_bound_to_source_and_holder_twice(context, bound, monkeypatch):
    """By what is authenticated with them, and by their key: either is enough."""
    derive = keys.derive
    if not context:
        monkeypatch.setattr(statements, "share_context", lambda *args: b"")
    if not bound:
        without = lambda secret, purpose, session, *who: derive(
            secret, purpose, session, *(who if purpose != b"share" else ())
        )
        monkeypatch.setattr(keys, "derive", without)
    if context or bound:
        with pytest.raises(REFUSED, match="altered or is another's"):
            reflected()
    else:
        assert reflected()


def test_without_the_order_of_steps_a_client_would_answer_twice(monkeypatch):
    """The order is one of two defences: the other is that nothing is left to answer with."""
    session = parties("secagg", active=False).before(UNMASK)
    first = session.ask(1, UNMASK, session.message(1, UNMASK))
    other = messages.encode(UNMASK, session.config.session, [1, 3, 4, 5, 6])
    with pytest.raises(stages.ProtocolError):
        session.ask(1, UNMASK, other)
    monkeypatch.setattr(client.Client, "_enter", nothing)
    with pytest.raises(AttributeError):
        session.ask(1, UNMASK, other)
    monkeypatch.setattr(client.Client, "_finish", nothing)
    session = parties("secagg", active=False).before(UNMASK)
    session.ask(1, UNMASK, session.message(1, UNMASK))
    answers = [first, session.ask(1, UNMASK, other)]
    given = [
        messages.read_table(session.body(answer)[kind], shamir.SHARE_SIZE)
        for kind, answer in enumerate(answers)
    ]
    assert 2 in given[0] and 2 in given[1]
