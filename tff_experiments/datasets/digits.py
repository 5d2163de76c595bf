"""The 1,797 handwritten 8x8 digits that scikit-learn ships (UCI "Optical Recognition of Handwritten
Digits", test part).

No users: a partitioner makes the clients. Every fifth example is for the test.
"""

import dataclasses
import pathlib

import numpy as np

from tff_experiments.datasets import federated_data

NEEDS_DATA_DIR = False
DEFAULT_PARTITION = "dirichlet"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """The digits have no knobs."""


def build(hparams: Hparams, *, data_dir: pathlib.Path | None, cache_dir: pathlib.Path):
    """Loads the digits; images are uint8 [8, 8], ink is 255 on 0."""
    del hparams, data_dir, cache_dir
    from sklearn import datasets

    bunch = datasets.load_digits()
    # 17 grey levels, 0 .. 16, spread over 0 .. 255.
    columns = {
        "images": np.rint(bunch.images * (255 / 16)).astype(np.uint8),
        "labels": bunch.target.astype(np.int32),
    }
    is_test = np.arange(len(bunch.target)) % 5 == 4
    train, test = (
        federated_data.one_client({name: column[rows] for name, column in columns.items()})
        for rows in (~is_test, is_test)
    )
    return federated_data.FederatedData(name="digits", train=train, test=test, num_classes=10)
