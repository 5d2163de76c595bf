"""The FedOpt family against algorithm 2 in numpy, against Keras, and in its limits."""

import numpy as np
import pytest
import tensorflow as tf
from algorithm_helpers import CLIENTS, COHORTS, FIRST, SGD, local_sgd, make, num_examples, run

from tff_experiments.algorithms import (
    adaptive,
    fed_adagrad,
    fed_adam,
    fed_avg,
    fed_avgm,
    fed_yogi,
)  # fmt: skip

ETA, BETA_1, BETA_2, TAU = 0.3, 0.8, 0.9, 0.05
KINDS = {"adagrad": fed_adagrad, "adam": fed_adam, "yogi": fed_yogi}
KNOBS = {"beta_1": BETA_1, "beta_2": BETA_2, "tau": TAU}


def mean_delta(weights, cohort):
    deltas = [weights - local_sgd(weights, CLIENTS[c]) for c in cohort]
    return np.average(deltas, 0, [num_examples(CLIENTS[c]) for c in cohort])


def algorithm_2(kind):
    x, m, v, seen = FIRST, np.zeros(2), np.full(2, TAU**2), []
    for cohort in COHORTS:
        g = mean_delta(x, cohort)
        m = BETA_1 * m + (1 - BETA_1) * g
        if kind == "adagrad":
            v = v + g**2
        elif kind == "adam":
            v = BETA_2 * v + (1 - BETA_2) * g**2
        else:
            v = v - (1 - BETA_2) * g**2 * np.sign(v - g**2)
        x = x - ETA * m / (np.sqrt(v) + TAU)
        seen.append(x)
    return np.array(seen)


def weights_after(context, process):
    return [weights for weights, _, _ in run(context, process)]


@pytest.mark.parametrize("kind", KINDS)
def test_three_rounds_are_those_of_algorithm_2(local_context, kind):
    module = KINDS[kind]
    process = module.build(module.Hparams(**KNOBS), make(server_optimizer=SGD(ETA)))
    found = weights_after(local_context, process)
    # float32 against float64; one weight passes near 0.
    np.testing.assert_allclose(found, algorithm_2(kind), rtol=2e-5, atol=1e-7)


def keras(kind):
    """What the authors ran: Keras' own optimizers of that time, and their Yogi in numpy."""
    legacy = tf.keras.optimizers.legacy
    optimizer = {
        "adagrad": lambda: legacy.Adagrad(ETA, initial_accumulator_value=0.0, epsilon=TAU),
        "adam": lambda: legacy.Adam(ETA, beta_1=BETA_1, beta_2=BETA_2, epsilon=TAU),
        "yogi": lambda: None,
    }[kind]()
    x, m, v, seen = tf.Variable(FIRST, dtype=tf.float64), np.zeros(2), np.zeros(2), []
    for t, cohort in enumerate(COHORTS, 1):
        g = mean_delta(x.numpy(), cohort)
        if optimizer:
            optimizer.apply_gradients([(tf.constant(g), x)])
        else:
            m = BETA_1 * m + (1 - BETA_1) * g
            v = v + (1 - BETA_2) * g**2 * np.sign(g**2 - v)
            eta = ETA * np.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
            x.assign_sub(eta * m / (np.sqrt(v) + TAU))
        seen.append(x.numpy())
    return np.array(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_the_keras_variant_is_what_the_authors_ran(local_context, kind):
    module = KINDS[kind]
    knobs = {**KNOBS, "beta_1": 0.0} if kind == "adagrad" else KNOBS
    hparams = module.Hparams(variant="keras", **knobs)
    ours = weights_after(local_context, module.build(hparams, make(server_optimizer=SGD(ETA))))
    np.testing.assert_allclose(ours, keras(kind), rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("variant", ["algorithm_2", "keras"])
def test_a_servers_schedule_moves_its_eta(local_context, variant):
    """From the second round on the rate is 0: nothing moves."""
    made = make(server_optimizer=SGD(ETA), server_schedule=lambda r: tf.cast(r < 2, tf.float32))
    first, *later = weights_after(
        local_context, fed_adam.build(fed_adam.Hparams(variant=variant), made)
    )
    assert np.abs(first - FIRST).max() > 0.01
    np.testing.assert_array_equal(later, [first, first])


def test_fed_avgm_is_momentum_at_the_server(local_context):
    process = fed_avgm.build(fed_avgm.Hparams(beta=0.6), make(server_optimizer=SGD(ETA)))
    x, v, wanted = FIRST, np.zeros(2), []
    for cohort in COHORTS:
        v = 0.6 * v + mean_delta(x, cohort)
        x = x - ETA * v
        wanted.append(x)
    np.testing.assert_allclose(weights_after(local_context, process), wanted, rtol=2e-5)


def test_fed_avgm_without_momentum_is_fed_avg(local_context):
    ours = weights_after(local_context, fed_avgm.build(fed_avgm.Hparams(beta=0.0), make()))
    theirs = weights_after(local_context, fed_avg.build(fed_avg.Hparams(), make()))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_tau_makes_steps_of_eta_m_over_2_tau(kind):
    optimizer = adaptive.FedOpt(kind, eta=1.0, beta_1=0.0, beta_2=0.999999, tau=1e4, v_0=1e8)
    state = optimizer.initialize(tf.TensorSpec([2]))
    _, weights = optimizer.next(state, tf.zeros([2]), tf.constant([1.0, -2.0]))
    np.testing.assert_allclose(weights * 2e4, [-1.0, 2.0], rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_zero_gradient_moves_nothing(kind):
    optimizer = adaptive.FedOpt(kind, eta=1.0, v_0=TAU**2, **KNOBS)
    state = optimizer.initialize(tf.TensorSpec([2]))
    _, weights = optimizer.next(state, tf.ones([2]), tf.zeros([2]))
    np.testing.assert_array_equal(weights, [1.0, 1.0])


@pytest.mark.parametrize("module", [fed_avgm, *KINDS.values()])
def test_a_second_server_optimizer_is_refused(module):
    with pytest.raises(ValueError, match="is the server's optimizer itself"):
        module.build(module.Hparams(), make(server_optimizer=SGD(1.0, momentum=0.5)))


def test_what_is_out_of_range_is_refused():
    with pytest.raises(ValueError, match="kind must be one of"):
        adaptive.FedOpt("adamax", eta=1.0, v_0=0.0, **KNOBS)
    with pytest.raises(ValueError, match="fed_adam_tau must be > 0, got 0"):
        fed_adam.Hparams(tau=0.0)
    with pytest.raises(ValueError, match=r"fed_yogi_beta_2 must be in \[0, 1\), got 1"):
        fed_yogi.Hparams(beta_2=1.0)
    with pytest.raises(ValueError, match=r"Adagrad has no momentum.*got 0.5"):
        fed_adagrad.Hparams(beta_1=0.5, variant="keras")
    with pytest.raises(ValueError, match=r"fed_avgm_beta must be in \[0, 1\), got 1"):
        fed_avgm.Hparams(beta=1.0)
