"""A folder with train.npz and test.npz: `images` [n, ...], `labels` [n] and, for natural clients,
`client_ids` str [n].
"""

import dataclasses
import pathlib
import zipfile

import numpy as np

from tff_experiments.datasets import cache, federated_data

NEEDS_DATA_DIR = True
DEFAULT_PARTITION = "natural"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the npz source."""

    num_classes: int = 0
    """Number of classes; 0 takes the largest label + 1."""
    labels_below: int = 0
    """Keeps the examples with smaller labels, such as 10 for FEMNIST's digits; 0 keeps all."""


def build(hparams: Hparams, *, data_dir: pathlib.Path, cache_dir: pathlib.Path):
    """Reads the folder; raises ValueError where a file or an array is missing or damaged."""
    paths = [data_dir / "train.npz", data_dir / "test.npz"]
    for path in paths:
        if not path.is_file():
            raise ValueError(
                f"{path} does not exist; --dataset=npz wants train.npz and test.npz in --data_dir."
            )

    below = f" labels below {hparams.labels_below}" if hparams.labels_below else ""

    def convert():
        train, test = (read(path, labels_below=hparams.labels_below) for path in paths)
        largest = max(int(split.labels().max()) for split in (train, test))
        return federated_data.FederatedData(
            name=f"npz {data_dir.name}{below}",
            train=train,
            test=test,
            num_classes=hparams.num_classes or largest + 1,
        )

    key = f"npz-{data_dir.name}-{cache.files_key(paths)}-{hparams.num_classes}"
    key += below.replace(" ", "-")
    return cache.load_or_convert(cache_dir, key, convert)


def read(path: pathlib.Path, *, labels_below: int = 0) -> federated_data.ClientExamples:
    """Reads one file; rows without `client_ids` belong to one client. `labels_below`: see
    `Hparams`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files if name != "source"}
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}); copy it again.") from error
    missing = {"images", "labels"} - set(arrays)
    if missing:
        raise ValueError(f"{path} lacks {sorted(missing)}; it has {sorted(arrays)}.")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"{path}: all arrays must be equally long, got {lengths}.")
    if labels_below:
        keep = arrays["labels"] < labels_below
        if not keep.any():
            raise ValueError(f"{path} has no label below {labels_below}; raise npz_labels_below.")
        arrays = {name: array[keep] for name, array in arrays.items()}
    columns = {"images": arrays["images"], "labels": arrays["labels"].astype(np.int32)}
    if "client_ids" in arrays:
        return federated_data.by_client(columns, arrays["client_ids"])
    return federated_data.one_client(columns)
