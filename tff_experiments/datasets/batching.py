"""From a client's examples to its batches: shuffle, cap, repeat, batch, as arrays and as a
`tf.data.Dataset`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Batches(NamedTuple):
    """What one client trains on in one round: batch b is the rows order[bounds[b]:bounds[b + 1]] of
    its examples.
    """

    examples: dict[str, np.ndarray]  # Field name -> [num_examples, ...], as the data set keeps it.
    order: np.ndarray  # int32 [epochs * kept examples]
    bounds: np.ndarray  # int32 [num_batches + 1]
    preprocess: Callable[[dict], Any]  # In TensorFlow: columns of rows -> (x, y), row by row.


def make(
    examples: dict[str, np.ndarray],
    *,
    batch_size: int,
    epochs: int,
    max_examples: int,
    preprocess: Callable[[dict], Any],
    rng: np.random.Generator,
) -> Batches:
    """Shuffles each epoch anew. A batch never holds examples of two epochs, so an epoch's last one
    may be smaller.

    Args:
        examples: Field name -> array [n, ...].
        batch_size: Examples per batch, 0 for one batch of all (B = infinity in McMahan et al.
            2017).
        epochs: Passes over the examples.
        max_examples: Keeps a random subset of so many, 0 for all.
        preprocess: Turns columns of rows into (x, y), in TensorFlow, each row by itself.
        rng: What shuffles.

    Returns:
        The `Batches`.
    """
    n = len(next(iter(examples.values())))
    kept = rng.permutation(n)[: max_examples or n]
    size = batch_size or max(len(kept), 1)
    order = np.concatenate([kept, *(rng.permutation(kept) for _ in range(epochs - 1))])
    starts = np.concatenate(
        [epoch * len(kept) + np.arange(0, len(kept), size) for epoch in range(epochs)]
    )
    bounds = np.append(starts, len(order))
    return Batches(examples, order.astype(np.int32), bounds.astype(np.int32), preprocess)


def in_order(
    examples: dict[str, np.ndarray], *, batch_size: int, preprocess: Callable[[dict], Any]
) -> Batches:
    """One pass over the examples as they stand; arguments as in `make`."""
    n = len(next(iter(examples.values())))
    bounds = np.append(np.arange(0, n, batch_size or max(n, 1)), n)
    return Batches(examples, np.arange(n, dtype=np.int32), bounds.astype(np.int32), preprocess)


def as_dataset(batches: Batches) -> tf.data.Dataset:
    """The batches as a dataset, each preprocessed."""
    examples = {name: tf.constant(column) for name, column in batches.examples.items()}
    order = tf.constant(batches.order)

    def batch(start, end):
        rows = order[start:end]
        columns = {name: tf.gather(column, rows) for name, column in examples.items()}
        return batches.preprocess(columns)

    return tf.data.Dataset.from_tensor_slices((batches.bounds[:-1], batches.bounds[1:])).map(batch)
