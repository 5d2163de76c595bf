"""Who can decrypt: the key holder alone, one sum of enough clients."""

import contextlib
import gc
import math
import types

import msgpack
import numpy as np
import pytest
from he_helpers import (
    EVERYONE,
    LONG,
    PROTOCOLS,
    SEAL,
    SEGMENTS,
    body_of,
    run,
    tampering,
    vector_of,
)

from tff_experiments.secure_sum import (
    he_simulation,
    messages,
    seal,
    stages,
    transport,
)
from tff_experiments.secure_sum.stages import UNMASK, UPLOAD
from tff_experiments.secure_sum.vectors import Segment


def reachable(start):
    """All objects that `start` leads to, without the program's code."""
    code = (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType)
    found, todo = {}, [start]
    while todo:
        item = todo.pop()
        if id(item) not in found and not isinstance(item, code):
            found[id(item)] = item
            todo += gc.get_referents(item)
    return list(found.values())


def secrets_in(items, secret, modulus=0):
    """Objects of the secret's kind, or numbers that factor n."""
    kinds = (type(secret), seal.library().Decryptor, seal.library().KeyGenerator)
    numbers = [i for i in items if isinstance(i, int) and i > 1]
    return [i for i in items if isinstance(i, kinds)] + [
        i for i in numbers if 1 < math.gcd(i, modulus) < modulus
    ]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_object_of_the_server_or_a_client_holds_the_secret(name):
    sums = PROTOCOLS[name].start(LONG if name in SEAL else SEGMENTS, EVERYONE)
    secret = sums.key_holder._secret
    modulus = secret.public_key.n if name == "paillier" else 0
    assert secrets_in(reachable(sums.key_holder), secret, modulus)
    sums.add("a", vector_of(np.random.default_rng(0), LONG if name in SEAL else SEGMENTS))
    assert not secrets_in(reachable(sums.server), secret, modulus)
    for client in sums._clients.values():
        assert not secrets_in(reachable(client), secret, modulus)


@pytest.mark.parametrize("name", SEAL)
def test_nothing_that_the_server_receives_decrypts(name):
    """Tries each byte string that came as a secret key, on a client's ciphertext."""
    received = []

    def listen(step, sender, recipient, message):
        if recipient == transport.SERVER:
            received.append((step, message))
        return [message]

    sums = PROTOCOLS[name].start(LONG, EVERYONE, tamper=listen)
    secret, rng = sums.key_holder._secret, np.random.default_rng(0)
    rows = [vector_of(rng, LONG) for _ in EVERYONE]
    for client, row in zip(EVERYONE, rows, strict=True):
        sums.add(client, row)
    sums.finish()
    scheme = sums._config.scheme
    assert seal.to_bytes(secret) not in b"".join(message for _, message in received)
    texts = [text for step, message in received if step == UPLOAD for text in body_of(message)[1]]
    blobs = [*body_of(received[0][1]), *texts]
    wanted = rows[0][: scheme.slots]
    np.testing.assert_array_equal(scheme.decrypt(secret, texts[0])[: len(wanted)], wanted)
    for blob in blobs:
        try:
            key = scheme._load(seal.library().SecretKey(), blob)
        except stages.ProtocolError:
            continue
        assert (scheme.decrypt(key, texts[0])[: len(wanted)] != wanted).mean() > 0.99


@pytest.mark.parametrize("name", PROTOCOLS)
def test_another_rounds_key_does_not_decrypt(name):
    first, second = (PROTOCOLS[name].start([Segment(50, 2**20)], EVERYONE) for _ in range(2))
    texts = []
    first.transport = transport.Transport(lambda s, a, b, m: texts.append(m) or [m])
    row = vector_of(np.random.default_rng(0), [Segment(50, 2**20)])
    first.add("a", row)
    text, scheme = body_of(texts[0])[1][0], first._config.scheme
    decrypt = lambda sums: scheme.decrypt(sums.key_holder._secret, text)[:50]
    np.testing.assert_array_equal(decrypt(first), row)
    # Paillier: another key's n may be too small, or what it decrypts to too large.
    with contextlib.suppress(stages.ProtocolError):
        assert (decrypt(second) != row).mean() > 0.95


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_key_holder_opens_one_sum_of_enough_clients(name):
    sums = PROTOCOLS[name].start([Segment(2, 8)], EVERYONE)
    for client in EVERYONE:
        sums.add(client, np.array([1, 2]))
    (question,) = sums.server.questions()
    holder, session = sums.key_holder, sums._config.session
    for clients in ([1, 2], [], [1, 2, 9], [2, 1, 3], [1, 1, 2]):
        forged = messages.encode(UNMASK, session, [0, clients, body_of(question)[2]])
        with pytest.raises(stages.ProtocolError):
            holder.decrypt(forged)
    assert sums.finish().tolist() == [5, 2]
    with pytest.raises(stages.ProtocolError, match="opened once"):
        holder.decrypt(question)


@pytest.mark.parametrize("name", SEAL)
def test_a_server_that_lies_about_who_is_in_the_sum_reads_a_client(name):
    """The limit that `bfv` states: the key holder counts what it is told."""
    sums = PROTOCOLS[name].start(SEGMENTS, EVERYONE)
    row = vector_of(np.random.default_rng(0), SEGMENTS)
    sums.add("b", row)
    sums.server.survivors = [1, 2, 3]
    assert sums.finish().tolist() == row.tolist()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_lost_or_broken_answer_is_an_error(name):
    for act in (
        lambda i, message: [],
        lambda i, message: [b"x"],
        lambda i, message: [messages.encode(UNMASK, msgpack.unpackb(message)[1], b"123")],
    ):
        with pytest.raises(stages.ProtocolError):
            run(PROTOCOLS[name], tamper=tampering(UNMASK, he_simulation.KEY_HOLDER, act))
    with pytest.raises(stages.ProtocolError):
        run(PROTOCOLS[name], tamper=tampering(UNMASK, transport.SERVER, lambda i, m: []))
