"""What tests of homomorphic encryption share: protocols by name, a round, adversaries."""

import msgpack
import numpy as np

from tff_experiments.secure_sum import (
    bfv,
    ckks,
    messages,
    paillier,
    stages,
)
from tff_experiments.secure_sum.stages import UPLOAD
from tff_experiments.secure_sum.vectors import Segment

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
    Segment(20, 2**26, 2**20 - 1),
]
LONG = [Segment(40_000, 2**20)]  # More than one message of ciphertexts.
EVERYONE = {"a": "", "b": "", "c": "", "d": "", "e": ""}


def vector_of(rng, segments):
    parts = [rng.integers(0, s.bound, s.length, endpoint=True) for s in segments]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def sum_of(segments, rows):
    moduli = [s.modulus for s in segments for _ in range(s.length)]
    columns = zip(*(row.tolist() for row in rows), strict=True)
    return [sum(column) % m for column, m in zip(columns, moduli, strict=True)]


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


def replacing(make):
    """Replaces the ciphertexts of a message by what `make(them)` gives."""

    def act(i, message):
        step, session, (number, texts) = msgpack.unpackb(message)
        return [messages.encode(step, session, [number, make(texts)])]

    return act
