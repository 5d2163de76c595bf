"""Threshold homomorphic encryption, where OpenFHE is: scripts/test_openfhe.sh. No TensorFlow."""

import sys
from concurrent import futures

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tff_experiments.secure_sum import (
    messages,
    openfhe_ring,
    openfhe_wire,
    stages,
    threshold_bfv,
    threshold_ckks,
    threshold_parties,
    transport,
    vectors,
)

PROTOCOLS = {
    "ckks": (threshold_ckks, {}),
    "bfv": (threshold_bfv, {}),
    "bfv_strong": (threshold_bfv, {"flooding": "strong"}),
}
FAST = ["ckks", "bfv"]
SEGMENTS = [
    vectors.Segment(4090, 2**20, 2**16 - 1),  # One limb, and a second ciphertext for the rest.
    vectors.Segment(7, 1000003),
    vectors.Segment(3, 2**62),
    vectors.Segment(2, 1),
]
N, K, T = 7, 7, 5  # floor(2 * 7 / 3) + 1 = 5.


@pytest.fixture
def openfhe():
    """The module; a test that needs it is skipped, and counted, where it is not."""
    return pytest.importorskip("openfhe")


def vector(seed, segments=SEGMENTS):
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, s.bound, s.length, endpoint=True) for s in segments]
    return np.concatenate(draws)


def total(uploads, segments=SEGMENTS):
    """The oracle: Python's integers."""
    moduli = [s.modulus for s in segments for _ in range(s.length)]
    columns = zip(*(v.tolist() for v in uploads), strict=True)
    return [sum(column) % m for column, m in zip(columns, moduli, strict=True)]


def begin(name, drops=None, *, clients=N, segments=SEGMENTS, tamper=None, seed=None, **knobs):
    module, extra = PROTOCOLS[name]
    protocol = module.build(module.Hparams(**extra, **knobs))
    stays = {f"c{i}": "" for i in range(clients)} | (drops or {})
    return protocol.start(segments, stays, tamper=tamper, seed=seed)


def run(name, drops=None, *, clients=N, segments=SEGMENTS, **options):
    """(the sum that was opened, the vectors that are in it, the round)."""
    sum_of = begin(name, drops, clients=clients, segments=segments, **options)
    uploads = []
    for i in range(clients):
        own = vector(i, segments)
        sum_of.add(f"c{i}", own)
        if stages.first_missing((drops or {}).get(f"c{i}", "")) > stages.UPLOAD:
            uploads.append(own)
    return sum_of.finish(), uploads, sum_of


@pytest.mark.parametrize("name", PROTOCOLS)
def test_opens_the_sum(openfhe, name):
    opened, uploads, sum_of = run(name)
    assert opened.tolist() == total(uploads)
    metrics = sum_of.metrics()
    assert metrics["secure_sum/parties"] == K and metrics["secure_sum/recovered"] == 0
    # Two ciphertexts at 4.0 times four bytes a slot, and keys.
    assert metrics["secure_sum/upload_bytes_per_client"] > 2 * 65536


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("stage", stages.STAGES)
def test_two_of_seven_may_drop_at_any_stage(openfhe, name, stage):
    opened, uploads, sum_of = run(name, {"c1": stage, "c4": stage})
    assert opened.tolist() == total(uploads)
    recovered = {"before_upload": 2, "before_consistency": 2}.get(stage, 0)
    assert sum_of.metrics()["secure_sum/recovered"] == recovered


@pytest.mark.parametrize("name", FAST)
def test_the_lead_may_drop_after_it_gave_its_polynomial(openfhe, name):
    opened, uploads, _ = run(name, {"c0": "before_key_sharing"})
    assert opened.tolist() == total(uploads)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("stage", stages.STAGES)
def test_one_party_less_than_the_threshold_aborts(openfhe, name, stage):
    drops = dict.fromkeys(["c1", "c2", "c4"], stage)
    if stage == "before_unmasking":
        drops["c6"] = "before_consistency"  # Else nothing has to be recovered.
        drops.pop("c4")
    with pytest.raises(stages.AbortedError, match=r"4 clients .*, 5 are needed") as caught:
        run(name, drops)
    if stage != "before_advertising":
        assert caught.value.metrics["secure_sum/clients"] == N


def test_where_all_must_open_nobody_is_recovered(openfhe):
    opened, uploads, _ = run("ckks", {"c1": "before_unmasking"}, threshold=1.0)
    assert opened.tolist() == total(uploads)
    with pytest.raises(stages.AbortedError):
        run("ckks", {"c1": "before_consistency"}, threshold=1.0)


def test_a_committee_opens_what_all_upload(openfhe):
    opened, uploads, sum_of = run("bfv", clients=9, committee=4)
    assert opened.tolist() == total(uploads)
    assert len(sum_of.parties) == 4
    drawn = {tuple(begin("bfv", clients=9, committee=4, seed=(0, r)).parties) for r in range(6)}
    assert len(drawn) > 1
    repeated = [tuple(begin("bfv", clients=9, committee=4, seed=(0, 1)).parties) for _ in "ab"]
    assert repeated[0] == repeated[1]


