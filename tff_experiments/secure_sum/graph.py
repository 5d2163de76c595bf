"""Whom a client masks with and shares with in SecAgg+: a random k-regular graph.

Bell, Bonawitz, Gascon, Lepoint, Raykova, "Secure Single-Server Aggregation with (Poly)Logarithmic
Overhead", CCS 2020, section 3: a Harary graph under a random permutation, each client joined to the
k / 2 before and the k / 2 after it on a ring. With n clients, of which at most gamma n are corrupt
and at most delta n drop out, k is the least even number, and t the least threshold, such that

    with probability 1 - 2^-security_bits      the honest clients that stay are connected, and no
                                               client has t corrupt neighbours
    with probability 1 - 2^-correctness_bits   each client keeps t neighbours

Both kinds of security failure get half of the probability; bounds on all n clients are union bounds
over hypergeometric tails. Against a semi-malicious server, which is honest until the keys are out
and then may tell each client of other survivors, t must be such that honest neighbours, each asked
for one share, and corrupt ones, who give both, do not make t of both kinds: 2 t > k + corrupt.
"""

import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

Adversary = Literal["semi_honest", "semi_malicious"]


class Parameters(NamedTuple):
    """Of a graph and the secret sharing on it."""

    degree: int  # Neighbours of a client; num_clients - 1 is the complete graph.
    threshold: int  # Shares that give a secret, of `degree`.


@functools.lru_cache(maxsize=64)  # A second for 1,000 clients, and asked for in each round.
def parameters(
    num_clients: int,
    *,
    corrupt_rate: float,
    dropout_rate: float,
    adversary: Adversary,
    security_bits: int = 40,
    correctness_bits: int = 20,
) -> Parameters:
    """The least degree and threshold.

    Args:
        num_clients: n.
        corrupt_rate: gamma, in [0, 1): clients that collude with the server, at most.
        dropout_rate: delta, in [0, 1): clients that drop out, at most.
        adversary: What the server may do.
        security_bits: Of the statistical security.
        correctness_bits: Of the probability that the sum opens.

    Raises:
        ValueError: No graph serves, not the complete one either.
    """
    corrupt, dropped = most(corrupt_rate, num_clients), most(dropout_rate, num_clients)
    per_client = 2.0 ** -(security_bits + 1) / max(num_clients, 1)
    for degree in range(2, num_clients - 1, 2):
        if _log_disconnected(num_clients, degree, corrupt + dropped) >= -(
            security_bits + 1
        ) * np.log(2):
            continue
        likely = _most(num_clients, corrupt, degree, per_client)
        threshold = _threshold(degree, likely, adversary)
        kept = degree - _most(num_clients, dropped, degree, 2.0**-correctness_bits / num_clients)
        if threshold <= kept:
            return Parameters(degree, threshold)
    degree = num_clients - 1
    threshold = _threshold(degree, min(corrupt, degree), adversary)
    if threshold > degree - dropped:
        raise ValueError(
            f"SecAgg+ has no graph for {num_clients} clients of which {corrupt} may be corrupt and "
            f"{dropped} may drop out ({adversary}): use more clients, lower rates, or "
            f"--secure_sum=secagg."
        )
    return Parameters(degree, threshold)


def most(rate: float, num_clients: int) -> int:
    """At most so many clients are meant by a rate."""
    # Rates such as 0.1 are not exact in binary; what is rounded must be rounded against us.
    return int(np.floor((rate + 1e-14) * num_clients))


def _threshold(degree: int, corrupt: int, adversary: Adversary) -> int:
    least = corrupt if adversary == "semi_honest" else (degree + corrupt) // 2
    # A threshold of 1 would be a secret told to each neighbour.
    return max(least + 1, 2)


def _log_disconnected(num_clients: int, degree: int, bad: int) -> float:
    """Logarithm of a bound on the probability that `bad` random clients cut the graph.

    To cut a Harary graph takes k / 2 clients in a row, at two places of the ring.
    """
    places = num_clients * (num_clients - degree - 1) / 2
    return np.log(places) + stats.hypergeom.logpmf(degree, num_clients, bad, degree)


def _most(num_clients: int, marked: int, degree: int, probability: float) -> int:
    """The least m with Pr[more than m of a client's neighbours are marked] < probability."""
    mass = stats.hypergeom.pmf(np.arange(degree + 1), num_clients, marked, degree)
    at_least = np.cumsum(mass[::-1])[::-1]
    return int(np.count_nonzero(at_least[1:] >= probability))


def neighbours(
    clients: Sequence[int], degree: int, permutation: Sequence[int]
) -> dict[int, list[int]]:
    """The Harary graph.

    Args:
        clients: Their numbers.
        degree: k; the complete graph where there are no more than k other clients.
        permutation: Of range(len(clients)).

    Returns:
        Client -> its neighbours, ascending.
    """
    ring = [clients[i] for i in permutation]
    size = len(ring)
    if degree >= size - 1:
        return {client: sorted(set(ring) - {client}) for client in ring}
    half = range(1, degree // 2 + 1)
    return {
        ring[i]: sorted(ring[(i + sign * step) % size] for step in half for sign in (1, -1))
        for i in range(size)
    }
