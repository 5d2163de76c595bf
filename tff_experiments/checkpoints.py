"""Checkpoints of a run's state: one file each, complete or absent, with a digest that shows damage.

A file is the SHA-256 of the rest, then an .npz of the state's leaves in order. It is written under
another name, synced and renamed, so that a kill at any moment leaves whole files only.
"""

import hashlib
import io
import os
import pathlib
import threading
from typing import Any

import numpy as np
import tree
from absl import logging

from tff_experiments import whole_files

KEEP = 2
_DIGEST_BYTES = 32
# numpy parses arrays' headers with `ast`, in which CPython 3.11 fails where two threads are at once
# ("AST constructor recursion depth mismatch", github.com/python/cpython/issues/106905).
_PARSING = threading.Lock()


def _path(folder: pathlib.Path, round_num: int) -> pathlib.Path:
    return folder / f"round_{round_num:08d}.ckpt"


def rounds(folder: pathlib.Path) -> list[int]:
    """The rounds of which there are checkpoints, ascending."""
    return sorted(int(path.stem.removeprefix("round_")) for path in folder.glob("round_*.ckpt"))


def save(folder: pathlib.Path, round_num: int, state: Any) -> None:
    """Writes the state after a round and removes all but the last KEEP checkpoints; raises
    OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write(_path(folder, round_num), state)
    for old in rounds(folder)[:-KEEP]:
        _path(folder, old).unlink()


def load(folder: pathlib.Path, round_num: int, like: Any) -> Any:
    """Reads a checkpoint; see `read`."""
    return read(_path(folder, round_num), like)


def write(path: pathlib.Path, state: Any, *, sync: bool = True) -> None:
    """Writes a file that is there complete or not at all, and with `sync` survives a power cut."""
    buffer = io.BytesIO()
    np.savez(buffer, *[np.asarray(leaf) for leaf in tree.flatten(state)])
    content = buffer.getvalue()
    whole_files.write(path, hashlib.sha256(content).digest() + content, sync=sync)


def sync(path: pathlib.Path) -> None:
    """Makes a file that was written before survive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def read(path: pathlib.Path, like: Any) -> Any:
    """Reads a file, in any thread.

    Args:
        path: The file.
        like: A state of the same structure, shapes and dtypes, such as the initial one.

    Returns:
        The state.

    Raises:
        ValueError: The file is damaged, or is not of such a state.
    """
    content = path.read_bytes()
    if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
        raise ValueError(f"checkpoint {path} is damaged.")
    packed = io.BytesIO(content[_DIGEST_BYTES:])
    with _PARSING, np.load(packed, allow_pickle=False) as file:
        leaves = [file[f"arr_{i}"] for i in range(len(file.files))]
    wanted = [np.asarray(leaf) for leaf in tree.flatten(like)]
    if [(leaf.shape, leaf.dtype) for leaf in leaves] != [
        (leaf.shape, leaf.dtype) for leaf in wanted
    ]:
        raise ValueError(f"checkpoint {path} is of another model or algorithm.")
    return tree.unflatten_as(like, leaves)


def load_latest(folder: pathlib.Path, like: Any) -> tuple[int, Any]:
    """Reads the newest checkpoint that is whole, with a warning for each that is not.

    Returns:
        (round_num, state), or (0, like) where there is no checkpoint.

    Raises:
        ValueError: There are checkpoints, and none of them can be read.
    """
    found = rounds(folder)
    for round_num in reversed(found):
        try:
            return round_num, load(folder, round_num, like)
        except ValueError as error:
            logging.warning("%s Trying the one before it.", error)
    if found:
        raise ValueError(
            f"no checkpoint in {folder} can be read; start again in another --output_dir."
        )
    return 0, like
