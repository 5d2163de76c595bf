"""One byte altered anywhere on its way, in all protocols.

The parties refuse, or the round aborts, or the sum is right. Where it is wrong unseen, this file
says so: the papers give integrity to keys, shares of them and lists, not to inputs or seeds.
"""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_helpers import (
    SERVER,
    SHARE,
    UNMASK,
    UPLOAD,
    edit,
    names,
    python_sum,
)

from tff_experiments.secure_sum import messages, secagg, secagg_plus, stages
from tff_experiments.secure_sum.vectors import Segment

# Few messages, one dropout, and two clients more than t.
RING = dict(corrupt_rate=0.05, max_dropout_rate=0.2, security_bits=5, correctness_bits=2)
SMALL = {
    "secagg_semi_honest": (secagg.build(secagg.Hparams(variant="semi_honest")), 7),
    "secagg_active": (secagg.build(secagg.Hparams(variant="active")), 7),
    "secagg_plus_semi_honest": (secagg_plus.build(secagg_plus.Hparams("semi_honest", **RING)), 12),
    "secagg_plus_semi_malicious": (
        secagg_plus.build(secagg_plus.Hparams("semi_malicious", **RING)), 12
    ),
}  # fmt: skip
PARTS = [Segment(3, 2**20), Segment(2, 1000)]
REFUSED = (stages.ProtocolError, stages.AbortedError)


def unseen(name):
    """Where an altered byte may spoil the sum unseen: (step, whether to the server).

    A masked input is any number. A share of a seed gives another seed. Of a list of those who
    shared keys, one that dropped may be made of one that did not (only this recipient is led
    astray). Without signatures another's masking key is as good as the right one.
    """
    places = {(UPLOAD, True), (UNMASK, True), (UPLOAD, False)}
    return places | ({(SHARE, False)} if "semi_honest" in name else set())


def round_with(name, alter):
    """A round whose `alter`-th message has a byte altered; what it returned, and should have."""
    protocol, count = SMALL[name]
    number, position, flip = alter
    where, seen = [], 0

    def tamper(step, sender, recipient, message):
        nonlocal seen
        seen += 1
        if seen - 1 != number:
            return (message,)
        at = position % len(message)
        where.append((step, recipient == SERVER))
        return (message[:at] + bytes([message[at] ^ flip]) + message[at + 1 :],)

    drops = dict.fromkeys(names(count), "")
    drops["client2"] = "before_upload"
    rng = np.random.default_rng(0)
    vectors = {client: rng.integers(0, 1000, 5) for client in drops}
    try:
        sum_of = protocol.start(PARTS, drops, seed=(0, 0), tamper=tamper)
        for client, vector in vectors.items():
            sum_of.add(client, vector)
        got = sum_of.finish().tolist()
    except REFUSED:
        return seen, where, None, None
    uploaded = [vectors[f"client{i}"] for i in sorted(sum_of.server.survivors)]
    return seen, where, got, python_sum(uploaded, PARTS)


@functools.cache
def count_messages(name):
    return round_with(name, (-1, 0, 0))[0]


altered = st.tuples(st.integers(0, 10**4), st.integers(0, 10**4), st.integers(1, 255))
moderate = settings(deadline=None, max_examples=40, derandomize=True)
thorough = settings(deadline=None, max_examples=500, derandomize=True)


@pytest.mark.parametrize(
    "name, effort",
    [(name, moderate) for name in SMALL]
    + [pytest.param(name, thorough, marks=pytest.mark.slow) for name in SMALL],
)
def test_an_altered_byte_does_not_spoil_the_sum_unseen(name, effort):
    """...but where `unseen` says so, and the tests below show it."""

    @effort
    @given(altered)
    def check(where_and_how):
        number, position, flip = where_and_how
        alter = number % count_messages(name), position, flip
        _, where, got, wanted = round_with(name, alter)
        assert where
        assert got == wanted or where[0] in unseen(name)

    check()


def at(step, to_server, place, flip=1):
    """Alters the byte at `place` (negative: from the end) of client 3's message of a step."""

    def tamper(now, sender, recipient, message):
        mine = sender if to_server else recipient
        if (now, mine, recipient == SERVER) != (step, 3, to_server):
            return (message,)
        where = place % len(message)
        return (message[:where] + bytes([message[where] ^ flip]) + message[where + 1 :],)

    return tamper


def finish(name, tamper):
    protocol, count = SMALL[name]
    vectors = {client: np.arange(5) + i for i, client in enumerate(names(count))}
    sum_of = protocol.start(PARTS, dict.fromkeys(vectors, ""), seed=(0, 0), tamper=tamper)
    for client, vector in vectors.items():
        sum_of.add(client, vector)
    return sum_of.finish().tolist(), python_sum(vectors.values(), PARTS), sum_of


@pytest.mark.parametrize("name", SMALL)
def test_an_altered_masked_input_is_another_input(name):
    """Bit 0 of the first entry: the sum is 1 off, and nobody sees it."""
    start = len(messages.encode(UPLOAD, bytes(16), bytes(12))) - 12
    got, wanted, sum_of = finish(name, at(UPLOAD, True, start))
    assert abs(got[0] - wanted[0]) == 1 and got[1:] == wanted[1:]
    assert not sum_of.refusals


@pytest.mark.parametrize("name", SMALL)
def test_an_altered_share_of_a_seed_spoils_the_sum_or_is_noticed(name):
    """The last limb of the last share is noticed, but once in 2^15; a lower one half of the time.
    Which it is depends on the keys: what must not be is that nothing happens.
    """
    outcomes = []
    # Nobody dropped: the message ends with a share of a seed, an empty list and no bytes.
    for place in (-5, -10, -15, -20, -25, -30, -35, -38):
        try:
            got, wanted, _ = finish(name, at(UNMASK, True, place))
        except stages.ProtocolError as error:
            outcomes.append(str(error))
        else:
            outcomes.append(got != wanted)
    assert set(outcomes) <= {True, False, "shares do not give a secret: one was altered."}
    # The server takes the first t shares of each: where 3 is among them, something happens.
    assert any(outcomes)


@pytest.mark.parametrize("name", SMALL)
def test_an_altered_key_of_another_is_unseen_only_without_signatures(name):
    """The last bytes of a list of keys: a signature, or the masking key of the last one."""
    got, wanted, sum_of = finish(name, at(SHARE, False, -1))
    if "semi_honest" in name:
        assert got != wanted and not sum_of.refusals
    else:
        assert 3 in sum_of.refusals and got != wanted
        assert "signature does not hold" in sum_of.refusals[3]


@pytest.mark.parametrize("name", ["secagg_semi_honest", "secagg_active"])
def test_an_altered_list_of_who_shared_spoils_the_sum_but_the_client_refuses(name):
    """2 advertised and did not share; 3 is told that it did, and 4 did not: it masks with 2."""
    protocol, count = SMALL[name]

    def tamper(step, sender, recipient, message):
        if (step, recipient) != (UPLOAD, 3):
            return (message,)
        return (edit(message, lambda body: [[2 if v == 4 else v for v in body[0]], body[1]]),)

    vectors = {client: np.arange(5) + i for i, client in enumerate(names(count))}
    drops = {**dict.fromkeys(vectors, ""), "client2": "before_key_sharing"}
    sum_of = protocol.start(PARTS, drops, seed=(0, 0), tamper=tamper)
    for client, vector in vectors.items():
        sum_of.add(client, vector)
    got = sum_of.finish().tolist()
    assert got != python_sum([v for n, v in vectors.items() if n != "client2"], PARTS)
    assert "a survivor that shared no keys" in sum_of.refusals[3]
