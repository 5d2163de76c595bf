"""Federated reconstruction against numpy, against TFF's own, and its limit."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from algorithm_helpers import (
    CLIENTS,
    COHORTS,
    FIRST,
    RATE,
    SGD,
    gradient,
    loss,
    make,
    num_examples,
    run,
)
from personal_helpers import ROUNDED, evaluate, secure

from tff_experiments.algorithms import fed_avg, fed_recon
from tff_experiments.runtime import clients

BIAS = fed_recon.Hparams(local_layers="dense/bias", recon_learning_rate=0.3, recon_epochs=2)


def halves(batches):
    """Support and query of a client, as the docstring says."""
    support = [(x[: (len(x) + 1) // 2], y[: (len(x) + 1) // 2]) for x, y in batches]
    query = [(x[(len(x) + 1) // 2 :], y[(len(x) + 1) // 2 :]) for x, y in batches]
    return support, [batch for batch in query if len(batch[0])]


def reconstructed(w, support, hparams):
    """The slope stays, the offset is trained from its first value."""
    model = np.array([w, FIRST[1]])
    for batch in support * hparams.recon_epochs:
        model[1] -= hparams.recon_learning_rate * gradient(model, batch)[1]
    return model


def oracle(hparams):
    """The slope after each round, and the clients' losses at the end of their training."""
    w, seen = FIRST[0], []
    for cohort in COHORTS:
        moved, sizes, losses = [], [], []
        for name in cohort:
            support, query = halves(CLIENTS[name]) if hparams.split else [CLIENTS[name]] * 2
            model = reconstructed(w, support, hparams)
            for batch in query * hparams.epochs:
                model[0] -= RATE * gradient(model, batch)[0]
            moved.append(model[0])
            sizes.append(hparams.epochs * num_examples(query))
            losses.append(loss(model, CLIENTS[name]))
        w = np.average(moved, weights=sizes)
        weights = [num_examples(CLIENTS[name]) for name in cohort]
        seen.append((w, np.average(losses, weights=weights)))
    return seen


@pytest.mark.parametrize("changes", [{}, {"epochs": 3, "recon_epochs": 1}, {"split": False}])
def test_three_rounds_are_those_of_the_equations(local_context, changes):
    hparams = fed_recon.Hparams(**{"local_layers": "dense/bias", "recon_epochs": 2, **changes})
    seen = run(local_context, fed_recon.build(hparams, make()))
    for (weights, metrics, _), (w, end_loss), cohort in zip(
        seen, oracle(hparams), COHORTS, strict=True
    ):
        np.testing.assert_allclose(weights[0], w, rtol=5e-5)  # float32 against float64.
        assert weights[1] == FIRST[1], "local layers stay what they were at the server"
        train = metrics["client_work"]["train"]
        assert train["num_examples"] == sum(num_examples(CLIENTS[name]) for name in cohort)
        np.testing.assert_allclose(train["loss"], end_loss, rtol=1e-4)


def test_only_global_layers_travel(local_context):
    run(local_context, fed_recon.build(BIAS, make()), COHORTS[:1])
    last = dict(local_context.last_round)
    run(local_context, fed_avg.build(fed_avg.Hparams(), make()), COHORTS[:1])
    for way in ("uplink", "downlink"):
        name = f"bytes/{way}_per_client"
        assert local_context.last_round[name] - last[name] == 4  # The bias.


@pytest.mark.parametrize("name", ["mean", pytest.param("secure_mean", marks=pytest.mark.slow)])
def test_without_local_layers_and_split_it_is_fed_avg_bit_for_bit(local_context, name):
    made = make() if name == "mean" else secure()
    hparams = fed_recon.Hparams(local_layers="0", split=False)
    ours = run(local_context, fed_recon.build(hparams, made))
    theirs = run(local_context, fed_avg.build(fed_avg.Hparams(), made))
    assert [a.tobytes() for a, _, _ in ours] == [b.tobytes() for b, _, _ in theirs]


@pytest.mark.slow
def test_it_runs_under_secure_sums(local_context):
    seen = run(local_context, fed_recon.build(BIAS, secure()))
    wanted = [w for w, _ in oracle(BIAS)]
    np.testing.assert_allclose([w[0] for w, _, _ in seen], wanted, rtol=0, atol=ROUNDED)


def layers():
    """Two layers, of which the last is local."""
    constant = tf.keras.initializers.Constant
    return [
        tf.keras.layers.Dense(
            3, activation="tanh", kernel_initializer=constant([[0.3, -0.5, 0.8]])
        ),
        tf.keras.layers.Dense(1, kernel_initializer=constant([[0.2], [0.4], [-0.6]])),
    ]


SPEC = (tf.TensorSpec([None, 1], tf.float32), tf.TensorSpec([None, 1], tf.float32))


