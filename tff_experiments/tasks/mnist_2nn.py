"""Digit recognition on MNIST with the 2NN of McMahan et al. 2017: 784-200-200-10, 199,210
weights.
"""

from tff_experiments.tasks import emnist_2nn, task

DEFAULT_DATASET = "mnist"
Hparams = emnist_2nn.Hparams


def build(hparams: Hparams, *, data, seed: int) -> task.Task:
    """Makes the task; raises ValueError for images that are not 28x28."""
    return emnist_2nn.build(hparams, data=data, seed=seed, name="mnist_2nn")
