"""What a comparison's pictures and its page draw: one line a group."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tff_experiments.reporting import curves, distribution, groups, summary

AXIS_TITLES = {
    curves.ROUND: "rounds",
    curves.SECONDS: "seconds",
    curves.SIMULATED: "simulated seconds",
    curves.UPLINK: "uplink of all clients, bytes",
    curves.DOWNLINK: "downlink to all clients, bytes",
}
CLIENT_MARKS = {"mean": "o", "worst_decile": "x"}
BAND = "mean over seeds, band: one standard deviation"
SHARES_TITLE = "share of clients at or below a value after the last round, each counting the same"
CLIENTS_TITLE = (
    "clients after the last round: bar 10th to 90th percentile, dot mean, cross worst decile"
)
NOT_KEPT = "(runs without clients.csv)"
# Okabe and Ito's colours, which colour-blind readers tell apart, without black and yellow, which
# vanish on a dark or a white page.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D46", "#808080")
DASHES = ("solid", "dot", "dashdot")


@dataclasses.dataclass(frozen=True)
class Line:
    """A group as it is drawn.

    Attributes:
        label: Its name, with a mark where it can't be compared.
        color: "#rrggbb".
        dash: Of plotly's dashes; where colours come again, another.
        curves: Metric -> its mean over seeds, where the group has it.
        shares: Of clients at or below each value of the metric after the last round, see
            `distribution`; None where the runs did not keep their clients'.
        clients: p10, p90, mean and worst_decile of the metric over clients after the last round,
            means over seeds; empty where there are `shares`, or it was not evaluated.
    """

    label: str
    color: str
    dash: str
    curves: Mapping[str, curves.Curve]
    shares: curves.Curve | None
    clients: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Drawing:
    """All that is drawn.

    Attributes:
        title: The data.
        metrics: One row of panels each.
        axes: One column of panels each.
        lines: The groups.
    """

    title: str
    metrics: Sequence[str]
    axes: Sequence[str]
    lines: Sequence[Line]

    @property
    def of_clients(self) -> str:
        """What is shown of clients."""
        return distribution.column(self.metrics[0]).removeprefix("test/") + " of clients"

    @property
    def clients_titles(self) -> list[str]:
        """What the pictures of clients are: shares, bars, both or none."""
        shares = any(line.shares for line in self.lines)
        bars = any(line.clients for line in self.lines)
        titles = [f"{SHARES_TITLE}; {BAND}"] * shares
        return titles + [CLIENTS_TITLE + f" {NOT_KEPT}" * shares] * bars


def make(
    of: Sequence[groups.Group], metric: str, *, axes: Sequence[str] = (), loss: bool = True
) -> Drawing:
    """Gathers what is drawn.

    Args:
        of: The groups.
        metric: What is compared.
        axes: What it is drawn against; by default every axis that a run knows.
        loss: Whether test/loss is drawn, too.

    Raises:
        ValueError: No run knows an axis that was asked for, or there is nothing to draw.
    """
    metrics = list(dict.fromkeys([metric, "test/loss"][: 1 + loss]))
    lines = [_line(group, i, metrics) for i, group in enumerate(of)]
    metrics = [name for name in metrics if any(name in line.curves for line in lines)]
    if not metrics:
        raise ValueError(
            f"there is nothing to draw: no group has {metric} in a round that all of its seeds "
            f"evaluated; --output_dir= prints the table alone."
        )
    drawn = [curve for line in lines for curve in line.curves.values()]
    known = [a for a in AXIS_TITLES if any(np.isfinite(curve.x[a]).any() for curve in drawn)]
    if not set(axes) <= set(known):
        raise ValueError(f"--axes must be of {', '.join(known)}, got {', '.join(axes)}.")
    axes = list(axes) or known
    return Drawing(_title(of), metrics, axes, lines)


def _title(of: Sequence[groups.Group]) -> str:
    """The data that are compared; without their clients where these are not the same."""
    labels = list(dict.fromkeys(group.runs[0].data for group in of if group.comparable))
    if not labels:
        return groups.examples_of(of[0].runs[0].data)
    return labels[0] if len(labels) == 1 else groups.examples_of(labels[0])


def _line(group: groups.Group, i: int, metrics: Sequence[str]) -> Line:
    found = {name: curves.mean_curve(group.runs, name) for name in metrics}
    shares = distribution.mean_shares(group.runs, metrics[0])
    spread = distribution.column(metrics[0])
    if spread.startswith("test/"):
        spread = f"test/clients/{spread.removeprefix('test/')}"
    ends = {
        name: float(np.mean([summary.final(run, f"{spread}/{name}") for run in group.runs]))
        for name in ("p10", "p90", *CLIENT_MARKS)
    }
    return Line(
        label=group.name + ("" if group.comparable else " (not comparable)"),
        color=COLORS[i % len(COLORS)],
        dash=DASHES[i // len(COLORS) % len(DASHES)] if group.comparable else "dash",
        curves={name: curve for name, curve in found.items() if curve is not None},
        shares=shares,
        clients={} if shares or np.isnan(list(ends.values())).any() else ends,
    )
