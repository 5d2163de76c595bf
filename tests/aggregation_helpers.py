"""What tests of aggregators share: one of them on our runtime, on rows of numbers."""

import collections

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.runtime import local

WEIGHT = tff.TensorType(np.float32)
SIZE = 201
STRUCT = tff.to_type(
    collections.OrderedDict(w=tff.TensorType(np.float32, [40, 5]), b=tff.TensorType(np.float32, []))
)


def as_struct(row):
    """A row [201] as a value of STRUCT."""
    row = np.asarray(row, np.float32)
    return collections.OrderedDict(w=row[:200].reshape(40, 5), b=row[200])


def as_row(value):
    """The reverse."""
    return np.concatenate([np.ravel(value["w"]), np.ravel(value["b"])]).astype(np.float64)


class Aggregation:
    """Rounds of an aggregator; keeps its state, its last measurements and how the round went."""

    def __init__(self, factory, *, value_type=STRUCT, seed=0, workers=0):
        process = factory.create(value_type, WEIGHT)

        @tff.federated_computation(
            process.initialize.type_signature.result,
            tff.FederatedType(tff.to_type((value_type, WEIGHT)), tff.CLIENTS),
        )
        def next_fn(state, client):
            output = process.next(state, client[0], client[1])
            return output.state, (output.result, output.measurements)

        self._next = next_fn
        self._context = local.Context(local.Hparams(client_workers=workers), seed=seed)
        with tff.framework.get_context_stack().install(self._context):
            self.state = process.initialize()

    def values(self, values, weights=None):
        """A round of values of the type."""
        weights = np.ones(len(values), np.float32) if weights is None else np.float32(weights)
        with tff.framework.get_context_stack().install(self._context):
            clients = list(zip(values, weights, strict=True))
            self.state, (result, self.measured) = self._next(self.state, clients)
        self.round = self._context.last_round
        return result

    def rows(self, rows, weights=None):
        """A round of rows, float [clients, 201]; returns a row, float64."""
        return as_row(self.values([as_struct(row) for row in rows], weights))


def aggregate(module, rows, weights=None, **hparams):
    """(row, measurements) of one round of a plug-in."""
    aggregation = Aggregation(module.build(module.Hparams(**hparams)))
    return aggregation.rows(rows, weights), aggregation.measured


def draw(clients, *, seed=0):
    """Honest updates: alike, as those of clients with one model are, float32 [clients, 201]."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal(SIZE)
    return (common + 0.5 * rng.standard_normal((clients, SIZE))).astype(np.float32)


ATTACKS = {
    "large": lambda rows: np.full_like(rows, 1e6),
    "largest": lambda rows: np.full_like(rows, 3e38),
    "both_signs": lambda rows: 1e6 * (-1.0) ** np.arange(rows.size).reshape(rows.shape),
    "flipped": lambda rows: -10 * rows,
    "nan": lambda rows: np.full_like(rows, np.nan),
    "one_inf": lambda rows: np.where(np.arange(rows.shape[1]) == 7, np.inf, rows),
    "mixed": lambda rows: np.where(np.arange(len(rows))[:, None] % 2, np.nan, 0 * rows - 1e6),
}


def attacked(rows, attackers, attack):
    """The rows with the first ones replaced by an attack's."""
    return np.concatenate([ATTACKS[attack](rows[:attackers]), rows[attackers:]]).astype(np.float32)


def encode_often(codec, vector, times):
    """What a server decodes of one vector, float64 [times, size], each message drawn anew."""

    @tf.function
    def once(x):
        return codec.decode(codec.encode(x))

    vector = tf.constant(vector, tf.float32)
    return np.array([once(vector) for _ in range(times)], np.float64)
