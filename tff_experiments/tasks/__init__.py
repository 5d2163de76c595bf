"""Learning problems, one a file. Each has `Hparams`, `build(hparams, *, data, seed) -> Task` and
its default data.
"""

from tff_experiments.tasks import (
    digits_linear,
    emnist_2nn,
    emnist_autoencoder,
    emnist_cnn,
    emnist_linear,
    mnist_2nn,
    mnist_cnn,
)

BY_NAME = {
    "digits_linear": digits_linear,
    "emnist_2nn": emnist_2nn,
    "emnist_autoencoder": emnist_autoencoder,
    "emnist_cnn": emnist_cnn,
    "emnist_linear": emnist_linear,
    "mnist_2nn": mnist_2nn,
    "mnist_cnn": mnist_cnn,
}
