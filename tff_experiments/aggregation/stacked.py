"""Aggregators that need each client's update by itself: the server keeps them as rows of a matrix.

Order statistics and distances between clients are no sums, so that memory grows with the cohort:
clients times model, and about three times that while groups of clients are merged.

Rows are put together by concatenation, since a process does not know how many clients a round has:
an accumulator of a known size would have to be as large as the largest cohort.

Left out of the matrix, and counted: a client whose weight is 0, which is how TFF marks an update
that was not finite or had no examples, and an update that is not finite all the same, or whose
weight is not: an attack.
"""

import collections
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.aggregation import flat

# (rows [clients, d], weights [clients]), all finite, weights > 0, at least one client
# -> (the aggregate [d], measurements: numbers).
Rule = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, Mapping[str, tf.Tensor]]]
_PIECES = 32


class StackedFactory(tff.aggregators.WeightedAggregationFactory):
    """Makes the aggregation process of a rule.

    Its measurements: `clients` (rows of the matrix), `non_finite` and `without_weight` (clients
    that were left out), and the rule's own. Without rows the aggregate and these are 0.
    """

    def __init__(self, rule: Rule):
        """Takes the rule."""
        self._rule = rule

    def create(
        self, value_type: tff.Type, weight_type: tff.Type
    ) -> tff.templates.AggregationProcess:
        """Makes the process for a structure of float tensors; raises TypeError for others."""
        layout = flat.Flat(value_type)
        stack_type = _stack_type(layout)

        @tff.tensorflow.computation
        def zero():
            return _stack(tf.zeros([0, layout.size], layout.dtype), tf.zeros([0]), 0, 0)

        @tff.tensorflow.computation(stack_type, (value_type, weight_type))
        def accumulate(stack, client):
            return _append(stack, layout.flatten(client[0]), client[1])

        @tff.tensorflow.computation(stack_type, stack_type)
        def merge(first, second):
            return _merge(first, second)

        @tff.tensorflow.computation(stack_type)
        def report(stack):
            vector, measurements = self._report(stack)
            return layout.unflatten(vector), measurements

        @tff.federated_computation
        def initialize():
            return tff.federated_value((), tff.SERVER)

        @tff.federated_computation(
            initialize.type_signature.result,
            tff.FederatedType(value_type, tff.CLIENTS),
            tff.FederatedType(weight_type, tff.CLIENTS),
        )
        def next_fn(state, value, weight):
            sent = tff.federated_zip((value, weight))
            result = tff.federated_aggregate(sent, zero(), accumulate, merge, report)
            return tff.templates.MeasuredProcessOutput(state, result[0], result[1])

        return tff.templates.AggregationProcess(initialize, next_fn)

    def _report(self, stack):
        count = tf.shape(stack["rows"])[0]
        # Nobody is one client who sends 0: rules need not know of empty cohorts.
        size = stack["rows"].shape[1]
        one = lambda: (tf.zeros([1, size], stack["rows"].dtype), tf.ones([1]))
        rows, weights = tf.cond(count > 0, lambda: (stack["rows"], stack["weights"]), one)
        vector, measured = self._rule(rows, weights)
        measurements = collections.OrderedDict(clients=count)
        for name in ("non_finite", "without_weight"):
            measurements[name] = stack[name]
        for name, value in measured.items():
            measurements[name] = value * tf.cast(count > 0, value.dtype)
        return vector, measurements


def _stack(rows, weights, non_finite, without_weight):
    return collections.OrderedDict(
        rows=rows, weights=weights, non_finite=non_finite, without_weight=without_weight
    )


def _stack_type(layout: flat.Flat) -> tff.Type:
    rows = tff.TensorType(layout.type.dtype, [None, layout.size])
    weights = tff.TensorType(np.float32, [None])
    return tff.to_type(_stack(rows, weights, np.int32, np.int32))


def _append(stack, row: tf.Tensor, weight: tf.Tensor):
    weight = tf.cast(weight, tf.float32)
    finite = tf.reduce_all(tf.math.is_finite(row)) & tf.math.is_finite(weight)
    weighs = finite & (weight > 0)
    kept = tf.cast(weighs, tf.int32)
    return _stack(
        tf.concat([stack["rows"], row[tf.newaxis][:kept]], 0),
        tf.concat([stack["weights"], weight[tf.newaxis][:kept]], 0),
        stack["non_finite"] + tf.cast(~finite, tf.int32),
        stack["without_weight"] + tf.cast(finite & ~weighs, tf.int32),
    )


def _merge(first, second):
    return _stack(
        tf.concat([first["rows"], second["rows"]], 0),
        tf.concat([first["weights"], second["weights"]], 0),
        first["non_finite"] + second["non_finite"],
        first["without_weight"] + second["without_weight"],
    )


def pieces(rows: tf.Tensor) -> list[tf.Tensor]:
    """Some columns each, so that what is made of them needs little memory beside the matrix."""
    width = max(-(-rows.shape[1] // _PIECES), 1)
    return [rows[:, start : start + width] for start in range(0, rows.shape[1], width)]


def order_statistic(columns: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    """The n-th smallest, from 0, of each row of [d, clients]."""
    return tf.raw_ops.NthElement(input=columns, n=n)


def gram(rows: tf.Tensor) -> tf.Tensor:
    """The rows' inner products, float64 [clients, clients].

    Differences of near squares follow, and an attacker's may be 1e38 times as large as the rest.
    """
    products = []
    for piece in pieces(rows):
        wide = tf.cast(piece, tf.float64)
        products.append(tf.matmul(wide, wide, transpose_b=True))
    return tf.add_n(products)


def squared_distances(products: tf.Tensor) -> tf.Tensor:
    """||row_i - row_j||^2 of rows with these inner products, float64 [clients, clients]."""
    squares = tf.linalg.diag_part(products)
    return tf.maximum(squares[:, tf.newaxis] + squares - 2 * products, 0.0)


def fraction(rows: tf.Tensor, share: float) -> tf.Tensor:
    """floor(share clients), int32."""
    # 0.29 * 100 is a little less than 29.
    return tf.cast(tf.floor(share * tf.cast(tf.shape(rows)[0], tf.float64) + 1e-6), tf.int32)