def test_fresh_keys_every_round(openfhe):
    ring = openfhe_ring.bfv()
    parts = set()
    for _ in range(2):
        sum_of = begin("bfv", seed=(3, 1))
        parts |= {ring.secret_keys.pack(party._secret) for party in sum_of.parties.values()}
    assert len(parts) == 2 * K


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    drops=st.lists(st.sampled_from([*[""] * 9, *stages.STAGES]), min_size=N, max_size=N),
    name=st.sampled_from(FAST),
)
def test_any_dropouts_give_the_exact_sum_or_an_abort_that_counts(openfhe, drops, name):
    steps = [stages.first_missing(stage) for stage in drops]
    parties = [step > stages.SHARE for step in steps]
    opened = sum(step > threshold_parties.OPEN for step in steps)
    stay = sum(step > threshold_parties.RECOVER for step in steps)
    enough = sum(parties) >= T and sum(step > stages.UPLOAD for step in steps) >= N // 2 + 1
    # Shares are asked for where somebody who shared did not open.
    enough = enough and opened >= T and (opened == sum(parties) or stay >= T)
    small = [vectors.Segment(3, 1000)]
    try:
        got, uploads, _ = run(name, {f"c{i}": s for i, s in enumerate(drops)}, segments=small)
    except stages.AbortedError:
        assert not enough
    else:
        assert enough and got.tolist() == total(uploads, small)


@pytest.mark.parametrize("name", FAST)
def test_clients_may_be_added_from_many_threads(openfhe, name):
    sum_of = begin(name)
    vectors_of = [vector(i) for i in range(N)]
    with futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: sum_of.add(f"c{i}", vectors_of[i]), range(N)))
    assert sum_of.finish().tolist() == total(vectors_of)


def test_a_vector_that_does_not_fit_is_refused(openfhe):
    sum_of = begin("bfv", segments=[vectors.Segment(3, 1000, 10)])
    for wrong in ([0, 0, 11], [0, -1, 0], [0, 0]):
        with pytest.raises(ValueError, match="vector"):
            sum_of.add("c0", np.array(wrong))


# What the server has.


class Spy:
    """Keeps the messages."""

    def __init__(self):
        self.seen = []

    def __call__(self, step, sender, recipient, message):
        self.seen.append((step, sender, recipient, message))
        return (message,)

    def upload(self, client):
        """A client's ciphertexts, as bytes."""
        bodies = [
            messages.decode(m, step, m_session(m))
            for step, sender, recipient, m in self.seen
            if (step, sender, recipient) == (stages.UPLOAD, client, transport.SERVER)
        ]
        return [text for _, texts in bodies for text in texts]


def m_session(message):
    return msgpack.unpackb(message)[1]


def reachable(root):
    """All objects that attributes and containers lead to."""
    seen, todo = {}, [root]
    while todo:
        value = todo.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, dict):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set):
            todo += value
        elif hasattr(value, "__dict__") and type(value).__module__.startswith("tff_exp"):
            todo += vars(value).values()
    return list(seen.values())


@pytest.mark.parametrize("missing", [[], ["c1", "c2"]])
def test_the_server_has_no_key_of_a_party_that_opened(openfhe, missing):
    sum_of = begin("ckks", dict.fromkeys(missing, "before_consistency"))
    ring = openfhe_ring.ckks()
    parts = {i: ring.secret_keys.pack(party._secret) for i, party in sum_of.parties.items()}
    for i in range(N):
        sum_of.add(f"c{i}", vector(i))
    assert sum_of.finish().tolist() == total([vector(i) for i in range(N)])
    found = reachable(sum_of.server)
    assert any(isinstance(value, openfhe.PublicKey) for value in found)
    assert not any(isinstance(value, openfhe.PrivateKey) for value in found)
    texts = b"".join(value for value in found if isinstance(value, bytes))
    assert len(texts) > N * len(parts[1])  # The sealed ones are there.
    assert len(sum_of.server.opened) == N - len(missing)
    assert not [i for i in sum_of.server.opened if parts[i] in texts]


@pytest.mark.parametrize("name", FAST)
def test_all_parties_but_one_open_garbage_or_nothing(openfhe, name):
    """One client's ciphertext and the key parts of six of seven parties."""
    spy = Spy()
    sum_of = begin(name, tamper=spy, segments=[vectors.Segment(4096, 2**10)])
    own = np.full(4096, 1000)
    sum_of.add("c0", own)
    (text,) = spy.upload(1)
    scheme = sum_of.server._adder
    ring, ciphertext = scheme.ring, scheme.load(text)

    def opened(numbers):
        half = ring.half(ciphertext)
        partials = [ring.partial(half, sum_of.parties[i]._secret) for i in numbers]
        for other in partials[1:]:
            ring.add(partials[0], other)
        return scheme.decode(ring.fuse(ciphertext, partials[0]), 1)

    assert opened(range(1, 8)).tolist() == own.tolist()  # Or the rest would prove nothing.
    for left_out in (1, 4, 7):
        try:
            got = opened(set(range(1, 8)) - {left_out})
        except stages.ProtocolError:
            continue
        # Right by chance: 1 in 2^29 a slot (BFV).
        assert (got == own).sum() <= 1


