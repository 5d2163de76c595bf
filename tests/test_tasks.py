"""Tasks: the published models, logits equal to TFF's softmax models, metrics by hand."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from tensorflow_federated.python.simulation.baselines.emnist import emnist_models

from tff_experiments import tasks
from tff_experiments.datasets import federated_data

SIZES = {
    "digits_linear": 65 * 10,
    "emnist_2nn": 157_000 + 40_200 + 201 * 62,
    "emnist_autoencoder": 2_837_314,
    "emnist_cnn": 1_206_590,
    "emnist_linear": 785 * 62,
    "mnist_2nn": 199_210,
    "mnist_cnn": 1_663_370,
}
REFERENCE = {
    "emnist_2nn": lambda: emnist_models.create_two_hidden_layer_model(only_digits=False),
    "emnist_autoencoder": emnist_models.create_autoencoder_model,
    "emnist_cnn": lambda: emnist_models.create_conv_dropout_model(only_digits=False),
    "mnist_2nn": emnist_models.create_two_hidden_layer_model,
    "mnist_cnn": emnist_models.create_original_fedavg_cnn_model,
}


def build(name, seed=0, **hparams):
    side = 8 if name == "digits_linear" else 28
    num_classes = 62 if name.startswith("emnist") else 10
    images = np.random.default_rng(0).integers(0, 256, (6, side, side)).astype(np.uint8)
    columns = {"images": images, "labels": np.arange(6, dtype=np.int32)}
    split = federated_data.one_client(columns)
    data = federated_data.FederatedData("drawn", split, split, num_classes)
    task = tasks.BY_NAME[name]
    return task.build(task.Hparams(**hparams), data=data, seed=seed), columns


@pytest.mark.parametrize("name", tasks.BY_NAME)
def test_models_have_the_published_size(name):
    task, _ = build(name)
    assert task.keras_model().count_params() == SIZES[name]


def test_the_cnn_that_pools_first_has_the_size_of_the_distributed_noise_papers():
    assert build("emnist_cnn", pool_first=True)[0].keras_model().count_params() == 1_018_174


@pytest.mark.parametrize("name", REFERENCE)
def test_with_the_same_weights_the_output_is_that_of_tffs_model(name):
    task, columns = build(name)
    model, reference = task.keras_model(), REFERENCE[name]()
    reference.set_weights(model.get_weights())
    x, _ = task.preprocess({k: tf.constant(v) for k, v in columns.items()})
    output = model(x, training=False)
    if name != "emnist_autoencoder":
        output = tf.nn.softmax(output)
    wanted = reference(x, training=False)
    np.testing.assert_allclose(output, wanted, rtol=1e-5, atol=1e-6)  # float32


@pytest.mark.parametrize("name", ["emnist_cnn", "emnist_autoencoder"])
def test_the_seed_decides_the_initial_weights(name):
    weights = [build(name, seed)[0].keras_model().get_weights()[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize("name", tasks.BY_NAME)
def test_metrics_of_examples_average_to_keras_loss_and_metrics(name):
    task, columns = build(name)
    x, y = task.preprocess({k: tf.constant(v) for k, v in columns.items()})
    output = task.keras_model()(x, training=False)
    per_example = {k: np.mean(v) for k, v in task.per_example(y, output).items()}
    assert per_example["loss"] == pytest.approx(float(task.loss()(y, output)), rel=1e-5)
    (metric,) = task.keras_metrics()
    metric.update_state(y, output)
    assert metric.name == task.main_metric
    assert per_example[metric.name] == pytest.approx(float(metric.result()), rel=1e-5)


@pytest.mark.parametrize("name", tasks.BY_NAME)
def test_images_of_another_shape_are_refused(name, tiny):
    with pytest.raises(ValueError, match=f"task {name} wants images of shape"):
        tasks.BY_NAME[name].build(tasks.BY_NAME[name].Hparams(), data=tiny, seed=0)


@pytest.mark.parametrize("name", ["emnist_linear", "digits_linear"])
def test_inverted_logistic_regression_sees_one_minus_each_pixel(name):
    task, columns = build(name, inverted=True)
    model = task.keras_model()
    generator = np.random.default_rng(1)
    kernel, bias = (generator.normal(size=weights.shape) for weights in model.get_weights())
    model.set_weights([kernel, bias])
    x, _ = task.preprocess({k: tf.constant(v) for k, v in columns.items()})
    pixels = columns["images"].reshape(len(columns["images"]), -1) / 255
    np.testing.assert_allclose(model(x), (1 - pixels) @ kernel + bias, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["mnist_cnn", "mnist_2nn", "emnist_2nn"])
def test_the_tutorials_weights_are_a_cut_off_normal_of_a_tenth_and_repeat(name):
    models = [build(name, seed, initializer="tutorial")[0].keras_model() for seed in (0, 0, 1)]
    drawn, again, other = (model.get_weights() for model in models)
    for i, weights in enumerate(drawn):
        np.testing.assert_array_equal(weights, again[i])
        if weights.ndim == 1:
            np.testing.assert_array_equal(weights, np.float32(0.1))
            continue
        assert not np.array_equal(weights, other[i]) and np.abs(weights).max() <= 0.2
        # A normal cut off at two deviations has 0.8796 of its deviation; 1/sqrt(2n) is an error.
        wanted = 0.1 * scipy.stats.truncnorm(-2, 2).std()
        assert abs(weights.std() / wanted - 1) < 5 / np.sqrt(2 * weights.size)
    kernels = [weights.ravel() for weights in drawn if weights.ndim > 1]
    assert len({tuple(kernel[:9]) for kernel in kernels}) == len(kernels)
