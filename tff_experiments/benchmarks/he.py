"""What sums under homomorphic encryption cost, beside integers packed in the clear.

CPU seconds of one thread: making keys; a client's encryption of its vector, from integers to the
bytes that it sends; at the server reading these bytes, and adding what was read; at the key holder
decrypting the sum, from bytes to integers.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import threadpoolctl

from tff_experiments.benchmarks import (
    he_beside,
    secure_sum_goals,
    secure_sum_rows,
    secure_sum_units,
)
from tff_experiments.secure_sum import bfv, ckks, he_limbs, paillier, vectors

HEAD = (
    "protocol",
    "n, bits of an input",
    "parameters",
    "keys, ms",
    "encrypt, s",
    "read, s",
    "add, ms",
    "decrypt, s",
    "a client sends, MB",
    "x float32",
    "goals",
)
GOAL_BITS, GOAL_CLIENTS = 20, 64
GOAL_ENCRYPT, GOAL_ADD, GOAL_EXPANSION = 0.8, 0.015, 8.2
PAILLIER_LENGTH = 2_000
"""Entries that are measured; the rest is proportion."""


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    length: int = 1_206_590
    """Entries of a vector: by default the weights of the EMNIST CNN."""
    repeats: int = 5
    """Measurements, of which medians are taken."""

    def __post_init__(self):
        for name in ("length", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}.")


class Case(NamedTuple):
    """What is summed."""

    num_clients: int
    bits: int  # Of an input.

    def segment(self, length: int) -> vectors.Segment:
        """With the modulus that the runtime takes: the least power of two above any sum."""
        largest = 2**self.bits - 1
        return vectors.Segment(length, 2 ** (largest * self.num_clients).bit_length(), largest)

    def layout(self, length: int) -> vectors.Layout:
        """Of vectors of such entries."""
        return vectors.Layout([self.segment(length)])


class Costs(NamedTuple):
    """CPU seconds, and bytes that a client sends."""

    keys: float
    encrypt: float
    read: float
    add: float
    decrypt: float
    num_bytes: int


CASES = (Case(64, 20), Case(10, 20), Case(1000, 20), Case(10, 32), Case(10, 58))


def run(hparams: Hparams):
    """Measures; returns (title, head, rows)."""
    # A second thread's seconds would not be counted.
    with threadpoolctl.threadpool_limits(1, "blas"):
        rows = [row for case in CASES for row in _rows(case, hparams)]
    title = (
        f"{hparams.length:,} entries, {secure_sum_rows.cpu()}; medians of {hparams.repeats}. "
        f"Goals, for {GOAL_BITS} bits and n <= {GOAL_CLIENTS}: encryption < {GOAL_ENCRYPT} s, "
        f"adding < {1e3 * GOAL_ADD:.0f} ms, at most {GOAL_EXPANSION} times the bytes of "
        f"float32. Paillier: {PAILLIER_LENGTH:,} entries were measured, the row is in proportion. "
        f"SecAgg and SecAgg+: all steps of a client are under encrypt, all of the server for all "
        f"clients under decrypt; one round, nobody drops."
    )
    return title, HEAD, rows


def _rows(case: Case, hparams: Hparams) -> list[tuple[str, ...]]:
    layout = case.layout(hparams.length)
    plain = layout.num_bytes
    rows = [("packed, in the clear", f"{case.num_clients}, {case.bits}", "", "", "", "", "", "")]
    rows[0] += (f"{plain / 1e6:.2f}", f"{plain / 4 / hparams.length:.2f}", "")
    if case.num_clients <= he_beside.MAX_CLIENTS:
        rows += [_masked(name, case, hparams.length) for name in he_beside.PROTOCOLS]
    for name, choose in (("bfv", bfv.choose), ("ckks", ckks.choose)):
        costs, parameters = measure(choose, layout, case, hparams.repeats)
        rows.append(line(name, case, parameters, costs, hparams.length))
    if case == CASES[0]:
        length = min(PAILLIER_LENGTH, hparams.length)
        choose = lambda *args: paillier.choose(paillier.Hparams(), *args)
        costs, parameters = measure(choose, case.layout(length), case, 1)
        ratio = hparams.length / length
        costs = Costs(costs.keys, *(ratio * value for value in costs[1:]))
        rows.append(line("paillier", case, parameters, costs, hparams.length))
    return rows


def _masked(name: str, case: Case, length: int) -> tuple[str, ...]:
    costs = he_beside.measure(name, case.segment(length), case.num_clients)
    of = f"{case.num_clients}, {case.bits}"
    sent = f"{costs.num_bytes / 1e6:.2f}", f"{costs.num_bytes / 4 / length:.2f}"
    return name, of, "", "", f"{costs.client:.2f}", "", "", f"{costs.server:.2f}", *sent, ""


def measure(
    choose: Callable[[vectors.Layout, int], tuple[int, Any]],
    layout: vectors.Layout,
    case: Case,
    repeats: int,
) -> tuple[Costs, str]:
    """Measures a scheme with one key; also says its parameters.

    Raises:
        RuntimeError: The sum is wrong.
    """
    capacity, scheme = choose(layout, case.num_clients)
    limbs = he_limbs.Limbs(layout, capacity)
    vector = np.random.default_rng(0).integers(0, 2**case.bits, layout.length)
    secret, public = scheme.generate()
    encrypt, adder = scheme.encryptor(public), scheme.adder(public)

    def encrypt_all() -> list[bytes]:
        parts = limbs.split(vector)
        starts = range(0, limbs.length, scheme.slots)
        return [encrypt(parts[at : at + scheme.slots]) for at in starts]

    def decrypt_all() -> np.ndarray:
        sums = np.concatenate([scheme.decrypt(secret, text) for text in total])[: limbs.length]
        return layout.vector(limbs.join(sums, case.num_clients))

    texts = encrypt_all()
    read = [adder.load(text) for text in texts]
    add_all = lambda: [adder.add(into, other) for into, other in zip(sums, read, strict=True)]
    sums = [adder.load(text) for text in texts]
    total = [adder.save(item) for item in add_all()]
    if not np.array_equal(decrypt_all(), 2 * vector):
        raise RuntimeError(f"{scheme} gave a wrong sum.")
    seconds = lambda act: secure_sum_units.seconds(act, repeats)
    costs = Costs(
        keys=seconds(scheme.generate),
        encrypt=seconds(encrypt_all),
        read=seconds(lambda: [adder.load(text) for text in texts]),
        add=seconds(add_all),
        decrypt=seconds(decrypt_all),
        num_bytes=sum(map(len, texts)),
    )
    number = he_limbs.cut(layout.runs[0], capacity).number
    return costs, f"{scheme.parameters}, {number} limb{'s' * (number > 1)} an entry"


def line(name: str, case: Case, parameters: str, costs: Costs, length: int) -> tuple[str, ...]:
    """A row of the table."""
    expansion = costs.num_bytes / 4 / length
    goals = ""
    if case.bits <= GOAL_BITS and case.num_clients <= GOAL_CLIENTS and name != "paillier":
        reached = (
            costs.encrypt < GOAL_ENCRYPT,
            costs.add < GOAL_ADD,
            expansion <= GOAL_EXPANSION,
        )
        words = zip(("encryption", "adding", "bytes"), reached, strict=True)
        goals = ", ".join(f"{goal} {secure_sum_goals.verdict(met)}" for goal, met in words)
    return (
        name,
        f"{case.num_clients}, {case.bits}",
        parameters,
        f"{1e3 * costs.keys:.1f}",
        f"{costs.encrypt:.2f}",
        f"{costs.read:.3f}",
        f"{1e3 * costs.add:.1f}",
        f"{costs.decrypt:.2f}",
        f"{costs.num_bytes / 1e6:.2f}",
        f"{expansion:.2f}",
        goals,
    )
