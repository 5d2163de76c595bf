"""Logistic regression on scikit-learn's 8x8 digits: small enough for a first run and for tests."""

from tff_experiments.tasks import emnist_linear, task

DEFAULT_DATASET = "digits"
Hparams = emnist_linear.Hparams


def build(hparams: Hparams, *, data, seed: int) -> task.Task:
    """Makes the task; raises ValueError for images that are not 8x8."""
    return emnist_linear.build(hparams, data=data, seed=seed, name="digits_linear", shape=(8, 8))
