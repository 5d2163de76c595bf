"""Weights -> metrics on the test set, as one set and client by client."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.datasets import federated_data
from tff_experiments.tasks import task as task_lib

BATCH_SIZE = 512
# As many on any machine: last bits depend on it, where sessions have threads of their own (see
# `runtime.sessions`).
_THREADS = 8


class Evaluator:
    """Evaluates weights of a task's model on a split; the trace is made once.

    It lives in a graph of its own, out of reach of TFF, which may turn live Keras models into TF1
    models.
    """

    def __init__(self, task: task_lib.Task, split: federated_data.ClientExamples):
        """Prepares the split; the first call traces the model."""
        self._task = task
        self._split = split
        self._graph = tf.Graph()
        self._session = None

    def _build(self):
        columns = self._split.all()
        with self._graph.as_default():
            model = self._task.keras_model()
            self._columns = {
                name: tf.compat.v1.placeholder(c.dtype, [None, *c.shape[1:]])
                for name, c in columns.items()
            }
            x, y = self._task.preprocess(self._columns)
            self._per_example = self._task.per_example(y, model(x, training=False))
            self._variables = [*model.trainable_variables, *model.non_trainable_variables]
            self._values = [tf.compat.v1.placeholder(v.dtype, v.shape) for v in self._variables]
            pairs = zip(self._variables, self._values, strict=True)
            self._assign = [variable.assign(value) for variable, value in pairs]
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=_THREADS)
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)

    def per_example(self, weights: tff.learning.models.ModelWeights) -> dict[str, np.ndarray]:
        """Each metric of each example, {metric: float32 [all examples]}, client after client."""
        if self._session is None:
            self._build()
        values = [*weights.trainable, *weights.non_trainable]
        self._session.run(self._assign, dict(zip(self._values, values, strict=True)))
        columns = self._split.all()
        parts = []
        for start in range(0, self._split.total, BATCH_SIZE):
            feed = {
                self._columns[name]: c[start : start + BATCH_SIZE] for name, c in columns.items()
            }
            parts.append(self._session.run(self._per_example, feed))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def __call__(
        self, weights: tff.learning.models.ModelWeights, *, clients: bool
    ) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Metrics of the whole set, and with `clients` their spread over clients.

        Args:
            weights: The model's weights.
            clients: Adds `clients/<metric>/...`, see `spread`, and each client's metrics.

        Returns:
            {metric: value}, and of each client `test/<metric>`, see `by_client`; without
            `clients` {}.
        """
        per_example = self.per_example(weights)
        metrics = {
            name: float(np.mean(values, dtype=np.float64)) for name, values in per_example.items()
        }
        if not clients:
            return metrics, {}
        held = self._split.counts > 0
        starts, counts = self._split.offsets[:-1][held], self._split.counts[held]
        of_clients = {
            name: np.add.reduceat(values.astype(np.float64), starts) / counts
            for name, values in per_example.items()
        }
        names = [self._split.client_ids[i] for i in np.flatnonzero(held)]
        tests = {f"test/{name}": values for name, values in of_clients.items()}
        return metrics | spreads("clients", of_clients), by_client(names, counts, tests)


def by_client(
    clients: Sequence[str], examples: np.ndarray, of_clients: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float]]:
    """Metrics client by client.

    Args:
        clients: The clients' names.
        examples: How many test examples each has, [clients].
        of_clients: {metric: each client's, float [clients]}.

    Returns:
        {client: {"examples": how many, metric: value}}.
    """
    columns = {"examples": np.asarray(examples, np.int64), **of_clients}
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return {
        client: dict(zip(columns, row, strict=True))
        for client, row in zip(clients, rows, strict=True)
    }


def spreads(prefix: str, of_clients: Mapping[str, np.ndarray]) -> dict[str, float]:
    """How metrics are spread over clients.

    Args:
        prefix: What the names begin with.
        of_clients: {metric: each client's, [clients]}.

    Returns:
        {prefix/metric/...: value}, see `spread`.
    """
    return {
        f"{prefix}/{name}/{key}": value
        for name, values in of_clients.items()
        for key, value in spread(values, small_is_bad=name == "accuracy").items()
    }


def spread(values: np.ndarray, *, small_is_bad: bool) -> dict[str, float]:
    """How a metric is spread over clients, each client counting the same.

    Args:
        values: The metric of each client, [clients].
        small_is_bad: Whether the worst clients are those with the smallest values.

    Returns:
        `mean`, `p10` and `p90` (percentiles), and `worst_decile`, the mean over the worst tenth (at
        least one client).
    """
    ordered = np.sort(values) if small_is_bad else np.sort(values)[::-1]
    return {
        "mean": float(np.mean(values)),
        "p10": float(np.percentile(values, 10)),
        "p90": float(np.percentile(values, 90)),
        "worst_decile": float(np.mean(ordered[: max(1, len(values) // 10)])),
    }
