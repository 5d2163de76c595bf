"""MNIST in its standard split, 60,000 / 10,000, without users: a partitioner makes the clients.

LeCun et al. 1998. Ink is 255 on 0. From a folder (train.npz and test.npz, or Keras' mnist.npz) or
from Keras' download.
"""

import dataclasses
import pathlib

import numpy as np

from tff_experiments.datasets import federated_data, npz

NEEDS_DATA_DIR = False
DEFAULT_PARTITION = "iid"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """MNIST has no knobs."""


def build(hparams: Hparams, *, data_dir: pathlib.Path | None, cache_dir: pathlib.Path):
    """Reads the folder, or downloads where none is given; raises ValueError where neither works."""
    del hparams
    if data_dir is not None and (data_dir / "train.npz").is_file():
        found = npz.build(npz.Hparams(num_classes=10), data_dir=data_dir, cache_dir=cache_dir)
        train, test = found.train.columns, found.test.columns
    else:
        train, test = _keras_npz(data_dir, cache_dir)
    return federated_data.FederatedData(
        name="mnist",
        train=federated_data.one_client(train),
        test=federated_data.one_client(test),
        num_classes=10,
        stand_in="" if len(train["labels"]) == 60_000 else "not the standard 60,000 examples",
    )


def _keras_npz(data_dir, cache_dir):
    path = (data_dir or cache_dir) / "mnist.npz"
    if data_dir is not None and not path.is_file():
        raise ValueError(f"{data_dir} holds neither train.npz and test.npz nor Keras' mnist.npz.")
    if not path.is_file():
        import tensorflow as tf

        cache_dir.mkdir(parents=True, exist_ok=True)
        try:
            # Keras checks the file's SHA-256.
            tf.keras.datasets.mnist.load_data(str(path.resolve()))
        except Exception as error:
            path.unlink(missing_ok=True)
            raise ValueError(
                f"MNIST could not be downloaded ({error}); give a folder with train.npz and "
                f"test.npz, or Keras' "
                "mnist.npz, as --data_dir."
            ) from error
    with np.load(path, allow_pickle=False) as file:
        return tuple(
            {"images": file[f"x_{split}"], "labels": file[f"y_{split}"].astype(np.int32)}
            for split in ("train", "test")
        )
