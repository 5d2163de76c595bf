"""What the parties hold: no secret that is not theirs, none that was drawn or used twice."""

import ast
import collections
import itertools
import pathlib
import types

import numpy as np
import pytest
from secagg_helpers import (
    ADVERTISE,
    CONSISTENCY,
    GRAPHS,
    PROTOCOLS,
    SHARE,
    STEPS,
    UNMASK,
    UPLOAD,
    Parties,
    names,
    parties,
)

from tff_experiments import secure_sum
from tff_experiments.secure_sum import (
    client,
    keys,
    masks,
    secagg,
    shamir,
    stages,
)
from tff_experiments.secure_sum.vectors import Segment

both = pytest.mark.parametrize("graph", GRAPHS)


# What is in memory.


def walk(thing, done):
    """All bytes and integers that an object's attributes lead to."""
    if id(thing) in done or isinstance(thing, type | types.ModuleType):
        return
    done[id(thing)] = thing
    if isinstance(thing, bytes | bytearray | memoryview):
        yield bytes(thing)
    elif isinstance(thing, np.ndarray):
        yield thing.tobytes()
    elif isinstance(thing, dict):
        for item in thing.items():
            yield from walk(item, done)
    elif isinstance(thing, list | tuple | set | frozenset | range):
        for item in thing:
            yield from walk(item, done)
    else:
        yield from walk(getattr(thing, "__dict__", {}), done)


def secrets_of(session, number):
    """A client's secrets, by name, as bytes; taken once its keys are shared."""
    party = session.clients[number]
    entry = {"seed b": party._seed, "sealing key": party._sealing.private_bytes_raw()}
    entry["masking key s"] = party._masking.private_bytes_raw()
    entry["input"] = session.vectors[number].tobytes()
    entry["packed input"] = session.layout.pack(session.layout.words(session.vectors[number]))
    for v, secret in party._secrets.items():
        entry[f"sealing secret with {v}"] = secret
        key = keys.derive(secret, b"share", session.config.session, number, v)
        entry[f"sealing key for {v}"] = key
        shared = keys.agree(party._masking, party._public[v])
        pair = sorted((number, v))
        entry[f"masking secret with {v}"] = shared
        entry[f"pair key with {v}"] = keys.derive(shared, b"pair", session.config.session, *pair)
    entry["self mask's key"] = client.self_mask_key(session.config, number, party._seed)
    return entry


@both
@pytest.mark.parametrize("active", [True, False])
def test_the_server_holds_no_secret_of_a_client(graph, active):
    """Client 2 drops before the upload. Vectors of 100 entries: no accident puts one in there."""
    session = parties(graph, active=active, segments=[Segment(100, 2**20)])
    session.run(ADVERTISE, SHARE)
    secrets = {i: secrets_of(session, i) for i in session.clients}
    session.run(*[s for s in STEPS[2:] if active or s != CONSISTENCY], but=[2])
    held = b"|".join(walk([session.server, session.sent], {}))
    assert session.sent[ADVERTISE][1] in held
    for entry in secrets.values():
        assert not [what for what, secret in entry.items() if secret in held]
    # Of each client it can open one secret at most.
    for i in session.clients:
        opened = [len(shares.get(i, ())) for shares in (session.server._seed_shares,
                                                        session.server._key_shares)]  # fmt: skip
        assert opened[i == 2] >= session.config.threshold and opened[i != 2] == 0
    for i, seeds in session.server._seed_shares.items():
        assert opens(seeds, session.config.threshold) == secrets[i]["seed b"]
    gone = opens(session.server._key_shares[2], session.config.threshold)
    assert gone == secrets[2]["masking key s"]


def opens(shares, threshold):
    chosen = sorted(shares)[:threshold]
    return shamir.reconstruct(np.array([chosen]), [[shares[i] for i in chosen]])[0]


@pytest.mark.parametrize("active", [True, False])
def test_a_coalition_of_t_minus_1_lacks_a_share(active):
    """Server and clients 1 to 4 of 7, t = 5, in SecAgg; all that these ever held and got."""
    session = Parties(7, 5, active=active).run(ADVERTISE, SHARE)
    secrets = {i: secrets_of(session, i) for i in (5, 6, 7)}
    session.run(UPLOAD)
    corrupt = {i: session.clients[i] for i in range(1, 5)}
    opened = {i: {u: p._unseal(u, s) for u, s in p._sealed.items()} for i, p in corrupt.items()}
    memory = list(walk([corrupt, session.server], {}))
    session.run(*([CONSISTENCY] if active else []), UNMASK)
    held = b"|".join([*memory, *walk([corrupt, session.server, session.sent], {})])
    for survivor, entry in secrets.items():
        # A pair's key with a corrupt client is theirs, too; all others' are not.
        mine = {w for w in entry if w.endswith(("with 1", "with 2", "with 3", "with 4"))}
        mine |= {w for w in entry if w.endswith(("for 1", "for 2", "for 3", "for 4"))}
        assert not [w for w, secret in entry.items() if w not in mine and secret in held]
        shares = {i: theirs[survivor][35:] for i, theirs in opened.items()}
        assert len(shares) == 4 and survivor not in session.server._key_shares
        # Four shares fit any secret: the fifth point is free (see the tests of Shamir's scheme).
        with pytest.raises(stages.AbortedError):
            session.server._open([survivor], {survivor: shares})


