"""Clients whose test data are their own, runs of the loop, and evaluations of personal models."""

import dataclasses

import numpy as np
from algorithm_helpers import CLIENTS, make, squared_error

from tff_experiments import records, training
from tff_experiments.aggregation import mean, secure_mean
from tff_experiments.algorithms import ingredients, optimizers
from tff_experiments.datasets import federated_data
from tff_experiments.runtime import clients


def divided(data):
    """The same clients, every fourth of their training examples taken for their test."""

    def take(is_taken):
        parts = [data.train.examples(name) for name in data.train.client_ids]
        taken = [{n: c[is_taken(np.arange(len(c)))] for n, c in part.items()} for part in parts]
        columns = {n: np.concatenate([part[n] for part in taken]) for n in taken[0]}
        counts = [len(part["labels"]) for part in taken]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return federated_data.ClientExamples(data.train.client_ids, columns, offsets)

    return dataclasses.replace(
        data, train=take(lambda i: i % 4 != 3), test=take(lambda i: i % 4 == 3)
    )


def of_task(task, *, learning_rate=0.1, **changes):
    """Ingredients of a task: SGD at clients, SGD with 1 at the server, the mean."""
    made = ingredients.Ingredients(
        model_fn=task.model_fn,
        client_optimizer=optimizers.build(optimizers.Hparams(learning_rate=learning_rate)),
        server_optimizer=optimizers.build(optimizers.Hparams()),
        aggregator=mean.build(mean.Hparams()),
    )
    return dataclasses.replace(made, **changes)


def secure(**changes):
    """Ingredients of the problem of two weights under secure sums that only round: two clients' 20
    bits of at most 2 * 91, of a weight of 5 or more, are 2e-4 * 2 / 2 / 5 apart from their sum.
    """
    hparams = secure_mean.Hparams(clipping=False, zeroing=False)
    made = make(aggregator=secure_mean, **changes)
    return dataclasses.replace(made, aggregator=secure_mean.build(hparams))


ROUNDED = 1e-4  # Three rounds of it, which training shrinks rather than grows.


def train(path, process, task, data, hparams, runtime, **kwargs):
    """Trains; returns the last state and the rows of metrics, but for times and memory."""
    folder = records.RunFolder(path)
    try:
        state = training.train(process, task, data, hparams, folder, runtime=runtime, **kwargs)
    finally:
        folder.close()
    rows = [
        {k: v for k, v in row.items() if not k.startswith(("seconds/", "memory/"))}
        for row in records.read_metrics(path)
    ]
    return state, rows


def per_example(y, output):
    """The metrics of the problem of two weights."""
    return {"loss": squared_error(y, output)}


def bits(states):
    """{client: its state's bytes}, of clients' flat states."""
    return {name: [np.asarray(x).tobytes() for x in leaves] for name, leaves in states.items()}


def own(leaves):
    """The model [w, b] of a client's flat state, float64, and the rounds that trained it."""
    return np.array([float(np.ravel(leaf)[0]) for leaf in leaves[:2]]), int(leaves[2])


class Given:
    """Gives clients states, and takes what their evaluation gives."""

    def __init__(self, states):
        self._states = states
        self.taken = {}

    def get(self, client):
        """A client's state."""
        return self._states[client]

    def put(self, client, leaves):
        """Takes (sums of the global model's, of the client's own, number of examples)."""
        self.taken[client] = leaves


def evaluate(context, process, state, *, train_data=None, test_data=None, states=None, **hparams):
    """Evaluates the clients of the problem of two weights.

    Returns:
        {client: (global loss, own loss), means over its test data}.
    """
    train_data = train_data or CLIENTS
    test_data = test_data or CLIENTS
    built = process.build_personal_evaluation(
        per_example=per_example, **{"epochs": 1, "learning_rate": 0.0} | hparams
    )
    given = Given(states)
    inputs = [
        clients.ClientInputs(batches, extras={"test": test_data[name]}, client=name)
        for name, batches in train_data.items()
    ]
    context.next(built, built.begin(state), inputs, seed=0, round_num=1, client_states=given)
    return {
        name: (float(ours[0] / n), float(own[0] / n))
        for name, (ours, own, n) in given.taken.items()
    }