def model_fn():
    model = tf.keras.Sequential([tf.keras.Input((1,)), *layers()])
    return tff.learning.models.from_keras_model(
        model, input_spec=SPEC, loss=tf.keras.losses.MeanSquaredError()
    )


def recon_model_fn():
    first, last = layers()
    model = tf.keras.Sequential([tf.keras.Input((1,)), first, last])
    return tff.learning.models.ReconstructionModel.from_keras_model_and_layers(
        model, global_layers=[first], local_layers=[last], input_spec=SPEC
    )


def split(data):
    """Halves of batches, as a TFF user would write them; the test's clients have even batches."""
    first = lambda x, y: (x[: tf.shape(x)[0] // 2], y[: tf.shape(x)[0] // 2])
    second = lambda x, y: (x[tf.shape(x)[0] // 2 :], y[tf.shape(x)[0] // 2 :])
    return data.map(first).repeat(2), data.map(second).repeat(3)


def test_rounds_are_those_of_tffs_own(local_context):
    theirs = tff.learning.algorithms.build_fed_recon(
        recon_model_fn,
        loss_fn=tf.keras.losses.MeanSquaredError,
        server_optimizer_fn=SGD(1.0, momentum=0.5),
        client_optimizer_fn=SGD(RATE),
        reconstruction_optimizer_fn=SGD(0.2),
        dataset_split_fn=split,
    )
    ours = fed_recon.build(
        fed_recon.Hparams(recon_learning_rate=0.2, recon_epochs=2, epochs=3),
        make(model_fn=model_fn, server_optimizer=SGD(1.0, momentum=0.5)),
    )
    rng = np.random.default_rng(0)
    batch = lambda size: tuple(rng.normal(size=(2, size, 1)).astype(np.float32))
    cohorts = [[[batch(4), batch(2)], [batch(6)]], [[batch(2)], [batch(4)]]]
    state, their_state = ours.initialize(), theirs.initialize()
    for round_num, cohort in enumerate(cohorts, 1):
        inputs = [clients.ClientInputs(data, client=str(i)) for i, data in enumerate(cohort)]
        state = local_context.next(ours, state, inputs, seed=0, round_num=round_num)[0].state
        their_state = theirs.next(their_state, cohort).state
        mine = ours.get_model_weights(state).trainable[:2]
        for a, b in zip(mine, theirs.get_model_weights(their_state).trainable, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert np.abs(mine[0] - [[0.3, -0.5, 0.8]]).max() > 0.01


def test_a_client_is_evaluated_after_it_reconstructed_on_its_training_data(local_context):
    process = fed_recon.build(BIAS, make())
    losses = evaluate(local_context, process, process.initialize())
    for name, (ours, personal) in losses.items():
        model = reconstructed(FIRST[0], CLIENTS[name], BIAS)
        np.testing.assert_allclose(ours, loss(FIRST, CLIENTS[name]), rtol=1e-5)
        np.testing.assert_allclose(personal, loss(model, CLIENTS[name]), rtol=1e-5)


@pytest.mark.parametrize(
    ("flag", "local"),
    [
        ("0", []),
        ("1", [4, 5]),
        ("2", [2, 3, 4, 5]),
        ("dense", [2, 3]),
        ("conv2d, dense_1", [0, 1, 4, 5]),
        ("dense_1/bias", [5]),
    ],
)
def test_local_layers_are_the_last_or_those_named(flag, local):
    def convolutional():
        layers = tf.keras.layers
        model = tf.keras.Sequential(
            [tf.keras.Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Flatten()]
            + [layers.Dense(3), layers.Dropout(0.5), layers.Dense(2)]
        )
        spec = (tf.TensorSpec([None, 4, 4, 1], tf.float32), tf.TensorSpec([None, 2], tf.float32))
        return tff.learning.models.from_keras_model(
            model, input_spec=spec, loss=tf.keras.losses.MeanSquaredError()
        )

    for _ in range(2):  # Keras' names do not depend on the models that were made before.
        found, shared = fed_recon.divide(convolutional, flag)
        assert found == local
        assert collections.Counter(found + shared) == collections.Counter(range(6))


@pytest.mark.parametrize("flag", ["1", "7", "dense", "conv2d", "dense/kernel,dense/bias", ""])
def test_what_leaves_nothing_global_or_is_not_there_is_refused(flag):
    with pytest.raises(ValueError, match="fed_recon_local_layers must leave something global"):
        fed_recon.build(fed_recon.Hparams(local_layers=flag), make())


def test_a_split_of_several_epochs_is_refused_and_so_are_bad_knobs():
    with pytest.raises(ValueError, match="leave --client_epochs at 1"):
        fed_recon.build(BIAS, make(client_epochs=2))
    with pytest.raises(ValueError, match="fed_recon_epochs must be >= 1, got 0"):
        fed_recon.Hparams(epochs=0)
    with pytest.raises(ValueError, match="recon_learning_rate must be > 0, got 0"):
        fed_recon.Hparams(recon_learning_rate=0.0)
