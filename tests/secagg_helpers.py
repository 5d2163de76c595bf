"""What tests of SecAgg and SecAgg+ share: all protocols by name, and parties driven by hand."""

import numpy as np
import pytest

from tff_experiments.secure_sum import (
    client,
    keys,
    masks,
    messages,
    secagg,
    secagg_plus,
    server,
    shamir,
    stages,
    statements,
)
from tff_experiments.secure_sum.stages import ADVERTISE, CONSISTENCY, SHARE, UNMASK, UPLOAD
from tff_experiments.secure_sum.vectors import Layout, Segment

STEPS = (ADVERTISE, SHARE, UPLOAD, CONSISTENCY, UNMASK)
SERVER = 0
# Few clients, and yet a ring: of 20, 1 may be corrupt and 3 may drop out.
SPARSE = dict(corrupt_rate=0.05, max_dropout_rate=0.15, security_bits=10, correctness_bits=10)
PROTOCOLS = {
    "secagg_semi_honest": secagg.build(secagg.Hparams(variant="semi_honest")),
    "secagg_active": secagg.build(secagg.Hparams(variant="active")),
    "secagg_plus_semi_honest": secagg_plus.build(
        secagg_plus.Hparams(adversary="semi_honest", **SPARSE)
    ),
    "secagg_plus_semi_malicious": secagg_plus.build(
        secagg_plus.Hparams(adversary="semi_malicious", **SPARSE)
    ),
}
# Stages at which a client has uploaded.
UPLOADED = {"", "before_consistency", "before_unmasking"}
ACTIVE = ("secagg_active", "secagg_plus_semi_malicious")


GRAPHS = {"secagg": (7, 5, 0), "secagg_plus": (9, 5, 6)}  # Clients, threshold, degree.


def names(count):
    return [f"client{i}" for i in range(1, count + 1)]


def draw(segments, rng):
    """A vector: entries below their modulus."""
    parts = [rng.integers(0, modulus, length, np.int64) for length, modulus, _ in segments]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def python_sum(vectors, segments):
    """The sum modulo each segment's number, in Python's integers."""
    moduli = [modulus for length, modulus, _ in segments for _ in range(length)]
    columns = zip(*(vector.tolist() for vector in vectors), strict=True)
    sums = [sum(column) for column in columns] if vectors else [0] * len(moduli)
    return [total % modulus for total, modulus in zip(sums, moduli, strict=True)]


def edit(message, change):
    """A message with its body changed."""
    step, session, body = messages.msgpack.unpackb(message)
    return messages.encode(step, session, change(body))


class Parties:
    """Clients 1 .. n and their server, repeatable, one step at a time; all messages are kept."""

    def __init__(self, num_clients, threshold, *, degree=0, active=True, seed=0, segments=None):
        self.segments = segments or [Segment(3, 100)]
        self.layout = Layout(self.segments)
        source = lambda party: keys.seeded_random(seed, "parties", party)
        session = source(0)(keys.SESSION_SIZE)
        self.config = statements.Config(num_clients, threshold, degree, active, session)
        sources = {i: source(i) for i in range(1, num_clients + 1)}
        self.signing = {i: keys.signing_key(source) for i, source in sources.items()}
        self.directory = {i: key.public_key() for i, key in self.signing.items()}
        self.clients = {
            i: client.Client(
                i, self.config, self.layout, random_bytes=sources[i],
                signing_key=self.signing[i], directory=self.directory,
            )
            for i in sources
        }  # fmt: skip
        self.server = server.Server(self.config, self.layout, range(num_clients))
        rng = np.random.default_rng(seed)
        self.vectors = {i: draw(self.segments, rng) for i in self.clients}
        self.received, self.sent = {step: {} for step in STEPS}, {step: {} for step in STEPS}

    def ask(self, number, step, message):
        """A client's step."""
        party = self.clients[number]
        return {
            ADVERTISE: lambda: party.advertise_keys(),
            SHARE: lambda: party.share_keys(message),
            UPLOAD: lambda: party.masked_input(message, self.vectors[number]),
            CONSISTENCY: lambda: party.sign_survivors(message),
            UNMASK: lambda: party.unmask(message),
        }[step]()

    def message(self, number, step):
        """What the server has for a client, once made."""
        if step != ADVERTISE and number not in self.received[step]:
            self.received[step][number] = self.server.message(number)
        return self.received[step].get(number)

    def run(self, *steps, but=()):
        """Steps, honestly, of all clients but some."""
        for step in steps:
            for i in self.clients:
                if i not in but:
                    self.sent[step][i] = self.ask(i, step, self.message(i, step))
                    self.server.receive(step, i, self.sent[step][i])
            self.server.close(step)
        return self

    def before(self, step, but=()):
        """All that comes before a step."""
        steps = STEPS if self.config.active else (ADVERTISE, SHARE, UPLOAD, UNMASK)
        return self.run(*steps[: steps.index(step)], but=but)

    def uploaded(self, number):
        """A masked input's words."""
        return self.layout.unpack(self.body(self.sent[UPLOAD][number]))

    @staticmethod
    def body(message):
        return messages.msgpack.unpackb(message)[2]

    def open_alone(self, victim, seed, secret):
        """A client's vector from its masked input and both of its secrets; seed None: still masked
        by itself.
        """
        words = self.uploaded(victim)
        if seed is not None:
            key = client.self_mask_key(self.config, victim, seed)
            masks.add(words, self.layout, [(key, -1)])
        private = keys.private_key(lambda _: secret)
        public = messages.read_table(
            self.body(self.received[SHARE][victim]), client.keys_size(self.config)
        )
        for v in messages.read_table(self.body(self.received[UPLOAD][victim]), client.SEALED_SIZE):
            shared = keys.agree(private, client.masking_key(public[v]))
            low, high = sorted((v, victim))
            key = keys.derive(shared, b"pair", self.config.session, low, high)
            masks.add(words, self.layout, [(key, -1 if victim > v else 1)])
        return self.layout.vector(words)


