"""Published numbers beside ours: the table, and what stands above it."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tff_experiments.reporting import summary
from tff_experiments.reproduction.evidence import Evidence
from tff_experiments.reproduction.published import Computed, Entry, Row, Table

RECALLED = "(R): recalled, not read in the paper."
_TITLES = {
    "group": "row",
    "published": "published",
    "ours": "ours",
    "ratio": "ratio",
    "band": "band",
    "verdict": "verdict",
    "rate": "rate",
    "seeds": "seeds",
    "notes": "notes",
}


@dataclasses.dataclass(frozen=True)
class Found:
    """A row with ours.

    Attributes:
        entry: The row.
        evidence: Of runs; None where there are none, or none are needed.
        computed: What was computed, where nothing is run.
        beside: Of the row that this one is relative to.
    """

    entry: Entry
    evidence: Evidence | None = None
    computed: Computed | None = None
    beside: Evidence | None = None

    @property
    def value(self) -> float:
        """Ours, in the published unit; NaN where there is none."""
        if self.computed is not None:
            return self.computed.value
        if self.evidence is None:
            return math.nan
        if not self.entry.row.relative_to:
            return self.evidence.value
        return self.evidence.value / self.beside.value if self.beside else math.nan


def verdict(found: Found, *, stand_in: bool) -> str:
    """Whether ours is the published number, in a word or three."""
    row = found.entry.row
    if math.isnan(found.value):
        if found.evidence is None:
            return "not run"
        is_search = found.entry.table.rule.kind == "rounds_to"
        failed = "diverged" if found.evidence.diverged else "unfinished"
        return "not reached" if is_search else failed
    if math.isnan(row.published) or row.band is None:
        return "no band"
    if stand_in and found.computed is None:
        return "stand-in"
    return "inside" if row.band.holds(found.value, row.published) else "outside"


def table(of: Sequence[Found], *, stand_in: bool) -> summary.Table:
    """Published beside ours, a row each; columns that say nothing are left out."""
    rows = [_row(found, stand_in=stand_in) for found in of]
    has = lambda key: any(row[key].text not in (summary.NOTHING, "") for row in rows)
    titles = {key: title for key, title in _TITLES.items() if has(key)}
    return summary.Table(titles, [{key: row[key] for key in titles} for row in rows])


def _row(found: Found, *, stand_in: bool) -> dict[str, summary.Cell]:
    row, evidence = found.entry.row, found.evidence
    comparable = not stand_in or found.computed is not None
    ratio = found.value / row.published if row.published and comparable else math.nan
    notes = found.computed.note if found.computed else evidence.note if evidence else ""
    return {
        "group": summary.text(row.title),
        "published": _published(row),
        "ours": _ours(found),
        "ratio": summary.number(ratio, ".2f"),
        "band": summary.text(row.band.told if row.band else summary.NOTHING),
        "verdict": summary.text(verdict(found, stand_in=stand_in)),
        "rate": summary.text(evidence.best if evidence else ""),
        "seeds": summary.number(evidence.seeds if evidence else math.nan, ".0f"),
        "notes": summary.text(notes),
    }


def _published(row: Row) -> summary.Cell:
    cell = summary.number(row.published, "g")
    text = (row.told or cell.text) + " (R)" * row.recalled
    return dataclasses.replace(cell, text=text)


def _ours(found: Found) -> summary.Cell:
    # As many digits as are published, and no fewer than four.
    digits = max(4, sum(map(str.isdigit, f"{found.entry.row.published:g}".lstrip("0."))))
    cell = summary.number(found.value, f".{digits}g")
    std = found.evidence.std if found.evidence and not found.entry.row.relative_to else math.nan
    return cell if np.isnan(std) else dataclasses.replace(cell, text=f"{cell.text} +- {std:.2g}")


def heading(of: Sequence[Found], table: Table, *, stand_in: bool) -> list[str]:
    """The lines above a table: first that the data are a stand-in, where they are."""
    labels = list(dict.fromkeys(found.evidence.data for found in of if found.evidence))
    lines = []
    if stand_in and table.data:
        lines.append(
            f"STAND-IN DATA, not the paper's ({table.data.told}): these numbers must not be "
            f"compared with the published ones, and there is no verdict."
        )
    lines.append(f"{of[0].entry.paper.title}; {table.title}.")
    rule = table.rule.told if table.rule else table.unit
    lines.append(f"Ours and published: {rule}.")
    lines += [f"data: {label}" for label in labels]
    if any(found.entry.row.recalled for found in of):
        lines.append(RECALLED)
    return lines
