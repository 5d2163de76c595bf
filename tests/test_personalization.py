"""Personal models evaluated by a process: fine-tuning in numpy, and what it leaves alone."""

import numpy as np
import pytest
import tensorflow as tf
from algorithm_helpers import CLIENTS, FIRST, RATE, client_batches, local_sgd, loss, make
from personal_helpers import evaluate, per_example

from tff_experiments.algorithms import fed_avg
from tff_experiments.runtime import clients, local
from tff_experiments.secure_sum import secagg

TEST = {name: client_batches(ord(name), [2, 5], slope=0.3) for name in CLIENTS}


def build(**changes):
    return fed_avg.build(fed_avg.Hparams(), make(**changes))


def test_fine_tuning_with_0_epochs_is_the_global_model(local_context):
    process = build()
    losses = evaluate(local_context, process, process.initialize(), test_data=TEST, epochs=0)
    for name, (ours, personal) in losses.items():
        assert ours == personal
        # Rounded to float32 are the loss of each example and the prediction, not the sums.
        np.testing.assert_allclose(ours, loss(FIRST, TEST[name]), rtol=1e-6)


@pytest.mark.parametrize(("epochs", "rate"), [(1, 0.0), (3, 0.0), (2, 0.03)])
def test_fine_tuning_is_sgd_on_the_training_data(local_context, epochs, rate):
    process = build()
    losses = evaluate(
        local_context, process, process.initialize(), test_data=TEST, epochs=epochs,
        learning_rate=rate,
    )  # fmt: skip
    for name, (ours, personal) in losses.items():
        tuned = local_sgd(FIRST, CLIENTS[name] * epochs, rate=rate or RATE)
        np.testing.assert_allclose(ours, loss(FIRST, TEST[name]), rtol=1e-6)
        np.testing.assert_allclose(personal, loss(tuned, TEST[name]), rtol=2e-5)


def test_the_clients_learning_rate_is_that_of_the_next_round(local_context):
    halved = lambda round_num: 0.5 ** tf.cast(round_num, tf.float32)
    process = build(client_schedule=halved)
    state = process.initialize()._replace(round_num=np.int32(2))
    for name, (_, personal) in evaluate(local_context, process, state, test_data=TEST).items():
        tuned = local_sgd(FIRST, CLIENTS[name], rate=RATE / 8)
        np.testing.assert_allclose(personal, loss(tuned, TEST[name]), rtol=1e-5)


def test_a_client_without_training_data_has_the_global_model(local_context):
    process = build()
    losses = evaluate(
        local_context, process, process.initialize(), train_data={"a": []}, test_data=TEST
    )
    ours, personal = losses["a"]
    assert ours == personal


def test_a_round_of_it_gives_back_its_state_and_nothing_of_a_client(local_context):
    built = build().build_personal_evaluation(per_example=per_example, epochs=1, learning_rate=0.0)
    begun = built.begin(build().initialize())
    taken = []

    class Taking:
        def put(self, client, leaves):
            taken.append([client, *leaves])

    inputs = [clients.ClientInputs(CLIENTS["a"], extras={"test": TEST["a"]}, client="a")]
    (after, metrics), _ = local_context.next(
        built, begun, inputs, seed=0, round_num=1, client_states=Taking()
    )
    assert metrics == {"none": 0}
    for a, b in zip(after.weights.trainable, begun.weights.trainable, strict=True):
        np.testing.assert_array_equal(a, b)
    ((client, ours, personal, num_examples),) = taken
    assert client == "a" and built.metrics == ["loss"] and num_examples == 7
    assert ours.dtype == personal.dtype == np.float64 and ours.shape == (1,)


def test_a_secure_sum_has_nothing_against_it():
    process = build()
    with local.use(local.Hparams(), secure_sum=secagg.build(secagg.Hparams())) as context:
        losses = evaluate(context, process, process.initialize(), test_data=TEST)
    assert set(losses) == set(CLIENTS)
