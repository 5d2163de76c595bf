"""The masking protocols beside homomorphic encryption, for the same vectors."""

import dataclasses

import numpy as np

from tff_experiments.secure_sum import secagg, secagg_plus, vectors

MAX_CLIENTS = 64
"""All clients are real; with more the measurement takes minutes."""
PROTOCOLS = {
    "secagg (active)": secagg.build(secagg.Hparams()),
    "secagg_plus (semi_malicious)": secagg_plus.build(secagg_plus.Hparams()),
}


@dataclasses.dataclass(frozen=True)
class Costs:
    """CPU seconds of a client's steps together and of the server's, bytes that a client sends."""

    client: float
    server: float
    num_bytes: int


def measure(name: str, segment: vectors.Segment, num_clients: int) -> Costs:
    """One round of real clients of whom none drops.

    Raises:
        RuntimeError: The sum is wrong.
    """
    names = [str(i) for i in range(num_clients)]
    vector = np.random.default_rng(0).integers(0, segment.bound + 1, segment.length)
    sums = PROTOCOLS[name].start([segment], dict.fromkeys(names, ""))
    for client in names:
        sums.add(client, vector)
    if not np.array_equal(sums.finish(), vector * num_clients % segment.modulus):
        raise RuntimeError(f"{name} gave a wrong sum.")
    metrics = sums.metrics()
    return Costs(
        client=metrics["secure_sum/seconds_per_client"],
        server=metrics["secure_sum/server_seconds"],
        num_bytes=int(metrics["secure_sum/upload_bytes_per_client"]),
    )
