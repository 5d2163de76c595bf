"""Federated EMNIST, 3,400 writers, as TFF serves it: downloaded once by TFF, checked, converted to
a fast cache.

Caldas et al. 2018 (https://arxiv.org/abs/1812.01097) through
`tff.simulation.datasets.emnist.load_data`. Paper is 255 and ink 0. Labels: 0-9, A-Z, a-z.

TFF's loader takes any file that it finds, so that half a download would be trained on: here the
counts of clients and examples are checked first. TFF's file has no index on clients, so that it is
read in one scan per split.
"""

import dataclasses
import pathlib
import shutil
import sqlite3
from typing import NamedTuple

import numpy as np
import tqdm

from tff_experiments.datasets import cache, federated_data, images

NEEDS_DATA_DIR = False
DEFAULT_PARTITION = "natural"
FILE_NAME = "emnist_all.sqlite"
_PARSE_ROWS = 10_000


class SplitSize(NamedTuple):
    """What a split must hold."""

    clients: int
    examples: int


SIZES = {
    "all_train": SplitSize(3_400, 671_585),
    "all_test": SplitSize(3_400, 77_483),
    "digits_only_train": SplitSize(3_383, 341_873),
    "digits_only_test": SplitSize(3_383, 40_832),
}


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of federated EMNIST."""

    only_digits: bool = False
    """Digits alone, 3,383 writers, in place of all 62 classes."""


def build(hparams: Hparams, *, data_dir: pathlib.Path | None, cache_dir: pathlib.Path, sizes=None):
    """Opens the cache, or makes it from TFF's file in `data_dir`, or downloads that file first.

    Args:
        hparams: The knobs.
        data_dir: A folder with emnist_all.sqlite, or None to download.
        cache_dir: Where the download and the converted data are kept.
        sizes: Split name -> `SplitSize`; by default what the published file holds.

    Raises:
        ValueError: The file is missing, can't be downloaded, or is not whole.
    """
    sizes = sizes or SIZES
    prefix = "digits_only" if hparams.only_digits else "all"
    path = _database(data_dir, cache_dir, prefix, sizes)

    def convert():
        verify(path, prefix, sizes)
        return federated_data.FederatedData(
            name="emnist-10" if hparams.only_digits else "emnist-62",
            train=_read(path, f"{prefix}_train"),
            test=_read(path, f"{prefix}_test"),
            num_classes=10 if hparams.only_digits else 62,
        )

    return cache.load_or_convert(cache_dir, f"emnist-{prefix}-{cache.files_key([path])}", convert)


def _database(data_dir, cache_dir, prefix, sizes) -> pathlib.Path:
    if data_dir is not None:
        path = data_dir / FILE_NAME
        if not path.is_file():
            raise ValueError(
                f"{path} does not exist; --dataset=emnist wants TFF's {FILE_NAME} in --data_dir."
            )
        return path
    path = cache_dir / "emnist" / FILE_NAME
    if not path.is_file():
        _download(path, prefix, sizes)
    return path


def _download(path: pathlib.Path, prefix: str, sizes: dict[str, SplitSize]) -> None:
    import tensorflow_federated as tff

    partial = path.parent.with_name("emnist-partial")
    # TFF would take what an interrupted download left here for the whole.
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        tff.simulation.datasets.emnist.load_data(
            only_digits=prefix == "digits_only", cache_dir=str(partial)
        )
        verify(partial / FILE_NAME, prefix, sizes)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ValueError(f"federated EMNIST could not be downloaded whole ({error}).") from error
    partial.rename(path.parent)


def verify(path: pathlib.Path, prefix: str, sizes: dict[str, SplitSize]) -> None:
    """Raises ValueError unless the file holds the published number of clients and examples in both
    splits.
    """
    way_out = f"delete it and start again, or copy a whole {FILE_NAME}"
    for split in (f"{prefix}_train", f"{prefix}_test"):
        query = "SELECT COUNT(DISTINCT client_id), COUNT(*) FROM examples WHERE split_name = ?"
        try:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
                found = SplitSize(*connection.execute(query, [split]).fetchone())
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"{path} is half a download or damaged ({error}); {way_out}."
            ) from error
        if found != sizes[split]:
            raise ValueError(
                f"{path} is not whole: {split} has {found}, expected {sizes[split]}; {way_out}."
            )


def _read(path: pathlib.Path, split: str) -> federated_data.ClientExamples:
    import tensorflow as tf

    spec = {
        "pixels": tf.io.FixedLenFeature((28, 28), tf.float32),
        "label": tf.io.FixedLenFeature((), tf.int64),
    }
    parts, ids = [], []
    query = "SELECT client_id, serialized_example_proto FROM examples WHERE split_name = ?"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        cursor = connection.execute(query, [split])
        with tqdm.tqdm(
            desc=f"converting {split}", unit=" images", leave=False, disable=None
        ) as bar:
            while rows := cursor.fetchmany(_PARSE_ROWS):
                parsed = tf.io.parse_example([proto for _, proto in rows], spec)
                parts.append(
                    (
                        images.as_uint8(parsed["pixels"].numpy()),
                        parsed["label"].numpy().astype(np.int32),
                    )
                )
                ids.extend(client_id for client_id, _ in rows)
                bar.update(len(rows))
    pixels, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return federated_data.by_client({"images": pixels, "labels": labels}, np.array(ids))
