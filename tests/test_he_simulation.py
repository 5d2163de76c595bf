"""Sums under homomorphic encryption, every scheme: exact sums, dropouts, who can decrypt, lies."""

import contextlib
import gc
import math
import sys
import types
from concurrent import futures

import msgpack
import numpy as np
import pytest
from test_he_limbs import sum_of, vector_of

from tff_experiments.secure_sum import (
    bfv,
    ckks,
    he_parties,
    he_simulation,
    keys,
    messages,
    paillier,
    seal,
    stages,
    transport,
)
from tff_experiments.secure_sum.stages import ADVERTISE, UNMASK, UPLOAD
from tff_experiments.secure_sum.vectors import Layout, Segment

PROTOCOLS = {
    "bfv": bfv.build(bfv.Hparams()),
    "ckks": ckks.build(ckks.Hparams()),
    "paillier": paillier.build(paillier.Hparams(key_bits=2048)),
}
SEAL = ["bfv", "ckks"]
SEGMENTS = [
    Segment(5, 2**20),
    Segment(3, 7),
    Segment(2, 2**62),
    Segment(0, 9),
    Segment(1, 1),
    Segment(4, 10**15 + 37),
    Segment(30, 2),
]
LONG = [Segment(40_000, 2**20)]  # More than one message of ciphertexts.
EVERYONE = {"a": "", "b": "", "c": "", "d": "", "e": ""}


def run(protocol, segments=SEGMENTS, drops=EVERYONE, tamper=None, left_out=()):
    """(Round, the sum, what it must be); `left_out` are numbers."""
    rng = np.random.default_rng(1)
    sums = protocol.start(segments, drops, tamper=tamper)
    rows = []
    for number, (name, stage) in enumerate(drops.items(), 1):
        row = vector_of(rng, segments)
        sums.add(name, row)
        if stages.first_missing(stage) > UPLOAD and number not in left_out:
            rows.append(row)
    return sums, sums.finish(), sum_of(segments, rows)


def tampering(step, sender, act):
    """Hands the messages of a step from a sender to `act`, with their number."""
    count = iter(range(10**6))

    def tamper(at, source, recipient, message):
        if at != step or source != sender:
            return [message]
        return act(next(count), message)

    return tamper


def body_of(message):
    return msgpack.unpackb(message)[2]


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize(
    "drops",
    [
        EVERYONE,
        {"a": "before_advertising", "b": "before_key_sharing", "c": "", "d": "", "e": ""},
        {"a": "before_upload", "b": "", "c": "before_consistency", "d": "before_unmasking"},
        {"a": "", "b": ""},
    ],
)
def test_sums_are_exact_and_dropouts_are_left_out(name, drops):
    sums, total, wanted = run(PROTOCOLS[name], drops=drops)
    assert total.dtype == np.int64 and total.tolist() == wanted
    metrics = sums.metrics()
    stay = sum(stages.first_missing(stage) > UPLOAD for stage in drops.values())
    assert metrics["secure_sum/survivors"] == stay and metrics["secure_sum/clients"] == len(drops)
    assert metrics["secure_sum/refusals"] == 0
    assert metrics["secure_sum/upload_bytes_per_client"] > 256


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("segments", [[], [Segment(0, 5)], [Segment(3, 1)], [Segment(1, 2)]])
def test_short_vectors(name, segments):
    sums, total, wanted = run(PROTOCOLS[name], segments)
    assert total.tolist() == wanted and len(sums.server.survivors) == 5


@pytest.mark.parametrize("name", SEAL)
@pytest.mark.parametrize("length", [2047, 2048, 2049, 4097, 40_000])
def test_long_vectors(name, length):
    sums, total, wanted = run(PROTOCOLS[name], [Segment(length, 2**20), Segment(3, 2**30)])
    assert total.tolist() == wanted
    assert len(sums.server._config.chunks) == 1 + (length == 40_000)