# Where randomness comes from.

ROOM = pathlib.Path(secure_sum.__file__).parent


@pytest.mark.parametrize("path", sorted(ROOM.glob("*.py")), ids=lambda path: path.name)
def test_no_other_randomness_than_what_is_injected(path):
    """No generator of numpy's or Python's, no clock but for metrics."""
    tree = ast.parse(path.read_text())
    imported, dotted = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {node.module.split(".")[0]}
        elif isinstance(node, ast.Attribute):
            dotted.add(ast.unparse(node))
    assert not imported & {"random", "uuid", "datetime"}
    assert not [name for name in dotted if name.startswith(("np.random", "numpy.random"))]
    assert {name for name in dotted if name.startswith("time.")} <= {"time.thread_time"}
    # The system's randomness enters at two places, simulated randomness at one.
    assert "os.urandom" not in dotted or path.name == "keys.py"
    assert "secrets" not in imported or path.name == "secagg.py"
    assert "keys.seeded_random" not in dotted or path.name == "secagg.py"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_masks_keys_come_from_hkdf_and_serve_one_vector(name, monkeypatch):
    """Each key of 32 bytes is one that `keys.derive` gave; a client uses none twice, nor do two."""
    derived, used = set(), collections.Counter()
    derive, add = keys.derive, masks.add
    monkeypatch.setattr(keys, "derive", lambda *a: derived.add(key := derive(*a)) or key)
    monkeypatch.setattr(
        masks,
        "add",
        lambda w, lo, signed_keys: used.update(signed_keys) or add(w, lo, signed_keys),
    )
    for _ in range(2):
        sum_of = PROTOCOLS[name].start([Segment(1, 2)], dict.fromkeys(names(20), ""))
        for i in names(20):
            sum_of.add(i, np.array([1]))
        sum_of.finish()
    assert {len(key) for key, _ in used} == {32}
    assert {key for key, _ in used} <= derived
    # Each mask is added once and taken off once: by its other end, or at last by the server.
    assert set(used.values()) == {1}
    assert {key for key, sign in used if sign > 0} == {key for key, sign in used if sign < 0}


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("seed", [None, (0, 0)])
def test_nothing_random_is_drawn_twice(name, seed, monkeypatch):
    """Not by two parties, not for two purposes; of a repeatable source neither."""
    drawn, source = [], keys.seeded_random
    listen = lambda inner: lambda size: drawn.append(data := inner(size)) or data
    monkeypatch.setattr(keys, "seeded_random", lambda *a: listen(source(*a)))
    monkeypatch.setattr(secagg.secrets, "token_bytes", listen(keys.system_random))
    PROTOCOLS[name].start([Segment(1, 2)], dict.fromkeys(names(20), ""), seed=seed)
    pieces = [data[:16] for data in drawn]
    assert len(set(pieces)) == len(pieces) > 20 * 4


def texts_of(error):
    """Of an error, and of those behind it."""
    while error:
        yield from (str(error), repr(error), *map(repr, error.args))
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_secret_is_in_the_text_of_an_error(name, monkeypatch):
    """Every 41st message of a round is altered, at two places; all that is secret is recorded:
    what is drawn, agreed on, derived or shared, and the inputs.
    """
    secrets, texts, source = set(), set(), keys.seeded_random
    derive, agree, split = keys.derive, keys.agree, shamir.split
    keep = lambda data: secrets.add(data) or data

    def drawing(*context):
        inner = source(*context)
        return lambda size: keep(inner(size))

    monkeypatch.setattr(keys, "seeded_random", drawing)
    monkeypatch.setattr(keys, "derive", lambda *a: keep(derive(*a)))
    monkeypatch.setattr(keys, "agree", lambda *a: keep(agree(*a)))
    monkeypatch.setattr(shamir, "split", lambda *a: [keep(share) for share in split(*a)])
    drops = {**dict.fromkeys(names(20), ""), "client3": "before_upload"}
    # About 140 messages are sent without signatures, 180 with them.
    for number, place in itertools.product(range(0, 180, 41), (30, -1)):
        passing, sum_of = itertools.count(), None

        def tamper(step, sender, recipient, message, number=number, place=place, passing=passing):
            if next(passing) != number:
                return (message,)
            at = place % len(message)
            return (message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :],)

        try:
            sum_of = PROTOCOLS[name].start([Segment(2, 2**62)], drops, seed=(0, 0), tamper=tamper)
            for i in drops:
                sum_of.add(i, np.array([123456789012345678, 9]))
            sum_of.finish()
        except (stages.ProtocolError, stages.AbortedError) as error:
            texts |= set(texts_of(error))
        texts |= set(sum_of.refusals.values() if sum_of else ())
    shown = "|".join(texts)
    assert len(texts) >= 3
    for secret in secrets:
        if len(secret) >= 16:
            assert secret.hex() not in shown and repr(secret)[2:-1] not in shown
    assert "123456789012345678" not in shown