def parties(graph, **more):
    num_clients, threshold, degree = GRAPHS[graph]
    return Parties(num_clients, threshold, degree=degree, **more)


def table(session, number, step, size):
    return messages.read_table(session.body(session.message(number, step)), size)


def refuses(session, number, step, message, match):
    """A client refuses a message, and afterwards the honest one."""
    with pytest.raises((stages.ProtocolError, stages.AbortedError), match=match):
        session.ask(number, step, message)
    with pytest.raises(stages.ProtocolError, match="does not take this step now"):
        session.ask(number, step, session.message(number, step))


def change_table(message, size, change):
    """A message whose body is a table, changed as a dictionary."""
    return edit(message, lambda body: messages.table(change(messages.read_table(body, size))))


def shares_of(session, victim, lists):
    """Shares of a victim's seed and key that clients give who are told these survivors; active
    clients are first asked to sign, and then get all signatures that fit their list.
    """
    signed, given = {}, ({}, {})
    for i, alive in lists.items() if session.config.active else ():
        message = messages.encode(CONSISTENCY, session.config.session, alive)
        signed[i] = session.body(session.ask(i, CONSISTENCY, message))
    for i, alive in lists.items():
        body = alive
        if session.config.active and session.config.degree:
            told = {j: messages.read_table(t, keys.SIGNATURE_SIZE) for j, t in signed.items()}
            body = messages.table({j: t[i] for j, t in told.items() if i in t and j in alive})
        elif session.config.active:
            body = messages.table({j: s for j, s in signed.items() if lists[j] == alive})
        try:
            answer = session.ask(i, UNMASK, messages.encode(UNMASK, session.config.session, body))
        except (stages.ProtocolError, stages.AbortedError):
            continue
        for part, into in zip(session.body(answer), given, strict=True):
            found = messages.read_table(part, shamir.SHARE_SIZE)
            into.update({i: found[victim]} if victim in found else {})
    return given


def reconstruct(shares):
    """A secret from {holder: share}."""
    return shamir.reconstruct(np.array([sorted(shares)]), [[shares[i] for i in sorted(shares)]])[0]


def summed(protocol, parts, drops, *, seed=0, **more):
    """What a round returns, and what it must return."""
    rng = np.random.default_rng(seed)
    vectors = {name: draw(parts, rng) for name in drops}
    sum_of = protocol.start(parts, drops, seed=(seed, 0), **more)
    for name, vector in vectors.items():
        sum_of.add(name, vector)
    wanted = python_sum([vectors[n] for n, stage in drops.items() if stage in UPLOADED], parts)
    return sum_of, wanted
