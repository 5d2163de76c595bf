"""FedAvg against TFF's builder, and learning-rate schedules through a process."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from algorithm_helpers import CLIENTS, COHORTS, FIRST, RATE, SGD, local_sgd, make, model_fn, run
from algorithm_helpers import num_examples as n

from tff_experiments.aggregation import mean, secure_mean
from tff_experiments.algorithms import fed_avg, optimizers
from tff_experiments.runtime import clients


@pytest.mark.parametrize(
    ("weighting", "aggregator"),
    [
        pytest.param("examples", mean, id="examples-mean"),
        pytest.param("uniform", mean, id="uniform-mean"),
        pytest.param("examples", secure_mean, id="examples-secure_mean"),
        pytest.param("uniform", secure_mean, id="uniform-secure_mean", marks=pytest.mark.slow),
    ],
)
def test_the_bits_are_those_of_tffs_builder(local_context, aggregator, weighting):
    made = make(aggregator=aggregator, server_optimizer=SGD(1.0, momentum=0.9))
    ours = run(local_context, fed_avg.build(fed_avg.Hparams(weighting=weighting), made))
    theirs = tff.learning.algorithms.build_weighted_fed_avg(
        model_fn,
        made.client_optimizer,
        made.server_optimizer,
        client_weighting=fed_weighting(weighting),
        model_aggregator=aggregator.build(aggregator.Hparams()),
        metrics_aggregator=aggregator.METRICS_AGGREGATOR,
        loop_implementation=tff.learning.LoopImplementation.DATASET_ITERATOR,
    )
    state = theirs.initialize()
    for (weights, metrics, _), cohort, round_num in zip(ours, COHORTS, (1, 2, 3), strict=True):
        inputs = [clients.ClientInputs(CLIENTS[name], client=name) for name in cohort]
        output, _ = local_context.next(theirs, state, inputs, seed=0, round_num=round_num)
        state = output.state
        wanted = [np.ravel(leaf)[0] for leaf in theirs.get_model_weights(state).trainable]
        np.testing.assert_array_equal(weights, np.float64(wanted))
        tf.nest.map_structure(
            np.testing.assert_array_equal,
            dict(metrics["client_work"]["train"]),
            dict(output.metrics["client_work"]["train"]),
        )


def fed_weighting(name):
    return {
        "examples": tff.learning.ClientWeighting.NUM_EXAMPLES,
        "uniform": tff.learning.ClientWeighting.UNIFORM,
    }[name]


# Factors of rounds 1 .. 6 with 2 rounds of warm-up, decay 0.25 in 2 rounds; by hand.
FACTORS = {
    "constant": [1 / 3, 2 / 3, 1, 1, 1, 1],
    "step": [1 / 3, 2 / 3, 1, 1, 0.25, 0.25],
    "exponential": [1 / 3, 2 / 3, 1, 0.5, 0.25, 0.125],
    "inverse_sqrt": [1 / 3, 2 / 3, 1, 1.5**-0.5, 2**-0.5, 2.5**-0.5],
    "linear": [1 / 3, 2 / 3, 1, 0.625, 0.25, 0.25],
    "cosine": [1 / 3, 2 / 3, 1, 0.625, 0.25, 0.25],
}


def schedule_of(name):
    hparams = optimizers.Hparams(schedule=name, warmup_rounds=2, decay_rounds=2, decay=0.25)
    return optimizers.build_schedule(hparams)


@pytest.mark.parametrize("name", FACTORS)
def test_schedules_have_their_closed_forms(name):
    factor = schedule_of(name)
    found = [float(factor(tf.constant(round_num))) for round_num in range(1, 7)]
    np.testing.assert_allclose(found, FACTORS[name], rtol=1e-6)


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_schedule_moves_the_rate_of_clients_or_of_the_server(local_context, who):
    made = dataclasses.replace(make(), **{f"{who}_schedule": schedule_of("exponential")})
    seen = run(local_context, fed_avg.build(fed_avg.Hparams(), made))
    weights = FIRST
    for (found, _, _), cohort, factor in zip(seen, COHORTS, FACTORS["exponential"], strict=False):
        client, server = (factor, 1) if who == "client" else (1, factor)
        deltas = [weights - local_sgd(weights, CLIENTS[c], rate=RATE * client) for c in cohort]
        counts = [n(CLIENTS[c]) for c in cohort]
        weights = weights - server * np.average(deltas, 0, counts)
        np.testing.assert_allclose(found, weights, rtol=1e-5)