def test_a_party_answers_once(openfhe):
    _, _, sum_of = run("bfv")
    party = sum_of.parties[1]
    half = next(iter(sum_of.server.halves()))
    with pytest.raises(stages.ProtocolError, match="does not take this step now"):
        party.open(half)


def test_a_party_recovers_no_more_than_may_be_missing(openfhe):
    spy = Spy()
    sum_of = begin("bfv", tamper=spy)
    for i in range(N):
        sum_of.add(f"c{i}", vector(i))
    party, server = sum_of.parties[1], sum_of.server
    for half in server.halves():
        party.open(half)
    shares = {v: server._shares[v][1] for v in (2, 3, 4)}
    message = messages.encode(
        threshold_parties.RECOVER, server._config.session, messages.table(shares)
    )
    with pytest.raises(stages.ProtocolError, match="more parties are said to be missing"):
        party.recover(message)


# Tampering.


def altered(message, at=-40):
    changed = bytearray(message)
    changed[at] ^= 1
    return bytes(changed)


def tamper_with(step, sender, recipient, change):
    """An adversary that changes the messages of one step between two."""

    def tamper(at, source, target, message):
        same = (at, source, target) == (step, sender, recipient)
        return change(message) if same else (message,)

    return tamper


SERVER = transport.SERVER
CASES = {
    "upload lost": (stages.UPLOAD, 2, SERVER, lambda m: (), 1),
    "upload twice": (stages.UPLOAD, 2, SERVER, lambda m: (m, m), 0),
    "upload cut": (stages.UPLOAD, 2, SERVER, lambda m: (m[:-9],), 1),
    "upload of large numbers": (
        stages.UPLOAD, 2, SERVER, lambda m: (m[:-8] + b"\xff" * 8,), 1,
    ),
    "joint key cut": (stages.UPLOAD, SERVER, 2, lambda m: (m[:-9],), 1),
    "sum lost": (threshold_parties.OPEN, SERVER, 2, lambda m: (), 0),
    "decryption cut": (threshold_parties.OPEN, 2, SERVER, lambda m: (m[:-1],), 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_broken_message_costs_its_sender_alone(openfhe, case):
    step, sender, recipient, change, lost = CASES[case]
    tamper = tamper_with(step, sender, recipient, change)
    opened, uploads, sum_of = run("ckks", tamper=tamper)
    if lost:
        uploads.pop(1)
    assert opened.tolist() == total(uploads)
    assert len(sum_of.server.survivors) == N - lost


@pytest.mark.parametrize("name", FAST)
def test_an_altered_decryption_is_refused(openfhe, name):
    change = lambda m: (altered(m),)
    with pytest.raises(stages.ProtocolError, match="altered"):
        run(name, tamper=tamper_with(threshold_parties.OPEN, 3, SERVER, change))


def test_an_altered_share_is_refused_and_others_do(openfhe):
    # Recovery asks party 3 with a share that is not what party 2 sealed.
    tamper = tamper_with(threshold_parties.RECOVER, SERVER, 3, lambda m: (altered(m, -1),))
    drops = {"c1": "before_consistency"}
    opened, uploads, sum_of = run("bfv", drops, tamper=tamper)
    assert opened.tolist() == total(uploads)
    assert "altered" in sum_of.refusals[3]


def test_a_message_of_another_session_is_refused(openfhe):
    spy = Spy()
    run("bfv", tamper=spy)
    old = next(m for step, s, r, m in spy.seen if (step, s, r) == (stages.UPLOAD, 2, SERVER))
    tamper = tamper_with(stages.UPLOAD, 2, SERVER, lambda m: (old,))
    opened, uploads, sum_of = run("bfv", tamper=tamper)
    uploads.pop(1)
    assert opened.tolist() == total(uploads) and "another step or session" in sum_of.refusals[2]


# What is refused beforehand.


def test_without_openfhe_the_way_out_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "openfhe", None)
    with pytest.raises(
        ValueError, match=r"none for 3.11: scripts/setup.sh --python=3.10"
    ) as caught:
        openfhe_wire.load()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"committee": 1}, "at least 2 parties, or 0 for all, got 1"),
        ({"threshold": 0.5}, r"in \(1/2, 1\], or 0 to choose it, got 0.5"),
    ],
)
def test_knobs_that_protect_nothing_are_refused(knobs, message):
    for module in (threshold_bfv, threshold_ckks):
        with pytest.raises(ValueError, match=message):
            module.Hparams(**knobs)


def test_check_refuses_what_can_not_start(openfhe):
    protocol = threshold_ckks.build(threshold_ckks.Hparams(committee=5))
    protocol.check(5)
    with pytest.raises(ValueError, match="a committee of 5 can't be drawn from 4 clients"):
        protocol.check(4)
    with pytest.raises(ValueError, match="one client's vector"):
        threshold_bfv.build(threshold_bfv.Hparams()).check(1)
