"""A problem of two weights, on which algorithms are compared with numpy in float64."""

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.aggregation import mean, secure_mean
from tff_experiments.algorithms import ingredients
from tff_experiments.runtime import clients

FIRST = np.array([0.5, -0.25])  # w and b of y = w x + b.
RATE = 0.1
SGD = tff.learning.optimizers.build_sgdm


def model_fn():
    """Linear regression, mean squared error, first weights `FIRST`."""
    constant = tf.keras.initializers.Constant
    layer = tf.keras.layers.Dense(
        1, kernel_initializer=constant(FIRST[0]), bias_initializer=constant(FIRST[1])
    )
    model = tf.keras.Sequential([tf.keras.Input((1,)), layer])
    spec = (tf.TensorSpec([None, 1], tf.float32), tf.TensorSpec([None, 1], tf.float32))
    return tff.learning.models.from_keras_model(
        model, input_spec=spec, loss=tf.keras.losses.MeanSquaredError()
    )


def squared_error(y, output):
    """The loss of each example."""
    return tf.reduce_mean((y - output) ** 2, -1)


def make(*, aggregator=mean, aggregator_hparams=None, **changes):
    """Ingredients of the problem: SGD with `RATE` at clients, SGD with 1 at the server."""
    made = ingredients.Ingredients(
        model_fn=model_fn,
        client_optimizer=SGD(RATE),
        server_optimizer=SGD(1.0),
        aggregator=aggregator.build(aggregator_hparams or aggregator.Hparams()),
        metrics_aggregator=aggregator.METRICS_AGGREGATOR,
        secure=aggregator is secure_mean,
        num_clients=3,
        clients_per_round=2,
        num_classes=4,
        per_example_loss=squared_error,
    )
    return dataclasses.replace(made, **changes)


def client_batches(seed, sizes, *, slope=1.0, offset=0.0):
    """Batches of one client, float32 pairs [b, 1]: points near a line."""
    rng = np.random.default_rng(seed)
    batches = []
    for size in sizes:
        x = rng.normal(size=(size, 1)).astype(np.float32)
        y = (slope * x + offset + 0.1 * rng.normal(size=(size, 1))).astype(np.float32)
        batches.append((x, y))
    return batches


# Heterogeneous in lines, in sizes and in numbers of batches.
CLIENTS = {
    "a": client_batches(1, [2, 3], slope=1.0, offset=0.5),
    "b": client_batches(2, [4], slope=-0.5, offset=1.0),
    "c": client_batches(3, [1, 2, 2], slope=2.0, offset=-1.0),
}
COHORTS = [("a", "b"), ("b", "c"), ("a", "c")]  # Nobody is in all of the rounds.


class MemoryStates(dict):
    """Clients' states in memory, flat; `get` gives them nested."""

    def __init__(self, first):
        super().__init__()
        self.first = first

    def get(self, client):
        """A client's state, or the first one."""
        if client not in self:
            return self.first
        return tf.nest.pack_sequence_as(self.first, self[client])

    def put(self, client, leaves):
        """Takes a new state."""
        self[client] = leaves


def run(context, process, cohorts=COHORTS, data=None, extras=None):
    """Runs rounds; returns (weights float64 [2], last metrics, clients' states) after each."""
    data = data or CLIENTS
    states = None
    if process.client_state is not None:
        states = MemoryStates(process.client_state)
    state, seen = process.initialize(), []
    for round_num, cohort in enumerate(cohorts, 1):
        inputs = [
            clients.ClientInputs(data[name], extras=(extras or {}).get(name, ()), client=name)
            for name in cohort
        ]
        output, _ = context.next(
            process, state, inputs, seed=0, round_num=round_num, client_states=states
        )
        state = output.state
        seen.append((weights_of(process, state), output.metrics, dict(states or {})))
    return seen


def weights_of(process, state):
    """[w, b], float64."""
    leaves = tf.nest.flatten(process.get_model_weights(state))
    return np.array([float(np.ravel(leaf)[0]) for leaf in leaves[:2]])


def gradient(weights, batch):
    """Of the mean squared error, float64 [2]."""
    x, y = (column.astype(float).ravel() for column in batch)
    error = weights[0] * x + weights[1] - y
    return np.array([np.mean(2 * error * x), np.mean(2 * error)])


def loss(weights, batches):
    """Mean squared error over all of a client's examples."""
    errors = [weights[0] * x.astype(float) + weights[1] - y for x, y in batches]
    return float(np.mean(np.concatenate(errors) ** 2))


def local_sgd(weights, batches, *, rate=RATE, correct=lambda g, w: g):
    """A client's training: one pass of SGD; `correct(gradient, weights)` changes gradients."""
    weights = np.float64(weights)
    for batch in batches:
        weights = weights - rate * correct(gradient(weights, batch), weights)
    return weights


def num_examples(batches):
    """Of a client."""
    return sum(len(x) for x, _ in batches)
