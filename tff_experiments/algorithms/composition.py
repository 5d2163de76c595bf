"""One round of any algorithm, as a TFF process.

    received      = prepare(state)                              at the server
    result        = client_update(model, received, client)      at each client
    means, totals = one aggregator for each part of the results, sums of numbers beside them
    state         = server_update(state, means, totals)         at the server

It is `tff.learning.templates.compose_learning_process`, with what TFF's has no place for: parts
with weights of their own, and clients that get and keep something beside their data.

A client whose result is not finite sends zeros of weight 0 and keeps its state, as in TFF; a mean
that is not finite leaves the server as it was.
"""

import collections
import functools
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.algorithms import client_side, personalization, server_step
from tff_experiments.algorithms import ingredients as ingredients_lib
from tff_experiments.algorithms import rules as rules_lib


class Process(tff.templates.IterativeProcess):
    """`next(state, clients) -> (state, metrics)`.

    `pooled_examples` is None where rounds have sampled clients. Where all data are one client's it
    is how many of its examples a round uses, 0 for as many as a cohort has on average.
    """

    def __init__(
        self,
        initialize,
        next_fn,
        rules: rules_lib.Rules,
        *,
        client_state: Any,
        received: Any,
        build_personal_evaluation,
    ):
        """Takes the computations, the algorithm, a client's first state (None if clients keep
        none), the type of what the server broadcasts, and what builds the evaluation of personal
        models (see `personalization.build`).
        """
        super().__init__(initialize, next_fn, next_is_multi_arg=True)
        self.client_state, self.get_model_weights = client_state, rules.evaluated
        self.buffer, self.downloaded = rules.buffer, tff.to_type(rules.downloaded(received))
        self.build_personal_evaluation = build_personal_evaluation
        self.pooled_examples: int | None = None
        self._passed = rules.passed

    def passed(self, state: rules_lib.State) -> rules_lib.State:
        """The state after a round that was aborted."""
        algorithm = self._passed(state.global_model_weights, state.algorithm)
        # Schedules go by rounds, whatever came of them.
        return state._replace(
            round_num=np.int32(state.round_num + 1),
            algorithm=tf.nest.map_structure(np.asarray, algorithm),
        )


def build(ingredients: ingredients_lib.Ingredients, rules: rules_lib.Rules) -> Process:
    """Composes the process; raises TypeError or ValueError where parts do not fit."""
    weights_type, data_type, sum_metrics = _of_model(ingredients)
    specs = tff.types.type_to_tf_tensor_specs(weights_type)
    client_state = rules.client_state(specs) if rules.client_state else None
    first = _first(ingredients, rules)
    first_type = first.type_signature.result
    prepare = tff.tensorflow.computation(
        _prepare(ingredients, rules), weights_type, np.int32, first_type["algorithm"]
    )
    client_type = client_side.client_type(ingredients, rules, data_type, client_state)
    largest: dict[str, float] = {}
    work = tff.tensorflow.computation(
        client_side.build_work(ingredients, rules, largest),
        prepare.type_signature.result,
        client_type,
    )
    if ingredients.private:
        _check_private(work.type_signature.result["parts"], largest)
    aggregators = _aggregators(ingredients.aggregator, work.type_signature.result["parts"])

    @tff.federated_computation
    def initialize():
        begun = tff.federated_eval(first, tff.SERVER)
        states = [(name, a.initialize()) for name, a in aggregators.items()]
        return tff.federated_zip(
            rules_lib.State(
                begun["weights"],
                begun["round_num"],
                begun["algorithm"],
                collections.OrderedDict(states),
                begun["finalizer"],
            )
        )

    update = server_step.build(ingredients.server_optimizer, ingredients.server_schedule, rules)

    @tff.federated_computation(
        initialize.type_signature.result, tff.FederatedType(client_type, tff.CLIENTS)
    )
    def next_fn(state, clients):
        begun = (state.global_model_weights, state.round_num, state.algorithm)
        received = tff.federated_broadcast(tff.federated_map(prepare, begun))
        result = tff.federated_map(work, (received, clients))
        outputs = collections.OrderedDict()
        for name, aggregator in aggregators.items():
            part = result["parts"][name]
            outputs[name] = aggregator.next(state.aggregator[name], part["value"], part["weight"])
        change = (
            *begun,
            state.finalizer,
            _together({name: output.result for name, output in outputs.items()}),
            _totals(result, largest, ingredients.secure),
            client_side.keep(result["state"])
            if rules.client_state
            else tff.federated_value(0, tff.SERVER),
        )
        types = [value.type_signature.member for value in change]
        new = tff.federated_map(tff.tensorflow.computation(update, *types), change)
        states = {name: output.state for name, output in outputs.items()}
        measured = {name: output.measurements for name, output in outputs.items()}
        train = sum_metrics(result["metrics"])
        return tff.learning.templates.LearningProcessOutput(
            tff.federated_zip(
                rules_lib.State(
                    new["weights"],
                    new["round_num"],
                    new["algorithm"],
                    _together(states),
                    new["finalizer"],
                )
            ),
            tff.federated_zip(
                collections.OrderedDict(
                    client_work=_together({"train": train}),
                    aggregator=_only_or_all(measured),
                    finalizer=new["metrics"],
                )
            ),
        )

    return Process(
        initialize,
        next_fn,
        rules,
        client_state=client_state,
        received=prepare.type_signature.result,
        build_personal_evaluation=functools.partial(
            personalization.build,
            ingredients,
            rules,
            prepare=_prepare(ingredients, rules),
            begun_type=first_type,
            data_type=data_type,
            client_state=client_state,
        ),
    )