@pytest.mark.parametrize("name", SEAL)
def test_any_thread_may_add(name):
    rng, drops = np.random.default_rng(0), {str(i): "" for i in range(12)}
    rows = [vector_of(rng, LONG) for _ in drops]
    sums = PROTOCOLS[name].start(LONG, drops)
    with futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(sums.add, drops, rows))
    assert sums.finish().tolist() == sum_of(LONG, rows)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_too_few_clients_are_a_clean_abort(name):
    gone = "before_upload"
    with pytest.raises(stages.AbortedError, match="2 clients uploaded, 3 are needed") as caught:
        run(PROTOCOLS[name], drops={"a": "", "b": "", "c": gone, "d": gone, "e": gone})
    assert caught.value.metrics["secure_sum/survivors"] == 2
    with pytest.raises(stages.AbortedError, match="1 clients took the key"):
        run(PROTOCOLS[name], drops={"a": "", "b": "before_advertising"})
    # A sum of one client is its vector.
    with pytest.raises(stages.AbortedError):
        run(PROTOCOLS[name], drops={"a": ""})
    with pytest.raises(ValueError, match="one client's vector"):
        PROTOCOLS[name].check(1)
    PROTOCOLS[name].check(2)


def test_the_threshold_is_a_fraction():
    protocol = bfv.build(bfv.Hparams(threshold=0.8))
    drops = dict(zip("abcdefghij", [""] * 7 + ["before_upload"] * 3, strict=True))
    with pytest.raises(stages.AbortedError, match="7 clients uploaded, 8 are needed"):
        run(protocol, drops=drops)
    run(bfv.build(bfv.Hparams(threshold=0.7)), drops=drops)
    for module in (bfv, ckks, paillier):
        with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\]"):
            module.Hparams(threshold=1.5)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_vector_that_does_not_fit_is_an_error(name):
    sums = PROTOCOLS[name].start([Segment(2, 8)], EVERYONE)
    for bad in (np.array([1, 8]), np.array([1]), np.array([0.5, 1])):
        with pytest.raises(ValueError):
            sums.add("a", bad)
    assert not sums.server.survivors


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
    with pytest.raises(stages.ProtocolError, match="opened already"):
        holder.decrypt(question)


@pytest.mark.parametrize("name", SEAL)
@pytest.mark.parametrize(
    "act",
    [
        lambda i, message: [],
        lambda i, message: [] if i == 1 else [message],
        lambda i, message: [message] * 2 if i == 0 else [message],
        lambda i, message: [message[:-9]],
        lambda i, message: [b""],
        lambda i, message: [messages.encode(UPLOAD, msgpack.unpackb(message)[1], [i, 7])],
        lambda i, message: [messages.encode(UPLOAD, msgpack.unpackb(message)[1], [i, [b"x"] * 16])],
        lambda i, message: [messages.encode(UPLOAD, bytes(16), body_of(message))],
        lambda i, message: [messages.encode(UNMASK, msgpack.unpackb(message)[1], body_of(message))],
    ],
)
def test_a_client_with_a_broken_upload_is_left_out(name, act):
    """Client 2; its first message may be whole, which must not stay in the sum."""
    sums, total, wanted = run(PROTOCOLS[name], LONG, tamper=tampering(UPLOAD, 2, act), left_out=[2])
    assert total.tolist() == wanted and sums.server.survivors == [1, 3, 4, 5]
    assert sums.metrics()["secure_sum/refusals"] <= 1


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_last_message_that_comes_twice_counts_once(name):
    act = lambda i, message: [message, message]
    sums, total, wanted = run(PROTOCOLS[name], tamper=tampering(UPLOAD, 2, act))
    assert total.tolist() == wanted
    assert sums.refusals == {2: "this client is in the sum already."}


def replacing(make):
    """Replaces the ciphertexts of a message by what `make(them)` gives."""

    def act(i, message):
        step, session, (number, texts) = msgpack.unpackb(message)
        return [messages.encode(step, session, [number, make(texts)])]

    return act


@pytest.mark.parametrize("name", PROTOCOLS)
def test_ciphertexts_of_other_parameters_are_refused(name):
    one = [Segment(2, 8)]
    if name == "paillier":
        module, other = paillier, paillier.Scheme(2056, 10)
    else:
        module = {"bfv": bfv, "ckks": ckks}[name]
        # The same N, another q; and for CKKS another scale.
        choices = {c.bits: c for c in module.choices(2) if c.degree == 2048}
        other = module.Scheme(choices[max(choices)])
    text = other.encryptor(other.generate()[1])(np.array([1, 2]))
    act = replacing(lambda texts: [text])
    sums, total, wanted = run(PROTOCOLS[name], one, tamper=tampering(UPLOAD, 2, act), left_out=[2])
    assert total.tolist() == wanted and list(sums.refusals) == [2]


