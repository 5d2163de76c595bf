"""What a secure sum's measurement is held against: published figures and goals.

Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine Learning"; "(R)"
marks a figure that was recalled, not read.
"""

import math
from typing import NamedTuple

from tff_experiments.benchmarks import secure_sum_units
from tff_experiments.benchmarks.secure_sum_rows import Case

# Of 100,000 entries of 62 bits.
_SERVER_PUBLISHED = {
    (500, 0.0): "2.0",
    (500, 0.1): "62",
    (500, 0.3): "143",
    (1000, 0.0): "4.9 (R)",
    (1000, 0.1): "181",
    (1000, 0.3): "414",
}
_CLIENT_PUBLISHED = {500: "0.849", 1000: "1.699"}
# Seconds of the server on one core, set on a machine with faster AES-256-GCM.
SERVER = {
    Case("secagg", "active", 500, 100_000, 32, 0.1): 1.8,
    Case("secagg", "active", 1000, 100_000, 32, 0.1): 11,
    Case("secagg_plus", "semi_honest", 1000, 100_000, 32, 0.1): 0.9,
    Case("secagg_plus", "semi_malicious", 1000, 100_000, 32, 0.1): 2.2,
}
MASK_OVERHEAD = 1.3
EXPANSION = 1.05
INPUT_BITS = 16


class Published(NamedTuple):
    """Seconds, "" where there is no figure."""

    server: str
    client: str


def published(case: Case) -> Published:
    """The paper's figures for such a round."""
    if case.protocol != "secagg" or case.length != 100_000:
        return Published("", "")
    server = _SERVER_PUBLISHED.get((case.num_clients, case.dropout), "")
    return Published(server, _CLIENT_PUBLISHED.get(case.num_clients, ""))


def verdict(met: bool) -> str:
    """In words."""
    return "met" if met else "**missed**"


def expansion_formula(num_clients: int, length: int) -> float:
    """The paper's bytes of a client over those of its plain vector: 256-bit keys and shares.

    (2 n 256 + (5 n - 4) 256 + m ceil(log2(n (2^16 - 1) + 1))) / (16 m)
    """
    bits = math.ceil(math.log2(num_clients * (2**INPUT_BITS - 1) + 1))
    fixed = (2 * num_clients + 5 * num_clients - 4) * 256
    return (fixed + length * bits) / (INPUT_BITS * length)


def measured_expansion(case: Case, row: dict) -> float:
    """Bytes that a client sent and got over those of its plain vector."""
    return (row["upload_bytes"] + row["download_bytes"]) / (case.length * INPUT_BITS / 8)


def expansion(found) -> list[str]:
    """A sentence for each row that measures communication: sent and received over plain."""
    sentences = []
    for case, row in found:
        if case.bits != 26:
            continue
        measured = measured_expansion(case, row)
        paper = expansion_formula(case.num_clients, case.length)
        text = (
            f"Communication expansion, {case.adversary}, n = {case.num_clients:,}, "
            f"{case.length:,} entries of {INPUT_BITS} bits in a ring of {case.bits}: "
            f"{measured:.3f}, the paper's formula {paper:.3f}"
        )
        if case.adversary == "semi_honest":
            goal = verdict(1 / EXPANSION <= measured / paper <= EXPANSION)
            text += f"; goal, within {EXPANSION - 1:.0%}: {goal}."
        else:
            text += ", which has no signatures."
        sentences.append(text)
    return sentences


def mask() -> str:
    """Measures what a mask costs over its parts, and says whether that is the goal."""
    ratio = secure_sum_units.mask_overhead()
    return (
        f"One mask of 1,000,000 32-bit entries, expanded and added: {ratio:.2f} times the "
        f"keystream alone and the addition alone; goal, at most {MASK_OVERHEAD}: "
        f"{verdict(ratio <= MASK_OVERHEAD)}."
    )
