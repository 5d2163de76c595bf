"""How well clients are served by models of their own, as a TFF process that changes nothing.

    w_k = personalize(model, received, client)   from the client's training data and its state
    on the client's own test data:  metrics of w_k, and of the global model beside them

Algorithms say how in `rules.Rules.personalize`. The default is fine-tuning: w_k is what some epochs
of the client optimizer make of the global model (Wang et al. 2019, "Federated evaluation of
on-device personalization", https://arxiv.org/abs/1910.10252), as in
`tff.learning.algorithms.build_personalization_eval_computation`. A client's metrics stay with the
client like its state: nothing is aggregated, and the runtime hands them out by client.
"""

import collections
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.algorithms import client_side, local_training
from tff_experiments.algorithms import ingredients as ingredients_lib
from tff_experiments.algorithms import rules as rules_lib

TEST = "test"  # Of the extras: a client's test data.


class Begun(NamedTuple):
    """What an evaluation needs of a process' state."""

    evaluated: rules_lib.Weights  # The global model.
    weights: rules_lib.Weights
    round_num: Any  # int32 []
    algorithm: Any


class Measured(NamedTuple):
    """What one client's evaluation gives."""

    global_on_same: Any  # Sums over its test examples, float64 [metrics].
    personal: Any  # float64 [metrics]
    num_examples: Any  # int64 []


class Process:
    """`next(begun, clients) -> (begun, metrics)`, clients <data, <test data[, state]>>. What
    clients keep of it are the leaves of `Measured`.
    """

    def __init__(self, next_fn, metrics: list[str], begin: Callable[[rules_lib.State], Begun]):
        """Takes the computation, the metrics' names, and what makes its state of a training
        process' state.
        """
        self.next, self.metrics, self.begin = next_fn, metrics, begin


def build(
    ingredients: ingredients_lib.Ingredients,
    rules: rules_lib.Rules,
    *,
    prepare: Callable,
    begun_type: tff.StructType,
    data_type: tff.SequenceType,
    client_state: Any,
    per_example: Callable[[tf.Tensor, tf.Tensor], dict[str, tf.Tensor]],
    epochs: int,
    learning_rate: float,
) -> Process:
    """Builds the evaluation of a training process' clients.

    Args:
        ingredients: What the training process is built from.
        rules: Its algorithm.
        prepare: (weights, round_num, algorithm's state) -> Received.
        begun_type: Has the types of `weights`, `round_num` and `algorithm`.
        data_type: Of a client's training and of its test data.
        client_state: A client's first state, None where clients keep none.
        per_example: (y, output) -> {metric: float32 [b]}.
        epochs: Passes over the training data in fine-tuning; 0 leaves the global model.
        learning_rate: Of fine-tuning; 0 is the clients' own, as scheduled for the next round.

    Returns:
        The `Process`.
    """
    names = _metric_names(ingredients, per_example)
    personalize = rules.personalize or _fine_tuning(ingredients, epochs, learning_rate)
    weights_type = begun_type["weights"]
    state_type = tff.types.to_type(
        Begun(weights_type, weights_type, begun_type["round_num"], begun_type["algorithm"])
    )

    @tff.tensorflow.computation(state_type)
    def send(begun):
        received = prepare(begun.weights, begun.round_num, begun.algorithm)
        return collections.OrderedDict(evaluated=begun.evaluated, received=received)

    client_type = client_side.with_extras(data_type, {TEST: data_type}, client_state)
    work = tff.tensorflow.computation(
        _build_work(ingredients, personalize, per_example, names),
        send.type_signature.result,
        client_type,
    )

    @tff.federated_computation(
        tff.FederatedType(state_type, tff.SERVER), tff.FederatedType(client_type, tff.CLIENTS)
    )
    def next_fn(begun, clients):
        received = tff.federated_broadcast(tff.federated_map(send, begun))
        measured = tff.federated_map(work, (received, clients))
        return begun, tff.federated_zip(collections.OrderedDict(none=client_side.keep(measured)))

    def begin(state: rules_lib.State) -> Begun:
        weights = state.global_model_weights
        return Begun(rules.evaluated(state), weights, state.round_num, state.algorithm)

    return Process(next_fn, names, begin)


def _metric_names(ingredients, per_example) -> list[str]:
    with tf.Graph().as_default():
        model = ingredients.model_fn()
        x, y = tf.nest.map_structure(
            lambda spec: tf.compat.v1.placeholder(spec.dtype, spec.shape), model.input_spec
        )
        return list(per_example(y, model.predict_on_batch(x, training=False)))


def _fine_tuning(ingredients, epochs: int, learning_rate: float) -> Callable:
    def personalize(model, received, client):
        hparams = collections.OrderedDict(received.hparams)
        if learning_rate:
            hparams["learning_rate"] = tf.constant(learning_rate)
        local_training.train(
            model,
            received.weights,
            client.data.repeat(epochs),
            optimizer=ingredients.client_optimizer,
            hparams=hparams,
        )
        return local_training.values(model)

    return personalize


def _build_work(ingredients, personalize, per_example, names) -> Callable:
    def measure(model, weights, data):
        variables = rules_lib.Weights.from_model(model)
        tf.nest.map_structure(lambda v, value: v.assign(value), variables, weights)
        sums, examples = tf.zeros([len(names)], tf.float64), tf.constant(0, tf.int64)
        for x, y in iter(data):
            values = per_example(y, model.predict_on_batch(x, training=False))
            columns = tf.stack([tf.cast(values[name], tf.float64) for name in names])
            sums += tf.reduce_sum(columns, 1)
            examples += tf.shape(columns, out_type=tf.int64)[1]
        return sums, examples

    def work(sent, value):
        model = ingredients.model_fn()

        @tf.function
        def run(sent, value):
            client = client_side.unpack(value)
            test = client.extras[TEST]
            own = personalize(model, rules_lib.Received(*sent["received"]), client)
            personal, num_examples = measure(model, own, test)
            global_on_same, _ = measure(model, sent["evaluated"], test)
            return Measured(global_on_same, personal, num_examples)

        return run(sent, value)

    return work
