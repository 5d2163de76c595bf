"""Servers that lie about who is in the sum, and signatures: each attack ends in a refusal.

With this go `test_secagg_client.py` (keys, shares, order), `test_secagg_server.py` (clients that
lie), `test_secagg_bytes.py` (bytes altered blindly) and `test_secagg_mutations.py`, which takes
defences out, so that attacks succeed.
"""

import pytest
from secagg_helpers import (
    ADVERTISE,
    CONSISTENCY,
    GRAPHS,
    SHARE,
    UNMASK,
    UPLOAD,
    Parties,
    change_table,
    parties,
    reconstruct,
    refuses,
    shares_of,
    table,
)

from tff_experiments.secure_sum import keys, messages, secagg, shamir, stages, statements

both = pytest.mark.parametrize("graph", GRAPHS)
BAD = stages.ProtocolError


# Lists of survivors.


def test_survivor_lists_that_differ_open_nothing():
    """Half of the clients are told that 1 is in the sum, half that it is gone."""
    session = parties("secagg").before(CONSISTENCY)
    everybody = list(range(1, 8))
    lists = {i: everybody if i % 2 else everybody[1:] for i in everybody}
    assert shares_of(session, 1, lists) == ({}, {})


def test_survivor_lists_that_differ_are_not_excluded_by_the_semi_honest_variant():
    """A lying server and one colluding client of 9, t = 5: it opens a single vector. The variant
    promises to hide from those that follow the protocol only.
    """
    assert "semi_honest  Hides: each client's vector from the server and up to t - 1 clients" in (
        secagg.__doc__
    )
    assert "who all\n             follow the protocol" in secagg.__doc__
    session = Parties(9, 5, active=False).before(UNMASK)
    everybody = list(range(1, 10))
    # Client 9 colludes: it holds a share of both. 1 to 4 are told that 1 is in the sum.
    lists = {i: everybody if i <= 4 else everybody[1:] for i in range(1, 9)}
    own = session.clients[9]._unseal(1, session.clients[9]._sealed[1])
    seeds, secrets = shares_of(session, 1, lists)
    seeds[9], secrets[9] = own[: shamir.SHARE_SIZE], own[shamir.SHARE_SIZE :]
    assert (len(seeds), len(secrets)) == (5, 5)
    b, s = (reconstruct(shares) for shares in (seeds, secrets))
    assert session.open_alone(1, b, s).tolist() == session.vectors[1].tolist()


@pytest.mark.parametrize("told_gone", range(4))
def test_a_server_that_splits_a_neighbourhood_lacks_shares_of_one_secret(told_gone):
    """SecAgg+, 2 t > k + corrupt: t = 5 and k = 6 stand 3 corrupt neighbours, who give both shares.
    Of the 3 honest ones some are told that 1 is gone; each answers, once.
    """
    session = parties("secagg_plus").before(CONSISTENCY)
    honest = sorted(session.clients[1]._neighbours)[3:]
    lists = {}
    for i, party in session.clients.items():
        gone = {1} if i in honest[:told_gone] else set()
        lists[i] = sorted({i, *party._neighbours} - gone)
    seeds, secrets = (shares.keys() & set(honest) for shares in shares_of(session, 1, lists))
    assert (len(seeds), len(secrets)) == (3 - told_gone, told_gone)
    assert min(len(seeds) + 3, len(secrets) + 3) < session.config.threshold


@both
@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("kind", ["few", "without me", "stranger", "twice", "no list", "strings"])
def test_a_bad_list_of_survivors_is_refused(graph, active, kind):
    session = parties(graph, active=active)
    step = CONSISTENCY if active else UNMASK
    # 2 is 3's neighbour in both graphs, and drops before it shares.
    session.run(ADVERTISE).run(SHARE, UPLOAD, but=[2])
    alive = session.body(session.message(3, step))
    assert 2 not in alive
    short = session.config.threshold - (session.config.degree == 0)
    bad, match = {
        "few": ([v for v in alive if v != 3][: short - 1] + [3], "needed"),
        "without me": ([v for v in alive if v != 3], "said to be gone"),
        "stranger": ([2, *alive], "shared no keys"),
        "twice": ([3, *alive], "ascend"),
        "no list": ({"1": 1}, "must be a list"),
        "strings": ([str(v) for v in alive], "must be a number"),
    }[kind]
    bad = sorted(bad) if kind in ("few", "stranger") else bad
    refuses(session, 3, step, messages.encode(step, session.config.session, bad), match)


