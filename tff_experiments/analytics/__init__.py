"""Federated computations that are not models, one query a file.

Each has `Hparams` and `build(hparams, values, *, private) -> query`, where `private` says whether
noise is asked for. A query has

    bounds          of the vector that a client sends (`sums.Bounds`), which is all that noise knows
    rounds          how many rounds it takes; 0 for as many as are asked for
    refuses         why it can't be had under noise; "" where it can
    process(sum)    the TFF process, around a `sums.Sum`: (state, values) -> (state, result)
    client_value(client, rng)       what a client brings to a round
    is_done(state)                  whether more rounds would add nothing
    answer(state, results, sum)     the `answers.Answer` after some rounds
"""

from tff_experiments.analytics import count, histogram, iblt, mean, quantile, trie_hh

BY_NAME = {
    "count": count,
    "mean": mean,
    "histogram": histogram,
    "quantile": quantile,
    "iblt": iblt,
    "trie_hh": trie_hh,
}
