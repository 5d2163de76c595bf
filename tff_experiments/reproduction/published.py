"""What a published table is: its numbers, and how each is made again, as data.

A row is made of runs of scripts/run.py (`config`, `flags`, `grid`), or computed (`compute`).
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tff_experiments.reproduction.rules import Band, Grid, Rule


@dataclasses.dataclass(frozen=True)
class Data:
    """The examples that a paper used.

    Attributes:
        told: What they are, for a reader.
        examples: What runs on them say, clients left out; see `reporting.groups.examples_of`.
        flags: What has scripts/run.py load them.
    """

    told: str
    examples: str
    flags: tuple[str, ...]


class Computed(NamedTuple):
    """A number that no training is needed for.

    Attributes:
        value: In the published unit; NaN where it could not be had.
        note: How it was had.
    """

    value: float
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One published number.

    Attributes:
        key: Its name.
        title: What it is of.
        published: The number.
        band: What counts as the same; None where nothing can be asked.
        minutes: Expected on two cores, with the search.
        recalled: Whether the number was recalled, not read in the paper.
        told: The number in words, where the paper has no figure.
        config: A flagfile under configs/<paper>/, without ".cfg".
        flags: What comes to it, as a command line has it.
        grid: What is searched.
        most_rounds: Runs that have not reached the target by then never do; 0 is the config's
            --rounds.
        stand_in_flags: What other data make necessary, in addition.
        stand_in_is_npz: Whether these fit examples from files only, and no generated ones.
        relative_to: A row by whose value this one's is divided.
        compute: Makes the number, where runs don't: may_measure -> Computed. What takes minutes and
            was not kept is NaN unless it may be measured.
    """

    key: str
    title: str
    published: float = math.nan
    band: Band | None = None
    minutes: float = 0.0
    recalled: bool = False
    told: str = ""
    config: str = ""
    flags: tuple[str, ...] = ()
    grid: Grid | None = None
    most_rounds: int = 0
    stand_in_flags: tuple[str, ...] = ()
    stand_in_is_npz: bool = False
    relative_to: str = ""
    compute: Callable[[bool], Computed] | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """One published table.

    Attributes:
        key: Its name.
        title: What it shows.
        rows: Its numbers.
        unit: What the numbers are, where `rule` does not say it.
        rule: How runs become numbers.
        data: What the paper trained on.
        folder: What names of its rows' folders begin with; by default the key.
    """

    key: str
    title: str
    rows: tuple[Row, ...]
    unit: str = ""
    rule: Rule | None = None
    data: Data | None = None
    folder: str = ""


@dataclasses.dataclass(frozen=True)
class Paper:
    """What is reproduced of a paper.

    Attributes:
        key: Its name, also of its configs and of its page in docs/.
        title: Authors, year, title.
        tables: Its tables.
    """

    key: str
    title: str
    tables: tuple[Table, ...]


class Entry(NamedTuple):
    """A row and where it stands."""

    paper: Paper
    table: Table
    row: Row

    @property
    def name(self) -> str:
        """PAPER/TABLE/ROW."""
        return f"{self.paper.key}/{self.table.key}/{self.row.key}"

    @property
    def folder(self) -> str:
        """Where its runs are, below results/ and below where they are run."""
        return f"{self.paper.key}/{self.table.folder or self.table.key}_{self.row.key}"

    def beside(self, key: str) -> "Entry":
        """Another row of the same table."""
        return self._replace(row=next(row for row in self.table.rows if row.key == key))


def select(papers: Sequence[Paper], name: str) -> list[list[Entry]]:
    """The rows that PAPER[/TABLE[/ROW]] means, a list for each table.

    Args:
        papers: Where they are looked for.
        name: Its parts.

    Returns:
        At least one table with at least one row.

    Raises:
        ValueError: There is no such paper, table or row; lists what there is.
    """
    paper_key, *rest = name.strip("/").split("/")
    paper = _one("paper", papers, paper_key)
    tables = [_one(f"table of {paper_key}", paper.tables, rest[0])] if rest else paper.tables
    if len(rest) > 2:
        raise ValueError(f"name PAPER, PAPER/TABLE or PAPER/TABLE/ROW, got {name!r}.")
    if len(rest) == 2:
        rows = [_one(f"row of {paper_key}/{rest[0]}", tables[0].rows, rest[1])]
        return [[Entry(paper, tables[0], rows[0])]]
    return [[Entry(paper, table, row) for row in table.rows] for table in tables]


def _one(what: str, among: Sequence, key: str):
    for each in among:
        if each.key == key:
            return each
    raise ValueError(
        f"there is no {what} {key!r}; there are {', '.join(each.key for each in among)}."
    )
