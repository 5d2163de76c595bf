"""A local cache of converted data: one .npy file per column, opened as a memory map.

A folder is complete or absent: it is written under another name and renamed. Raises OSError where
it can't be written.
"""

import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import numpy as np

from tff_experiments.datasets import federated_data

FORMAT = 1


def default_dir() -> pathlib.Path:
    """$TFF_EXPERIMENTS_CACHE, by default ~/.cache/tff_experiments."""
    named = os.environ.get("TFF_EXPERIMENTS_CACHE")
    return pathlib.Path(named) if named else pathlib.Path.home() / ".cache" / "tff_experiments"


def files_key(paths: list[pathlib.Path]) -> str:
    """Names a state of some files by path, size and time of change."""
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps(stats).encode()).hexdigest()[:16]


def load_or_convert(
    cache_dir: pathlib.Path, key: str, convert: Callable[[], federated_data.FederatedData]
) -> federated_data.FederatedData:
    """Opens the data kept under `key`, or converts and keeps it."""
    folder = cache_dir / f"{key}-v{FORMAT}"
    if not folder.exists():
        cache_dir.mkdir(parents=True, exist_ok=True)
        partial = pathlib.Path(tempfile.mkdtemp(prefix=f"{key}-partial-", dir=cache_dir))
        try:
            _write(partial, convert())
            partial.rename(folder)
        except OSError:
            # Another process was faster: its folder is as good.
            if not folder.exists():
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _open(folder)


def _write(folder: pathlib.Path, data: federated_data.FederatedData) -> None:
    meta = {
        "name": data.name,
        "num_classes": data.num_classes,
        "stand_in": data.stand_in,
        "partition": data.partition,
    }
    for split_name in ("train", "test"):
        split = federated_data.in_client_order(getattr(data, split_name))
        for column, array in {**split.columns, "offsets": split.offsets}.items():
            np.save(folder / f"{split_name}.{column}.npy", array)
        meta[split_name] = {"client_ids": split.client_ids, "columns": list(split.columns)}
    (folder / "meta.json").write_text(json.dumps(meta))


def _open(folder: pathlib.Path) -> federated_data.FederatedData:
    meta = json.loads((folder / "meta.json").read_text())

    def split(name):
        columns = {
            column: np.load(folder / f"{name}.{column}.npy", mmap_mode="r")
            for column in meta[name]["columns"]
        }
        offsets = np.load(folder / f"{name}.offsets.npy")
        return federated_data.ClientExamples(tuple(meta[name]["client_ids"]), columns, offsets)

    rest = {key: meta[key] for key in ("name", "num_classes", "stand_in", "partition")}
    return federated_data.FederatedData(train=split("train"), test=split("test"), **rest)
