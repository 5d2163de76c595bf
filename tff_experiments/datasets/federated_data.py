"""Federated data: examples in columns, and which rows belong to which client.

Arrays may be memory maps: a client's examples are views into them, so that drawing a client costs
microseconds and processes share the pages.
"""

import dataclasses
import functools
from typing import NamedTuple

import numpy as np


class ArraySpec(NamedTuple):
    """Type of one field of one example."""

    shape: tuple[int, ...]
    dtype: np.dtype


@dataclasses.dataclass(frozen=True)
class ClientExamples:
    """One split. Client i holds the rows [offsets[i], offsets[i + 1]) of the columns, or of `order`
    where it is given.

    Attributes:
        client_ids: One str per client, in a fixed order.
        columns: Field name -> array [num_rows, ...].
        offsets: int64 [num_clients + 1], ascending from 0.
        order: int64 [offsets[-1]], rows of the columns, or None where they stand in client order.
    """

    client_ids: tuple[str, ...]
    columns: dict[str, np.ndarray]
    offsets: np.ndarray
    order: np.ndarray | None = None

    def __post_init__(self):
        if len(set(self.client_ids)) != len(self.client_ids):
            raise ValueError("client ids must be different.")
        if len(self.offsets) != len(self.client_ids) + 1:
            raise ValueError(f"{len(self.client_ids)} clients, but {len(self.offsets)} offsets.")
        num_rows = {name: len(column) for name, column in self.columns.items()}
        if len(set(num_rows.values())) != 1:
            raise ValueError(f"columns must be equally long, got {num_rows}.")

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        return {client_id: i for i, client_id in enumerate(self.client_ids)}

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Number of examples per client, int64 [num_clients]."""
        return np.diff(self.offsets)

    @property
    def num_clients(self) -> int:
        """How many clients there are."""
        return len(self.client_ids)

    @property
    def total(self) -> int:
        """How many examples all clients hold together."""
        return int(self.offsets[-1])

    @property
    def element_spec(self) -> dict[str, ArraySpec]:
        """Shape and dtype of each field of one example."""
        return {name: ArraySpec(c.shape[1:], c.dtype) for name, c in self.columns.items()}

    def num_examples(self, client_id: str) -> int:
        """How many examples a client holds; raises ValueError for an unknown id."""
        return int(self.counts[self._position(client_id)])

    def examples(self, client_id: str) -> dict[str, np.ndarray]:
        """A client's examples, field name -> array [num_examples, ...]; raises ValueError for an
        unknown id.
        """
        i = self._position(client_id)
        rows = slice(int(self.offsets[i]), int(self.offsets[i + 1]))
        return self._take(rows)

    def all(self) -> dict[str, np.ndarray]:
        """The examples of all clients, client after client."""
        return self._take(slice(0, self.total))

    def rows(self, positions: np.ndarray) -> dict[str, np.ndarray]:
        """Some examples by their positions in `all()`."""
        index = positions if self.order is None else self.order[positions]
        return {name: column[index] for name, column in self.columns.items()}

    def labels(self) -> np.ndarray:
        """The labels of all clients, client after client."""
        return self.columns["labels"] if self.order is None else self.columns["labels"][self.order]

    def _take(self, rows: slice) -> dict[str, np.ndarray]:
        index = rows if self.order is None else self.order[rows]
        return {name: column[index] for name, column in self.columns.items()}

    def _position(self, client_id: str) -> int:
        try:
            return self._index[client_id]
        except KeyError:
            example = self.client_ids[0] if self.client_ids else "none"
            raise ValueError(
                f"there is no client {client_id!r} among the {self.num_clients}; ids look like "
                f"{example!r}."
            ) from None


def one_client(columns: dict[str, np.ndarray]) -> ClientExamples:
    """All rows as one client, "all": data without users."""
    return ClientExamples(("all",), columns, np.array([0, len(next(iter(columns.values())))]))


def by_client(columns: dict[str, np.ndarray], row_ids: np.ndarray) -> ClientExamples:
    """Groups rows by their client's id, str [num_rows]; clients are sorted by id, rows keep their
    order.
    """
    client_ids, client_of_row = np.unique(row_ids, return_inverse=True)
    counts = np.bincount(client_of_row, minlength=len(client_ids))
    order = None
    if np.any(np.diff(client_of_row) < 0):
        order = np.argsort(client_of_row, kind="stable")
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return ClientExamples(tuple(map(str, client_ids)), columns, offsets, order)


def in_client_order(split: ClientExamples) -> ClientExamples:
    """The same split with its columns copied into client order, as a cache wants them."""
    if split.order is None:
        return split
    return dataclasses.replace(split, columns=split.all(), order=None)


@dataclasses.dataclass(frozen=True)
class FederatedData:
    """A data set: clients with training examples, and a test set.

    Attributes:
        name: Its source, a key of `datasets.BY_NAME`.
        train: The clients that can take part in rounds.
        test: The test set; `test.all()` is the centralised one.
        num_classes: Labels are 0 .. num_classes - 1.
        stand_in: What it stands in for and how it falls short of it, or "" where it is the real
            thing.
        partition: The partitioner that made its clients, "natural" where they are its users.
    """

    name: str
    train: ClientExamples
    test: ClientExamples
    num_classes: int
    stand_in: str = ""
    partition: str = "natural"

    @property
    def label(self) -> str:
        """What a result on this data must say of it."""
        size = (
            f"{self.name}, {self.train.num_clients:,} clients ({self.partition}), "
            f"{self.train.total:,} train / {self.test.total:,} test examples"
        )
        return f"{size}; stand-in: {self.stand_in}" if self.stand_in else size
