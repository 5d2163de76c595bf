"""Messages that are lost, altered, forged: what becomes of clients and sum."""

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
    replacing,
    run,
    tampering,
    vector_of,
)

from tff_experiments.secure_sum import (
    bfv,
    ckks,
    he_parties,
    keys,
    messages,
    paillier,
    seal,
    stages,
)
from tff_experiments.secure_sum.stages import ADVERTISE, UNMASK, UPLOAD
from tff_experiments.secure_sum.vectors import Layout, Segment


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


@pytest.mark.parametrize("name", SEAL)
def test_without_the_signature_the_server_would_read_a_client(name, monkeypatch):
    """Takes the defence out: the attack of the test above goes through."""
    monkeypatch.setattr(keys, "verify", lambda *args: None)
    scheme = PROTOCOLS[name].start(SEGMENTS, EVERYONE)._config.scheme
    secret, mine = scheme.generate()
    texts = []

    def attack(step, sender, recipient, message):
        if step == ADVERTISE and recipient == 2:
            return [messages.encode(ADVERTISE, msgpack.unpackb(message)[1], [mine, b""])]
        if step == UPLOAD and sender == 2:
            texts.extend(body_of(message)[1])
        return [message]

    sums = PROTOCOLS[name].start(SEGMENTS, EVERYONE, tamper=attack)
    row = vector_of(np.random.default_rng(0), SEGMENTS)
    sums.add("b", row)
    words = sums._config.limbs.join(
        scheme.decrypt(secret, texts[0])[: sums._config.limbs.length], 1
    )
    np.testing.assert_array_equal(sums._config.layout.vector(words), row)


def test_a_key_of_another_round_is_refused():
    old = PROTOCOLS["bfv"].start(SEGMENTS, EVERYONE).key_holder.public_key()
    replay = lambda step, sender, recipient, message: [old] if step == ADVERTISE else [message]
    with pytest.raises(stages.ProtocolError, match="another step or session"):
        run(PROTOCOLS["bfv"], tamper=replay)


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
