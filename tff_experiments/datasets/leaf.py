"""LEAF's JSON folders: train/*.json and test/*.json with `users` and `user_data` {user: {x, y}}.

Caldas et al., "LEAF: A Benchmark for Federated Settings" (https://arxiv.org/abs/1812.01097).
FEMNIST's x is 784 floats in [0, 1], paper is 1 and ink 0.
"""

import dataclasses
import json
import math
import pathlib

import numpy as np

from tff_experiments.datasets import cache, federated_data, images

NEEDS_DATA_DIR = True
DEFAULT_PARTITION = "natural"


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the LEAF source."""

    num_classes: int = 62
    """Number of classes: 62 for FEMNIST."""


def build(hparams: Hparams, *, data_dir: pathlib.Path, cache_dir: pathlib.Path):
    """Reads the folders; raises ValueError where one is missing or a file is not LEAF's."""
    paths = {split: sorted((data_dir / split).glob("*.json")) for split in ("train", "test")}
    for split, files in paths.items():
        if not files:
            raise ValueError(
                f"{data_dir / split} holds no .json file; --dataset=leaf wants train/*.json and "
                f"test/*.json."
            )

    def convert():
        splits = {split: _read(files, hparams.num_classes) for split, files in paths.items()}
        return federated_data.FederatedData(
            name=f"leaf {data_dir.name}", num_classes=hparams.num_classes, **splits
        )

    state = cache.files_key(paths["train"] + paths["test"])
    key = f"leaf-{data_dir.name}-{state}-{hparams.num_classes}"
    return cache.load_or_convert(cache_dir, key, convert)


def _read(paths: list[pathlib.Path], num_classes: int) -> federated_data.ClientExamples:
    pixels, labels, ids = [], [], []
    for path in paths:
        try:
            user_data = json.loads(path.read_text())["user_data"]
            for user, examples in user_data.items():
                pixels.append(np.asarray(examples["x"], np.float32))
                labels.append(np.asarray(examples["y"], np.int32))
                ids.append(np.full(len(examples["y"]), user))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not one of LEAF's files or is damaged ({error!r})."
            ) from error
    flat = np.concatenate(pixels)
    side = math.isqrt(flat.shape[1])
    if side * side != flat.shape[1]:
        raise ValueError(f"{paths[0]}: x must be square images, got {flat.shape[1]} values.")
    all_labels = np.concatenate(labels)
    if all_labels.max() >= num_classes:
        raise ValueError(
            f"label {all_labels.max()} in {paths[0].parent}; raise "
            f"--leaf_num_classes={num_classes}."
        )
    columns = {"images": images.as_uint8(flat.reshape(-1, side, side)), "labels": all_labels}
    return federated_data.by_client(columns, np.concatenate(ids))
