"""Protocols that sum integer vectors, one protocol a file.

Each has `Hparams` and `build(hparams)`:

    sum_of = build(hparams).start(segments, {client: stage at which it drops, or ""})
    sum_of.add(client, vector)      # for each client that is left, from any thread
    total = sum_of.finish()         # or AbortedError

A protocol knows vectors of integers, one per client, and moduli; it knows nothing of models, and
nothing of TensorFlow.
"""

from tff_experiments.secure_sum import (
    bfv,
    ckks,
    paillier,
    plain,
    secagg,
    secagg_plus,
    threshold_bfv,
    threshold_ckks,
)

BY_NAME = {
    "plain": plain,
    "secagg": secagg,
    "secagg_plus": secagg_plus,
    "bfv": bfv,
    "ckks": ckks,
    "paillier": paillier,
    "threshold_bfv": threshold_bfv,
    "threshold_ckks": threshold_ckks,
}
