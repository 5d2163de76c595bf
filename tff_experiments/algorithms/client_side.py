"""A client's part of a round: its type, its work, and what of it reaches the server."""

import collections
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.algorithms import ingredients as ingredients_lib
from tff_experiments.algorithms import rules as rules_lib
from tff_experiments.algorithms import server_step

CANARY = "canary"  # Of the extras: the seed of what a canary sends, 0 for all others.
ATTACK = "attack"  # Of the extras: what a client multiplies its updates by, 1 if it is honest.


def client_type(
    ingredients: ingredients_lib.Ingredients,
    rules: rules_lib.Rules,
    data_type: tff.SequenceType,
    client_state,
) -> tff.Type:
    """The data alone where a client gets nothing beside it, else <data, extras>."""
    extras = collections.OrderedDict(rules.extras)
    if ingredients.attacked:
        extras[ATTACK] = np.float32
    if ingredients.canary_norm:
        extras[CANARY] = np.int64
    return with_extras(data_type, extras, client_state)


def with_extras(data_type: tff.SequenceType, extras: dict, client_state) -> tff.Type:
    """<data, extras>, a state that clients keep (not None) among the extras; without any, the data
    alone.
    """
    extras = collections.OrderedDict(extras)
    if client_state is not None:
        spec = lambda array: tf.TensorSpec(array.shape, array.dtype)
        extras["state"] = tff.types.tensorflow_to_type(tf.nest.map_structure(spec, client_state))
    if not extras:
        return data_type
    # Containers: without, what is inside of them reaches the work without its own.
    return tff.types.to_type(collections.OrderedDict(data=data_type, extras=extras))


def build_work(
    ingredients: ingredients_lib.Ingredients, rules: rules_lib.Rules, largest: dict[str, float]
) -> Callable:
    """Makes the work: (received, client's value) -> {parts, totals, state, metrics}.

    Args:
        ingredients: What the process is built from.
        rules: The algorithm.
        largest: Is filled with the largest value of each total when the work is traced.
    """

    def work(received, value):
        model = ingredients.model_fn()

        @tf.function
        def run(received, value):
            client = unpack(value)
            result = rules.client_update(model, rules_lib.Received(*received), client)
            finite = server_step.all_finite((_pairs(result), _values(result), result.state))
            if tf.logical_not(finite):
                model.reset_metrics()
            factor = client.extras.get(ATTACK)
            if CANARY in client.extras:
                result = _with_canary(result, client.extras[CANARY], ingredients.canary_norm)
            sent = collections.OrderedDict(
                parts=collections.OrderedDict(
                    (name, _sent(part, finite, factor)) for name, part in result.parts.items()
                ),
                totals=collections.OrderedDict(
                    (name, _bounded(total, finite)) for name, total in result.totals.items()
                ),
                metrics=model.report_local_unfinalized_metrics(),
            )
            if rules.client_state is not None:
                choose = lambda new, old: tf.where(finite, new, old)
                sent["state"] = tf.nest.map_structure(choose, result.state, client.state)
            largest.update({name: total.largest for name, total in result.totals.items()})
            return sent

        return run(received, value)

    return work


def unpack(value) -> rules_lib.Client:
    """The client of a value of `client_type`."""
    if not isinstance(value, dict) or set(value) != {"data", "extras"}:
        return rules_lib.Client(value)
    extras = dict(value["extras"])
    return rules_lib.Client(value["data"], extras.pop("state", ()), extras)


def _with_canary(result, seed, norm: float):
    """A canary's update is a random direction, whatever it trained."""
    if "delta" not in result.parts:
        raise ValueError("--canary_count: this algorithm's clients send no update of the model.")
    delta = result.parts["delta"]
    # As a gradient: the server steps against it.
    choose = lambda canary, value: tf.where(seed > 0, -norm * canary, value)
    value = tf.nest.map_structure(choose, direction(delta.value, seed), delta.value)
    return result._replace(parts={**result.parts, "delta": delta._replace(value=value)})


def direction(like, seed: tf.Tensor):
    """A random direction of norm 1, uniform on the sphere.

    Args:
        like: A structure of float tensors: shapes and dtypes.
        seed: int64 [].

    Returns:
        The structure.
    """
    leaves = tf.nest.flatten(like)
    drawn = [
        tf.random.stateless_normal(tf.shape(x), tf.stack([seed, i]), alg="philox")
        for i, x in enumerate(map(tf.convert_to_tensor, leaves))
    ]
    length = tf.sqrt(tf.add_n([tf.reduce_sum(tf.square(x)) for x in drawn]))
    cast = [tf.cast(x / length, leaf.dtype) for x, leaf in zip(drawn, leaves, strict=True)]
    return tf.nest.pack_sequence_as(like, cast)


def _pairs(result):
    return [(part.value, part.weight) for part in result.parts.values()]


def _values(result):
    return [total.value for total in result.totals.values()]


def _sent(part: rules_lib.Part, finite, factor):
    zeroed = lambda x: tf.where(finite, x, tf.zeros_like(x))
    # An attacker sends what it likes, numbers that are not finite as well.
    attacked = zeroed if factor is None else lambda x: zeroed(x) * factor
    return collections.OrderedDict(
        value=tf.nest.map_structure(attacked, part.value), weight=zeroed(part.weight)
    )


def _bounded(total: rules_lib.Total, finite):
    largest = tf.cast(total.largest, total.value.dtype)
    clipped = tf.clip_by_value(total.value, tf.zeros_like(largest), largest)
    return tf.where(finite, clipped, tf.zeros_like(clipped))


def keep(values):
    """Lets what is the clients' own stand in a process though nobody gets it; gives 0."""
    zero = tff.tensorflow.computation(lambda: 0)
    ignore = tff.tensorflow.computation(
        lambda total, value: total, np.int32, values.type_signature.member
    )
    merge = tff.tensorflow.computation(lambda a, b: a, np.int32, np.int32)
    report = tff.tensorflow.computation(lambda total: total, np.int32)
    return tff.federated_aggregate(values, zero(), ignore, merge, report)