@pytest.mark.parametrize("name", SEAL)
def test_a_ciphertext_that_hides_nothing_is_refused(name):
    scheme = {"bfv": bfv, "ckks": ckks}[name].choose(Layout([Segment(2, 8)]), 5)[1]
    empty = scheme._seal.Ciphertext(scheme.context)
    empty.resize(scheme.context, 2)
    with pytest.raises(stages.ProtocolError, match=r"hides nothing|other parameters"):
        scheme.load(seal.to_bytes(empty))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_ciphertext_under_another_key_spoils_the_sum_and_is_seen(name):
    """It is a ciphertext, but no five clients have such a sum."""
    texts = []

    def act(i, message):
        scheme = sums._config.scheme
        texts.append(scheme.encryptor(scheme.generate()[1])(np.ones(scheme.slots, np.int64)))
        return replacing(lambda _: texts)(i, message)

    sums = PROTOCOLS[name].start([Segment(2, 8)], EVERYONE, tamper=tampering(UPLOAD, 2, act))
    for client in EVERYONE:
        sums.add(client, np.array([1, 2]))
    if name == "paillier" and 2 in sums.refusals:
        return  # The other n is smaller, and the ciphertext no ciphertext.
    with pytest.raises(stages.ProtocolError, match="altered"):
        sums.finish()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_key_that_is_not_the_key_holders_is_refused(name):
    """The server's own key would open what is encrypted with it."""
    scheme = {}

    def swap(step, sender, recipient, message):
        if step != ADVERTISE or recipient != 2:
            return [message]
        _, session, (_, signature) = msgpack.unpackb(message)
        mine = scheme["of"].generate()[1]
        return [messages.encode(ADVERTISE, session, [mine, signature])]

    scheme["of"] = PROTOCOLS[name].start(SEGMENTS, EVERYONE)._config.scheme
    sums, total, wanted = run(PROTOCOLS[name], tamper=swap, left_out=[2])
    assert total.tolist() == wanted
    assert sums.refusals == {2: "a signature does not hold."}


def test_a_key_of_another_round_is_refused():
    old = PROTOCOLS["bfv"].start(SEGMENTS, EVERYONE).key_holder.public_key()
    replay = lambda step, sender, recipient, message: [old] if step == ADVERTISE else [message]
    with pytest.raises(stages.ProtocolError, match="another step or session"):
        run(PROTOCOLS["bfv"], tamper=replay)


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


def test_a_client_encrypts_once_and_only_with_a_key():
    sums = PROTOCOLS["bfv"].start(SEGMENTS, EVERYONE)
    client = he_parties.Client(sums._config, keys.signing_key(keys.system_random).public_key())
    row = vector_of(np.random.default_rng(0), SEGMENTS)
    with pytest.raises(stages.ProtocolError, match="no key"):
        next(client.upload(row))
    first = sums._clients[1]
    list(first.upload(row))
    with pytest.raises(stages.ProtocolError, match="no key"):
        next(first.upload(row))


@pytest.mark.parametrize("name", SEAL)
def test_a_seed_repeats_the_sum_not_the_ciphertexts(name):
    def once():
        texts = []
        listen = lambda step, a, b, message: texts.append(message) or [message]
        sums = PROTOCOLS[name].start(SEGMENTS, EVERYONE, seed=(3, 1), tamper=listen)
        for client in EVERYONE:
            sums.add(client, vector_of(np.random.default_rng(0), SEGMENTS))
        return sums._config.session, texts, sums.finish().tolist()

    (session, texts, total), (session2, texts2, total2) = once(), once()
    assert session == session2 and total == total2 and texts[0] != texts2[0]


@pytest.mark.parametrize("module", [bfv, ckks, paillier])
def test_without_its_library_a_protocol_says_what_to_install(module, monkeypatch):
    for name in ("tenseal", "phe"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"pip install (tenseal|phe)"):
        module.build(module.Hparams()).check(10)
