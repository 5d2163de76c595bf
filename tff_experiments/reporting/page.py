"""A comparison as one HTML page that needs nothing else: no server, no network.

page.html is the frame, page.css and page.js what it looks like and does; plotly.js is the one that
the plotly package brings. All that comes from runs is escaped.
"""

import dataclasses
import html
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly import offline

from tff_experiments.reporting import drawn, groups, summary
from tff_experiments.reporting import runs as runs_lib

_HERE = pathlib.Path(__file__).parent
_WORDS = {"group", "notes"}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All that the page shows.

    Attributes:
        question: What was asked.
        groups: The groups.
        skipped: What was left out.
        table: The table.
        drawing: The curves.
        command: What made the page.
    """

    question: summary.Question
    groups: Sequence[groups.Group]
    skipped: Sequence[runs_lib.Skipped]
    table: summary.Table
    drawing: drawn.Drawing
    command: str


def render(of: Comparison) -> str:
    """The page's HTML."""
    explanation = summary.explain(of.question).replace("+-", "±")
    parts = {
        "title": html.escape(f"{of.question.metric.removeprefix('test/')} of {_count(of)}"),
        "facts": _facts(of),
        "warnings": _warnings(of.skipped),
        "table": _table(of.table),
        "band": _sentence(drawn.BAND),
        "explanation": f"<p>{html.escape(explanation)}</p>",
        "clients": "".join(f"<p>{_sentence(text)}</p>" for text in of.drawing.clients_titles),
        "flags": _flags(of.groups),
        "runs": "".join(_run(group, run) for group in of.groups for run in group.runs),
        "command": html.escape(of.command),
        "drawing": _json(of.drawing),
        "plotly": offline.get_plotlyjs(),
        "css": (_HERE / "page.css").read_text(),
        "js": (_HERE / "page.js").read_text(),
    }
    frame = (_HERE / "page.html").read_text()
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], frame)


def _sentence(text: str) -> str:
    return html.escape(f"{text[0].upper()}{text[1:]}.")


def _count(of: Comparison) -> str:
    runs = sum(len(group.runs) for group in of.groups)
    return f"{runs} run{'s' * (runs > 1)} in {len(of.groups)} group{'s' * (len(of.groups) > 1)}"


def _facts(of: Comparison) -> str:
    labels = dict.fromkeys(run.data for group in of.groups for run in group.runs)
    return "".join(f"<p>Data: {html.escape(label)}</p>" for label in labels)


def _warnings(skipped: Sequence[runs_lib.Skipped]) -> str:
    items = "".join(f"<li>{html.escape(f'{left.path}: {left.reason}')}</li>" for left in skipped)
    return f'<div class="warning">Skipped:<ul>{items}</ul></div>' if items else ""


def _table(table: summary.Table) -> str:
    head = ""
    for key, title in table.titles.items():
        kind, style = ("text", ' class="words"') if key in _WORDS else ("number", "")
        button = f'<button type="button">{html.escape(title)}</button>'
        head += f'<th scope="col" data-kind="{kind}"{style}>{button}</th>'
    body = "".join(
        "<tr>" + "".join(_cell(key, row[key]) for key in table.titles) + "</tr>"
        for row in table.rows
    )
    return _scrolling(head, body)


def _cell(key: str, cell: summary.Cell) -> str:
    # Only NaN differs from itself.
    order = "" if cell.order != cell.order else html.escape(str(cell.order))
    tag = "th" if key == "group" else "td"
    style = ' class="words"' if key in _WORDS else ""
    shown = html.escape(cell.text.replace("+-", "±"))
    return f'<{tag}{style} data-order="{order}">{shown}</{tag}>'


def _flags(of: Sequence[groups.Group]) -> str:
    if not of[0].differing:
        return "<p>None: the runs differ in nothing but their seed.</p>"
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["flag", *(g.name for g in of)])
    body = ""
    for name in of[0].differing:
        body += f"<tr><th scope='row'>{html.escape(name)}</th>"
        for value in (group.differing[name] for group in of):
            style = ' class="absent"' if value == groups.ABSENT else ""
            body += f"<td{style}>{html.escape(value)}</td>"
        body += "</tr>"
    return _scrolling(head, body)


def _scrolling(head: str, body: str) -> str:
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _run(group: groups.Group, run: runs_lib.Run) -> str:
    """A run's own facts, folded."""
    about = run.about
    packages = {"python": about.get("python", "unknown"), **about.get("packages", {})}
    facts = {
        "data": run.data,
        "commit": about.get("commit", "unknown"),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "rounds": str(run.rounds),
        "files": str(run.path),
    }
    earlier = [str(begun.get("commit", "unknown")) for begun in about.get("earlier", [])]
    if earlier:
        facts["begun on commits"] = ", ".join(earlier)
    told = "".join(f"<dt>{k}</dt><dd>{html.escape(v)}</dd>" for k, v in facts.items())
    head = html.escape(f"{group.name}, seed {run.seed}")
    command = f"<pre>{html.escape(run.command)}</pre>"
    return f"<details><summary>{head}</summary>{command}<dl>{told}</dl></details>"


def _json(of: drawn.Drawing) -> str:
    """What page.js draws, safe inside a script element."""
    lines = [
        {
            "label": html.escape(line.label),
            "color": line.color,
            "dash": line.dash,
            "curves": {name: _curve(curve) for name, curve in line.curves.items()},
            "shares": _curve(line.shares) if line.shares else None,
            "clients": dict(line.clients) or None,
        }
        for line in of.lines
    ]
    axes = [{"key": axis, "title": drawn.AXIS_TITLES[axis]} for axis in of.axes]
    value = {"metrics": of.metrics, "axes": axes, "lines": lines, "clients_title": of.of_clients}
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _curve(curve) -> dict[str, Any]:
    known = {axis: x for axis, x in curve.x.items() if np.isfinite(x).all()}
    return {
        "x": {axis: _numbers(x) for axis, x in known.items()},
        "mean": _numbers(curve.mean),
        "low": _numbers(curve.mean - curve.std),
        "high": _numbers(curve.mean + curve.std),
        "seeds": curve.seeds,
    }


def _numbers(values: np.ndarray) -> list[float]:
    """To six digits: no picture shows more, and the page stays small."""
    return [float(f"{value:.6g}") for value in values]
