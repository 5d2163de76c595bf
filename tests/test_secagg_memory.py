"""What server and coalitions hold at the end: of no client both secrets, nor its input."""

import types

import numpy as np
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
    parties,
)

from tff_experiments.secure_sum import (
    client,
    keys,
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
