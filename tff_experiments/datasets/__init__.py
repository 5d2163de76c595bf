"""Federated data, one source a file.

Each entry has `Hparams`, `build(hparams, *, data_dir, cache_dir) -> FederatedData`,
`NEEDS_DATA_DIR` and `DEFAULT_PARTITION`, the way to make clients of it.
"""

import pathlib

from tff_experiments.datasets import (
    cache,
    digits,
    emnist,
    leaf,
    mnist,
    npz,
    partition,
    synthetic_emnist,
)

BY_NAME = {
    "digits": digits,
    "emnist": emnist,
    "leaf": leaf,
    "mnist": mnist,
    "npz": npz,
    "synthetic_emnist": synthetic_emnist,
}
WAYS_TO_GET_DATA = (
    "Three ways to get data: (1) --dataset=npz or leaf or mnist with --data_dir=FOLDER of your "
    "own files; "
    "(2) --dataset=emnist or mnist without --data_dir, which download, on a machine with internet; "
    "(3) --dataset=synthetic_emnist or digits, which need no files."
)


def load(
    name: str,
    hparams,
    *,
    data_dir: str = "",
    cache_dir: str = "",
    partition_name: str = "",
    partition_hparams=None,
):
    """Loads a source and makes its clients.

    Args:
        name: A key of `BY_NAME`.
        hparams: That entry's `Hparams`.
        data_dir: Folder with the source's files, "" for none.
        cache_dir: Folder for converted data, "" for the default.
        partition_name: "natural", a key of `partition.BY_NAME`, or "" for the source's default.
        partition_hparams: The partitioners' `Hparams`, None for the defaults.

    Returns:
        The `FederatedData`.

    Raises:
        ValueError: The data can't be had; the message lists the ways to get data.
    """
    source = BY_NAME[name]
    folder = pathlib.Path(data_dir) if data_dir else None
    if folder is None and source.NEEDS_DATA_DIR:
        raise ValueError(f"--dataset={name} needs --data_dir. {WAYS_TO_GET_DATA}")
    if folder is not None and not folder.is_dir():
        raise ValueError(f"--data_dir={data_dir} is not a folder. {WAYS_TO_GET_DATA}")
    try:
        data = source.build(
            hparams, data_dir=folder, cache_dir=pathlib.Path(cache_dir or cache.default_dir())
        )
    except ValueError as error:
        raise ValueError(f"{error} {WAYS_TO_GET_DATA}") from error
    return partition.apply(
        data, partition_name or source.DEFAULT_PARTITION, partition_hparams or partition.Hparams()
    )
