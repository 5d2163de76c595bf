"""Traces: CSV files of what real clients did."""

import csv
import math
import pathlib


def read(path: str, columns: int, *, flag: str) -> list[list[str | float]]:
    """Rows of a file: a client's name, which may be left out, and numbers.

    Args:
        path: The file; a first line of words is a heading.
        columns: Of a row with a name.
        flag: Named in errors.

    Returns:
        [name, number, ...] of each row; the name is "" where a row has none.

    Raises:
        ValueError: The file can't be read or a line is wrong; names the line.
    """
    file = pathlib.Path(path)
    if not file.is_file():
        raise ValueError(f"--{flag}={path} is not a file.")
    rows = []
    with file.open(newline="") as lines:
        for number, row in enumerate(csv.reader(lines), 1):
            if not row or (number == 1 and _is_heading(row)):
                continue
            named = row if len(row) == columns else ["", *row]
            if len(named) != columns or not all(map(_is_number, named[1:])):
                raise ValueError(
                    f"--{flag}={path}, line {number}: expected {columns} columns, a client's name "
                    f"and numbers >= 0, got {','.join(row)!r}."
                )
            rows.append([named[0].strip(), *map(float, named[1:])])
    if not rows:
        raise ValueError(f"--{flag}={path} holds no line.")
    return rows


def _is_heading(row: list[str]) -> bool:
    try:
        float(row[-1])
        return False
    except ValueError:
        return row[-1].strip().replace("_", "").isalpha()


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and float(text) >= 0
    except ValueError:
        return False
