"""Pictures of a comparison, PNG and SVG: curves with a band over seeds, the spread over clients.

They are written with fixed identifiers and no date: the same runs give the same files.
"""

import math
import pathlib
import textwrap
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from tff_experiments.reporting import distribution, drawn

SUFFIXES = ("png", "svg")
_CLIENTS_WIDTH = 7
_DASHES = {"solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_STYLE = {
    "svg.hashsalt": "tff_experiments",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def curves(of: drawn.Drawing, stem: pathlib.Path) -> list[pathlib.Path]:
    """Draws each metric (rows) against each axis (columns).

    Args:
        of: What is drawn.
        stem: Where to, without the suffix.

    Returns:
        The files.
    """
    shape = len(of.metrics), len(of.axes)
    width = 3.6 * shape[1] + 0.4
    # A legend's letter takes a twelfth of an inch, its line and margin six letters.
    names = max(1, min(4, int(width * 12 / (max(len(line.label) for line in of.lines) + 6))))
    height = 2.8 * shape[0] + 0.7 + 0.2 * math.ceil(len(of.lines) / names)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(*shape, squeeze=False, sharey="row")
        for panels, metric in zip(grid, of.metrics, strict=True):
            for panel, axis in zip(panels, of.axes, strict=True):
                _draw_lines(panel, of.lines, metric, axis)
            panels[0].set_ylabel(metric.removeprefix("test/"))
        for panel, axis in zip(grid[-1], of.axes, strict=True):
            panel.set_xlabel(drawn.AXIS_TITLES[axis])
        # Each group once, whichever metric it has.
        told = {line.get_label(): line for panel in grid.flat for line in panel.get_lines()}
        figure.legend(
            told.values(), told, loc="outside lower center", ncols=names, fontsize="small"
        )
        title = f"{_wrapped(of.title, width)}\n{_wrapped(drawn.BAND, width)}"
        figure.suptitle(title, fontsize="small")
        return _save(figure, stem)


def _draw_lines(panel, lines: Sequence[drawn.Line], metric: str, axis: str) -> None:
    panel.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    for line in lines:
        curve = line.curves.get(metric)
        if curve is not None and np.isfinite(curve.x[axis]).any():
            _draw_curve(panel, line, curve, axis)


def _draw_curve(panel, line: drawn.Line, curve, axis: str) -> None:
    x, y = curve.x[axis], curve.mean
    panel.plot(x, y, _DASHES[line.dash], color=line.color, linewidth=1.4, label=line.label)
    if curve.seeds > 1:
        band = (y - curve.std, y + curve.std)
        panel.fill_between(x, *band, color=line.color, alpha=0.2, linewidth=0)


def clients(of: drawn.Drawing, stem: pathlib.Path) -> list[pathlib.Path]:
    """Draws how the metric is spread over clients at the end; nothing where no run tells.

    Args:
        of: What is drawn.
        stem: Where to, without the suffix.

    Returns:
        The files.
    """
    shares = [line for line in of.lines if line.shares]
    bars = [line for line in of.lines if line.clients]
    heights = [3.4 + 0.2 * len(shares)] * bool(shares) + [0.4 * len(bars) + 1.2] * bool(bars)
    if not heights:
        return []
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_CLIENTS_WIDTH, sum(heights) + 0.4), layout="constrained")
        grid = figure.subplots(len(heights), squeeze=False, height_ratios=heights)
        for panel, title in zip(grid[:, 0], of.clients_titles, strict=True):
            panel.set_title(_wrapped(title, _CLIENTS_WIDTH), fontsize="small")
            panel.set_xlabel(of.of_clients)
        if shares:
            _draw_shares(grid[0, 0], shares)
        if bars:
            _draw_bars(grid[-1, 0], bars)
        figure.suptitle(_wrapped(of.title, _CLIENTS_WIDTH), fontsize="small")
        return _save(figure, stem)


def _draw_shares(panel, lines: Sequence[drawn.Line]) -> None:
    for line in lines:
        _draw_curve(panel, line, line.shares, distribution.VALUE)
    panel.set_ylabel("share of clients")
    panel.legend(fontsize="small")


def _draw_bars(panel, lines: Sequence[drawn.Line]) -> None:
    for height, line in enumerate(reversed(lines)):
        ends = [line.clients["p10"], line.clients["p90"]]
        panel.plot(ends, [height] * 2, color=line.color, linewidth=5, solid_capstyle="butt")
        for name, marker in drawn.CLIENT_MARKS.items():
            panel.plot(line.clients[name], height, marker, color="black", markersize=5)
    panel.set_yticks(range(len(lines)), [line.label for line in reversed(lines)])
    panel.set_ylim(-0.6, len(lines) - 0.4)


def _wrapped(text: str, width: float) -> str:
    """A small title, as wide as its figure in inches: a letter takes a sixteenth."""
    return textwrap.fill(text, int(16 * width))


def _save(figure: Figure, stem: pathlib.Path) -> list[pathlib.Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in SUFFIXES]
    for file in files:
        figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files
