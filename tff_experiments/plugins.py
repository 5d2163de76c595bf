"""Plug-ins in files of a user's own.

A file says by `ROOM` what it is ("task", "algorithm", "aggregator", "secure_sum", "dataset",
"query"), and holds what the entries of that room hold; its name is that of the file.
"""

import dataclasses
import importlib.util
import pathlib
import sys
import types
from collections.abc import Iterable, Mapping, MutableMapping, Sequence


def load(paths: Sequence[str], rooms: Mapping[str, MutableMapping[str, types.ModuleType]]) -> None:
    """Adds files to the rooms' `BY_NAME`.

    Args:
        paths: Python files.
        rooms: {room: its `BY_NAME`}.

    Raises:
        ValueError: A file can't be read or run, does not say a room that there is, lacks what a
            plug-in has, or has a name that is taken.
    """
    for path in map(pathlib.Path, paths):
        module = _import(path)
        room = getattr(module, "ROOM", None)
        if room not in rooms:
            raise ValueError(f"--plugin={path}: ROOM must be one of {sorted(rooms)}, got {room!r}.")
        wanted = ["Hparams", "build", *_constants_of_all(rooms[room].values())]
        missing = [name for name in wanted if not hasattr(module, name)]
        if missing:
            raise ValueError(f"--plugin={path} lacks {', '.join(missing)}.")
        if not dataclasses.is_dataclass(module.Hparams):
            raise ValueError(f"--plugin={path}: Hparams must be a frozen dataclass.")
        if path.stem in rooms[room]:
            raise ValueError(
                f"--plugin={path}: there is {room} {path.stem} already; rename the file."
            )
        rooms[room][path.stem] = module


def _constants_of_all(entries: Iterable[types.ModuleType]) -> list[str]:
    """Names of the constants that each entry of a room has: its contract beside `build`."""
    names = [{name for name in vars(entry) if name.isupper()} for entry in entries]
    return sorted(set.intersection(*names)) if names else []


def _import(path: pathlib.Path) -> types.ModuleType:
    if path.suffix != ".py" or not path.is_file():
        raise ValueError(f"--plugin={path} is not a Python file.")
    # Data classes look their module up by its name.
    name = f"tff_experiments_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(
            f"--plugin={path} can't be run: {type(error).__name__}: {error}"
        ) from error
    return module
