"""Which clients take part in a round: a function of (seed, round), never of the rounds before.

uniform      so many, without replacement
poisson      each with probability so many / all, independently: cohorts vary, and may be empty
round_robin  a fixed shuffled order, taken in turn: any two rounds with the same client are at least
             floor(all / so many) apart (the min-separation that matrix-factorisation DP wants)
weighted     so many, without replacement, drawn one after another in proportion to their examples
"""

from collections.abc import Sequence

import numpy as np

_PURPOSE_SAMPLE, _PURPOSE_SHUFFLE = 0, 1
_PURPOSE_SUBSET, _PURPOSE_STREAM = 6, 7  # 2 to 5 are those of `clients`.


def uniform(counts, num_clients, rng, round_num):
    """Draws without replacement."""
    del round_num
    return rng.choice(len(counts), num_clients, replace=False)


def poisson(counts, num_clients, rng, round_num):
    """Flips a coin for each client."""
    del round_num
    return np.flatnonzero(rng.random(len(counts)) < num_clients / len(counts))


def weighted(counts, num_clients, rng, round_num):
    """Draws in proportion to the clients' numbers of examples."""
    del round_num
    return rng.choice(len(counts), num_clients, replace=False, p=counts / counts.sum())


def round_robin(counts, num_clients, rng, round_num):
    """Takes the next so many of a shuffled circle; `rng` must be the same in all rounds."""
    circle = rng.permutation(len(counts))
    start = (round_num - 1) * num_clients
    return circle[np.arange(start, start + num_clients) % len(counts)]


BY_NAME = {"uniform": uniform, "poisson": poisson, "round_robin": round_robin, "weighted": weighted}


def sample(
    counts: np.ndarray, num_clients: int, *, how: str, seed: int, round_num: int, draw: int = 0
) -> np.ndarray:
    """Draws a round's clients.

    Args:
        counts: Examples per client, int [all clients].
        num_clients: How many to draw; the expectation under "poisson".
        how: A key of `BY_NAME`.
        seed: The run's seed.
        round_num: The round, from 1.
        draw: Which of the round's draws it is, where it has several.

    Returns:
        Positions of the clients, int64 [cohort].

    Raises:
        ValueError: More clients are asked for than there are, or an unknown `how`.
    """
    if how not in BY_NAME:
        raise ValueError(f"client_sampling must be one of {sorted(BY_NAME)}, got {how!r}.")
    if not 0 < num_clients <= len(counts):
        raise ValueError(
            f"clients_per_round must be in 1 .. {len(counts)}, the number of clients in the "
            f"data, got {num_clients}."
        )
    shared = how == "round_robin"
    entropy = [seed, 0 if shared else round_num, _PURPOSE_SAMPLE, *([draw] if draw else [])]
    rng = np.random.default_rng(np.random.SeedSequence(entropy))
    return BY_NAME[how](np.asarray(counts), num_clients, rng, round_num).astype(np.int64)


def client_rng(seed: int, round_num: int, client: int) -> np.random.Generator:
    """What shuffles the examples of one client (its position in the data) in one round."""
    return np.random.default_rng(
        np.random.SeedSequence([seed, round_num, _PURPOSE_SHUFFLE, client])
    )


def subset(names: Sequence[str], num: int, *, seed: int) -> list[str]:
    """The same `num` of some names in all rounds of a run, in their order; all where `num` is 0 or
    there are no more.
    """
    if not 0 < num < len(names):
        return list(names)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 0, _PURPOSE_SUBSET]))
    return [names[i] for i in np.sort(rng.choice(len(names), num, replace=False))]


def stream(total: int, num: int, *, seed: int, round_num: int) -> np.ndarray:
    """A round's rows of an endless stream that goes through all rows before it takes any again.

    Args:
        total: How many rows there are.
        num: How many a round takes.
        seed: The run's seed.
        round_num: The round, from 1.

    Returns:
        int64 [num]; each pass through the rows has an order of its own.
    """
    start = (round_num - 1) * num
    passes = range(start // total, (start + num - 1) // total + 1)
    orders = [
        np.random.default_rng(np.random.SeedSequence([seed, i, _PURPOSE_STREAM])).permutation(total)
        for i in passes
    ]
    first = start - passes[0] * total
    return np.concatenate(orders)[first : first + num]
