"""Pictures of a comparison, PNG and SVG: curves with a band over seeds, the spread over clients.

They are written with fixed identifiers and no date: the same runs give the same files.
"""

import math
import pathlib
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from tff_experiments.reporting import drawn

SUFFIXES = ("png", "svg")
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
        told = {line.get_label(): line for panel in grid[:, 0] for line in panel.get_lines()}
        figure.legend(
            told.values(), told, loc="outside lower center", ncols=names, fontsize="small"
        )
        figure.suptitle(f"{of.title}\n{drawn.BAND}", fontsize="small")
        return _save(figure, stem)


def _draw_lines(panel, lines: Sequence[drawn.Line], metric: str, axis: str) -> None:
    panel.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
    for line in lines:
        curve = line.curves.get(metric)
        if curve is None or not np.isfinite(curve.x[axis]).any():
            continue
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
    lines = [line for line in of.lines if line.clients]
    if not lines:
        return []
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 0.4 * len(lines) + 1.6), layout="constrained")
        panel = figure.subplots()
        for height, line in enumerate(reversed(lines)):
            spread = line.clients
            panel.plot(
                [spread["p10"], spread["p90"]],
                [height] * 2,
                color=line.color,
                linewidth=5,
                solid_capstyle="butt",
            )
            for name, marker in drawn.CLIENT_MARKS.items():
                panel.plot(spread[name], height, marker, color="black", markersize=5)
        panel.set_yticks(range(len(lines)), [line.label for line in reversed(lines)])
        panel.set_ylim(-0.6, len(lines) - 0.4)
        panel.set_xlabel(of.metrics[0].removeprefix("test/") + " of clients")
        figure.suptitle(f"{of.title}\n{drawn.CLIENTS_TITLE}", fontsize="small")
        return _save(figure, stem)


def _save(figure: Figure, stem: pathlib.Path) -> list[pathlib.Path]:
    stem.parent.mkdir(parents=True, exist_ok=True)
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in SUFFIXES]
    for file in files:
        figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
    return files
