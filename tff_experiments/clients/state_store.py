"""What clients keep between rounds, such as SCAFFOLD's controls, on disk: 3,400 clients of 1.2 M
weights do not fit into memory.

A state is a file <client>/round_<r>.state, r the round that made it. A client's state is its newest
one. A round that did not count is taken back, and a run that resumes after round r takes back what
came later, so that states are always those of the rounds before. Older files stay as long as a
checkpoint may ask for them. Clients that never took part have no file.
"""

import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tree

from tff_experiments import checkpoints

SUFFIX = ".state"


class StateStore:
    """The states of a run's clients. Threads may use different clients at the same time."""

    def __init__(self, folder: pathlib.Path, first: Any):
        """Opens a folder.

        Args:
            folder: Where the states are; it is made when the first is written.
            first: The state of a client that has not taken part yet, nested.
        """
        self._folder, self.first, self._round_num = folder, first, 0
        self._of_round: list[pathlib.Path] = []
        self._unsynced: list[pathlib.Path] = []

    def restart_after(self, round_num: int) -> None:
        """Drops the states of later rounds."""
        for path in self._files():
            if _round_of(path) > round_num:
                path.unlink()

    def begin(self, round_num: int) -> None:
        """What comes now are the states of this round."""
        self._round_num, self._of_round = round_num, []

    def get(self, client: str) -> Any:
        """A client's state before the round, nested; raises ValueError if its file is damaged."""
        found = [path for path in self._of(client) if _round_of(path) < self._round_num]
        return checkpoints.read(found[-1], self.first) if found else self.first

    def newest(self, client: str) -> Any | None:
        """A client's state after the last round, None if it never took part; raises as `get`."""
        found = self._of(client)
        return checkpoints.read(found[-1], self.first) if found else None

    def put(self, client: str, leaves: Sequence[np.ndarray]) -> None:
        """Takes a client's new state, flat; raises OSError."""
        path = self._folder / _name(client) / f"round_{self._round_num:08d}{SUFFIX}"
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.write(path, tree.unflatten_as(self.first, list(leaves)), sync=False)
        self._of_round.append(path)
        self._unsynced.append(path)

    def take_back(self) -> None:
        """Drops the states of the round: it did not count."""
        for path in self._of_round:
            path.unlink()
            self._unsynced.remove(path)
        self._of_round = []

    def sync(self) -> None:
        """Makes the states survive a power cut; to be called before a checkpoint."""
        for path in self._unsynced:
            checkpoints.sync(path)
        self._unsynced = []

    def drop_before(self, round_num: int) -> None:
        """Drops what no checkpoint needs; the oldest there is of `round_num`."""
        for folder in self._folder.glob("*"):
            needed = [path for path in _states(folder) if _round_of(path) <= round_num]
            for path in needed[:-1]:
                path.unlink()

    def clients(self) -> int:
        """How many clients have a state."""
        return len({path.parent for path in self._files()})

    def _files(self) -> list[pathlib.Path]:
        return list(self._folder.glob(f"*/*{SUFFIX}"))

    def _of(self, client: str) -> list[pathlib.Path]:
        return _states(self._folder / _name(client))


def _states(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def _name(client: str) -> str:
    # A client's name may be anything, a path as well.
    return hashlib.sha256(client.encode()).hexdigest()[:32]


def _round_of(path: pathlib.Path) -> int:
    return int(path.stem.removeprefix("round_"))
