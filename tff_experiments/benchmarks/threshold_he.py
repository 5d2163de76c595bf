"""What threshold homomorphic encryption costs: clients, parties and the server. Needs OpenFHE.

CPU seconds of one thread: a party's key part, from the lead's bytes to its own; a client's
encryption, from integers to the bytes that it sends; at the server reading these bytes, and adding
what was read; a party's partial decryption, from bytes to bytes; fusing, from the parties' bytes to
integers.
"""

import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from tff_experiments.benchmarks import he, secure_sum_goals, secure_sum_rows, secure_sum_units
from tff_experiments.secure_sum import he_limbs, openfhe_schemes, threshold_bfv, threshold_ckks

HEAD = (
    "protocol",
    "n, bits of an input, parties",
    "N, log q, limbs",
    "key part, ms",
    "encrypt, s",
    "read, s",
    "add, ms",
    "partial decryption, s",
    "fuse, s",
    "a client sends, MB",
    "x float32",
    "a party sends, MB",
    "goal",
)
GOAL_PARTIAL = 1.2
CASES = ((he.Case(10, 20), 10), (he.Case(64, 20), 10), (he.Case(64, 20), 64))


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    length: int = 1_206_590
    """Entries of a vector: by default the weights of the EMNIST CNN."""
    repeats: int = 3
    """Measurements, of which medians are taken."""

    def __post_init__(self):
        for name in ("length", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}.")


class Costs(NamedTuple):
    """CPU seconds, and bytes that a client and a party send."""

    keys: float
    encrypt: float
    read: float
    add: float
    partial: float
    fuse: float
    num_bytes: int
    partial_bytes: int


PROTOCOLS = {
    "threshold_ckks": threshold_ckks.choose,
    "threshold_bfv": functools.partial(threshold_bfv.choose, strong=False),
    "threshold_bfv strong": functools.partial(threshold_bfv.choose, strong=True),
}


def run(hparams: Hparams):
    """Measures; returns (title, head, rows)."""
    rows = []
    for case, num_parties in CASES:
        for name, choose in PROTOCOLS.items():
            if "strong" not in name or case == CASES[0][0]:
                rows.append(_row(name, choose, case, num_parties, hparams))
    title = (
        f"{hparams.length:,} entries, {secure_sum_rows.cpu()}; medians of {hparams.repeats}. Three "
        f"parties' decryptions are fused: more cost as much as adding. Goal: partial decryption "
        f"under {GOAL_PARTIAL} s at 10 parties (CKKS)."
    )
    return title, HEAD, rows


def _row(name: str, choose, case: he.Case, num_parties: int, hparams: Hparams):
    layout = case.layout(hparams.length)
    capacity, scheme_fn = choose(openfhe_schemes.Size(case.num_clients, num_parties))
    limbs = he_limbs.Limbs(layout, capacity)
    scheme = scheme_fn(limbs.largest)
    vector = np.random.default_rng(0).integers(0, 2**case.bits, layout.length)
    costs = measure(scheme, limbs, vector, hparams.repeats)
    goal = ""
    if name == "threshold_ckks" and num_parties == 10:
        goal = secure_sum_goals.verdict(costs.partial < GOAL_PARTIAL)
    primes = scheme.ring.halves.num_bytes // (8 * scheme.slots)
    return (
        name,
        f"{case.num_clients}, {case.bits}, {num_parties}",
        f"{scheme.slots}, {60 * primes}, {-(-limbs.length // layout.length)}",
        f"{1e3 * costs.keys:.1f}",
        f"{costs.encrypt:.2f}",
        f"{costs.read:.2f}",
        f"{1e3 * costs.add:.1f}",
        f"{costs.partial:.2f}",
        f"{costs.fuse:.2f}",
        f"{costs.num_bytes / 1e6:.1f}",
        f"{costs.num_bytes / 4 / hparams.length:.2f}",
        f"{costs.partial_bytes / 1e6:.1f}",
        goal,
    )


def measure(scheme: Any, limbs: he_limbs.Limbs, vector: np.ndarray, repeats: int) -> Costs:
    """Measures a scheme with three parties; what a party does depends on no other.

    Raises:
        RuntimeError: The sum is wrong.
    """
    ring = scheme.ring
    pairs = [ring.keys()]
    lead = ring.public_keys.pack(pairs[0][0])
    key_part = lambda: ring.keys(ring.public_keys.unpack(lead))
    pairs += [key_part(), key_part()]
    joint = ring.public_keys.pack(ring.join([public for public, _ in pairs]))
    encrypt = scheme.encryptor(joint)

    def encrypt_all() -> list[bytes]:
        parts = limbs.split(vector)
        starts = range(0, limbs.length, scheme.slots)
        return [encrypt(parts[at : at + scheme.slots]) for at in starts]

    texts = encrypt_all()
    read_all = lambda: [scheme.load(text) for text in texts]
    other, sums = read_all(), read_all()
    add_all = lambda: [scheme.add(a, b) for a, b in zip(sums, other, strict=True)]
    add_seconds = secure_sum_units.seconds(add_all, repeats)
    sums = read_all()
    add_all()
    halves = [ring.halves.pack(ring.half(total)) for total in sums]
    party = lambda secret: [
        ring.halves.pack(ring.partial(ring.halves.unpack(half), secret)) for half in halves
    ]
    shares = [party(secret) for _, secret in pairs]

    def fuse_all() -> np.ndarray:
        opened = []
        for total, *parts in zip(sums, *shares, strict=True):
            first, *rest = (ring.halves.unpack(part) for part in parts)
            for part in rest:
                ring.add(first, part)
            opened.append(scheme.decode(ring.fuse(total, first), 2))
        return np.concatenate(opened)[: limbs.length]

    if not np.array_equal(fuse_all(), 2 * limbs.split(vector)):
        raise RuntimeError("threshold encryption gave a wrong sum.")
    seconds = lambda act: secure_sum_units.seconds(act, repeats)
    return Costs(
        keys=seconds(key_part),
        encrypt=seconds(encrypt_all),
        read=seconds(read_all),
        add=add_seconds,
        partial=seconds(lambda: party(pairs[1][1])),
        fuse=seconds(fuse_all),
        num_bytes=sum(map(len, texts)),
        partial_bytes=sum(map(len, shares[0])),
    )
