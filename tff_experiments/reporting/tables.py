"""A table for a terminal, as Markdown, as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence

from tff_experiments.reporting import summary

_WORDS = {"group", "notes"}


def as_text(table: summary.Table) -> str:
    """Columns under their titles, numbers to the right; notes go below the table."""
    keys = [key for key in table.titles if key != "notes"]
    lines = [[table.titles[key] for key in keys]]
    lines += [[row[key].text for key in keys] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    pads = [str.ljust if key in _WORDS else str.rjust for key in keys]
    padded = [
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True))
        for line in lines
    ]
    notes = [
        f"{row['group'].text}: {row['notes'].text}"
        for row in table.rows
        if "notes" in row and row["notes"].text
    ]
    return "\n".join(line.rstrip() for line in [*padded, *notes])


def as_markdown(table: summary.Table) -> str:
    """A table as GitHub renders it."""
    clean = lambda text: text.replace("|", "\\|").replace("\n", " ")
    line = lambda cells: "| " + " | ".join(cells) + " |"
    rules = ["---" if key in _WORDS else "---:" for key in table.titles]
    rows = [[clean(row[key].text) for key in table.titles] for row in table.rows]
    head = [clean(title) for title in table.titles.values()]
    return "\n".join(line(cells) for cells in [head, rules, *rows]) + "\n"


def as_csv(table: summary.Table, flags_of: Sequence[Mapping[str, str]] = ()) -> str:
    """Every number of the table in a column of its own, unrounded; an unknown one is empty.

    Args:
        table: What is written.
        flags_of: The flags of each row, which become columns --<flag>.

    Returns:
        CSV with a line of names, <column> or <column>_<number>.
    """
    lines = []
    for i, row in enumerate(table.rows):
        line = {}
        for key, cell in row.items():
            for suffix, value in cell.numbers.items():
                # Only NaN differs from itself.
                line[f"{key}_{suffix}" if suffix else key] = "" if value != value else value
        flags = flags_of[i] if flags_of else {}
        lines.append(line | {f"--{name}": value for name, value in flags.items()})
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()