@both
def test_both_shares_of_one_client_are_never_given(graph):
    session = parties(graph).before(UNMASK, but=[])
    answer = session.body(session.ask(1, UNMASK, session.message(1, UNMASK)))
    seeds, secrets = (messages.read_table(part, shamir.SHARE_SIZE) for part in answer)
    assert not seeds.keys() & secrets.keys() and seeds
    # Nor when asked again, for the same or another list; nor is anything left to give.
    for message in (session.message(1, UNMASK), session.received[CONSISTENCY][1]):
        for step in (UNMASK, CONSISTENCY):
            with pytest.raises(BAD, match="does not take this step now"):
                session.ask(1, step, message)
    left = {"_seed", "_secrets", "_sealing", "_masking", "_masking_secret", "_own_shares"}
    assert not left & vars(session.clients[1]).keys() and "_sealed" not in vars(session.clients[1])


# Signatures.


@both
def test_fewer_than_t_signatures_open_nothing(graph):
    session = parties(graph).before(UNMASK)
    need = session.config.threshold - (session.config.degree == 0)
    for i, keep in ((1, need - 1), (2, 0)):
        # In the complete graph the client's own counts, and it need not come.
        some = lambda t, i=i, keep=keep: dict([e for e in t.items() if e[0] != i][:keep])
        message = change_table(session.message(i, UNMASK), keys.SIGNATURE_SIZE, some)
        refuses(session, i, UNMASK, message, "needed")
    some = lambda t: dict([e for e in t.items() if e[0] != 3][:need])
    session.ask(3, UNMASK, change_table(session.message(3, UNMASK), keys.SIGNATURE_SIZE, some))


@both
def test_a_client_cannot_sign_as_another(graph):
    session = parties(graph).before(UNMASK)
    size = keys.SIGNATURE_SIZE
    swapped = lambda t: {v: t[w] for v, w in zip(sorted(t), [*sorted(t)[1:], min(t)], strict=True)}
    message = change_table(session.message(1, UNMASK), size, swapped)
    refuses(session, 1, UNMASK, message, "signature does not hold")
    # A corrupt client 4 signs for itself, and its signature is passed off as 3's.
    config = session.config
    text = statements.included(config, 3, 2)
    if not config.degree:
        text = statements.survivors(config, session.body(session.message(2, CONSISTENCY)))
    forged = lambda t: {**t, 3: session.signing[4].sign(text)}
    message = change_table(session.message(2, UNMASK), size, forged)
    refuses(session, 2, UNMASK, message, "signature does not hold")


@both
def test_a_signature_of_one_that_is_gone_does_not_count(graph):
    session = parties(graph).run(ADVERTISE, SHARE).run(UPLOAD, but=[2])
    session.run(CONSISTENCY, but=[2])
    signature = session.signing[2].sign(statements.included(session.config, 2, 3))
    message = change_table(
        session.message(3, UNMASK), keys.SIGNATURE_SIZE, lambda t: {**t, 2: signature}
    )
    refuses(session, 3, UNMASK, message, "one that is gone")


def test_a_signature_about_one_neighbour_is_none_about_another():
    session = parties("secagg_plus").before(UNMASK)
    theirs = table(session, 2, UNMASK, keys.SIGNATURE_SIZE)
    moved = lambda t: {v: theirs.get(v, s) for v, s in t.items()}
    message = change_table(session.message(1, UNMASK), keys.SIGNATURE_SIZE, moved)
    refuses(session, 1, UNMASK, message, "signature does not hold")


def test_a_client_of_a_graph_does_not_sign_for_itself():
    session = parties("secagg_plus").before(UNMASK)
    own = session.signing[1].sign(statements.included(session.config, 1, 1))
    message = change_table(session.message(1, UNMASK), keys.SIGNATURE_SIZE, lambda t: {**t, 1: own})
    refuses(session, 1, UNMASK, message, "no neighbour of its own")