def _of_model(ingredients):
    """The types of its weights and of clients' data, and what sums clients' metrics."""
    make = ingredients.metrics_aggregator or tff.learning.metrics.sum_then_finalize
    # The model's variables must not outlive this.
    with tf.Graph().as_default():
        model = ingredients.model_fn()
        weights_type = tff.learning.models.weights_type_from_model(model)
        sum_metrics = make(model.metric_finalizers())
        element = tff.types.tensorflow_to_type(model.input_spec)
    return weights_type, tff.SequenceType(element), sum_metrics


def _first(ingredients, rules):
    @tff.tensorflow.computation
    def first():
        model = ingredients.model_fn()
        weights = rules_lib.Weights.from_model(model)
        weights = tf.nest.map_structure(tf.convert_to_tensor, weights)
        algorithm = rules.server_state(weights)
        optimized = rules.optimized(weights, algorithm)
        specs = tf.nest.map_structure(tf.TensorSpec.from_tensor, optimized)
        return collections.OrderedDict(
            weights=weights,
            round_num=0,
            algorithm=algorithm,
            finalizer=ingredients.server_optimizer.initialize(specs),
        )

    return first


def _prepare(ingredients, rules):
    def prepare(weights, round_num, algorithm):
        hparams = server_step.scheduled(
            ingredients.client_optimizer, ingredients.client_schedule, round_num + 1
        )
        return rules_lib.Received(rules.sent(weights), hparams, rules.broadcast(weights, algorithm))

    return prepare


def _aggregators(factory, parts_type):
    return {
        name: factory.create(part["value"], part["weight"])
        for name, part in tff.structure.to_elements(parts_type)
    }


def _check_private(parts_type, totals) -> None:
    """Raises ValueError where clients send what a private aggregator does not noise."""
    parts = [name for name, _ in tff.structure.to_elements(parts_type)]
    if len(parts) != 1 or totals:
        raise ValueError(
            f"differential privacy accounts for one vector a client and round; this algorithm "
            f"sends {', '.join([*parts, *totals]) or 'none'}. Use another, such as fed_avg, or "
            f"another aggregator."
        )


def _together(values):
    if not values:
        return tff.federated_value(collections.OrderedDict(), tff.SERVER)
    return tff.federated_zip(collections.OrderedDict(values))


def _only_or_all(measured):
    return next(iter(measured.values())) if len(measured) == 1 else _together(measured)


def _totals(result, largest, secure: bool):
    sums = collections.OrderedDict()
    for name, bound in largest.items():
        value = result["totals"][name]
        if not secure:
            sums[name] = tff.federated_sum(value)
        elif np.issubdtype(value.type_signature.member.dtype, np.integer):
            sums[name] = tff.federated_secure_sum(value, int(bound))
        else:
            sums[name] = tff.aggregators.secure_quantized_sum(value, 0.0, float(bound))
    return _together(sums)
