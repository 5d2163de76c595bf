"""Answers about privacy as text, as a table over one knob, and as a plot."""

import dataclasses
import math
import pathlib
from typing import NamedTuple

from tff_experiments.privacy import distributed, mechanisms, plan, prefix_sums


class Row(NamedTuple):
    """One answer of a table; without one, `refusal` says why and the numbers are NaN."""

    value: float
    """Of the knob that is varied."""
    target: float | None
    """Epsilon that was asked for, if any was."""
    noise_multiplier: float
    """Given or found."""
    planned: float
    """Epsilon if all goes as expected."""
    actual: float
    """Epsilon under the dropouts that were asked about."""
    refusal: str = ""


class Table(NamedTuple):
    """Answers over one knob."""

    over: str
    rows: list[Row]
    title: str


def numbers(name: str, texts: list[str]) -> list[float]:
    """Reads a flag's list of numbers; raises ValueError with the flag's name."""
    try:
        found = [float(text) for text in texts]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise ValueError(f"--{name} takes numbers with commas between, got {','.join(texts)!r}.")
    return found


def table(hparams: plan.Hparams, *, over: str, values: list[float], targets: list[float]) -> Table:
    """Answers for each value of a knob, and each target if there are any.

    Args:
        hparams: The other knobs.
        over: A field of `plan.Hparams` that is a number.
        values: What it takes, in order.
        targets: Epsilons to find noise for; none: the noise is `hparams`'.

    Raises:
        ValueError: `over` is no such field, or there are no values. Refusals are in the rows.
    """
    types = {f.name: type(f.default) for f in dataclasses.fields(hparams)}
    varied = sorted(name for name, kind in types.items() if kind is not str)
    if over not in varied:
        raise ValueError(f"--over must be one of {', '.join(varied)}, got {over!r}.")
    if not values:
        raise ValueError(f"--over={over} needs --values, numbers with commas between.")
    if over == "noise_multiplier" and targets:
        raise ValueError("--target_epsilon finds the noise; take another --over.")
    if types[over] is int and any(value != int(value) for value in values):
        raise ValueError(f"--values of {over} must be whole numbers, got {values}.")
    ask = lambda value, target: _row(hparams, over, types[over](value), target)
    rows = [ask(value, target) for target in targets or [None] for value in values]
    return Table(over, rows, _title(hparams))


def _row(hparams: plan.Hparams, over: str, value: float, target: float | None) -> Row:
    try:
        found = plan.answer(dataclasses.replace(hparams, **{over: value}), target)
    except ValueError as error:
        return Row(value, target, math.nan, math.nan, math.nan, str(error))
    noise = found.budget.mechanism.noise_multiplier
    return Row(value, target, noise, found.planned, found.actual)


def _title(hparams: plan.Hparams) -> str:
    return (
        f"{hparams.mechanism}, {hparams.clients_per_round} of {hparams.num_clients} clients "
        f"({hparams.client_sampling}), {hparams.rounds} rounds, accountant {hparams.accountant}"
    )


def table_as_text(table: Table) -> str:
    """Lines of columns; refusals are numbered below."""
    header = [table.over, "target", "noise_multiplier", "planned", "actual"]
    cells, notes = [header], []
    for row in table.rows:
        shown = [f"{row.value:g}", "-" if row.target is None else f"{row.target:g}"]
        if row.refusal:
            if row.refusal not in notes:
                notes.append(row.refusal)
            shown += [f"refused ({notes.index(row.refusal) + 1})", "-", "-"]
        else:
            shown += [f"{x:.5g}" for x in (row.noise_multiplier, row.planned, row.actual)]
        cells.append(shown)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(f"{x:>{w}}" for x, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([table.title, *lines, *(f"({i}) {x}" for i, x in enumerate(notes, 1))])


def check_picture(path: pathlib.Path) -> None:
    """Raises ValueError for a picture that is neither .png nor .svg."""
    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"--plot must end in .png or .svg, got {path}.")


def plot(table: Table, path: pathlib.Path) -> None:
    """Draws one line a target: noise over the knob, or epsilon where that is what changes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    targets = list(dict.fromkeys(row.target for row in table.rows))
    noise = targets != [None] and all(
        row.actual == row.planned or row.refusal for row in table.rows
    )
    figure, axes = plt.subplots(figsize=(6, 4), constrained_layout=True)
    for target in targets:
        rows = [row for row in table.rows if row.target == target]
        y = [row.noise_multiplier if noise else row.actual for row in rows]
        label = None if target is None else f"target epsilon {target:g}"
        axes.plot([row.value for row in rows], y, marker="o", label=label)
    axes.set(xlabel=table.over, ylabel="noise multiplier" if noise else "epsilon")
    axes.set_title(table.title, fontsize=8)
    axes.grid(True, alpha=0.3)
    if targets != [None]:
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def as_text(hparams: plan.Hparams, target_epsilon: float | None = None) -> str:
    """One answer as lines of names and values; raises ValueError as `plan.answer` does."""
    found = plan.answer(hparams, target_epsilon)
    mechanism = found.budget.mechanism
    z = mechanism.noise_multiplier
    lines = [("plan", _title(hparams)), ("neighbours", found.budget.relation)]
    lines += [("delta", f"{found.budget.delta:.4g}"), ("noise multiplier", f"{z:.5g}")]
    lines += _details(mechanism, hparams.clip)
    lines += _in_prefix_sums(mechanism, hparams.rounds)
    lines.append(("epsilon", f"{found.planned:.4g}"))
    if hparams.dropout:
        lines.append((f"after {hparams.dropout:.0%} dropouts", f"{found.actual:.4g}"))
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines)


def _details(mechanism, clip: float) -> list[tuple[str, str]]:
    """What the run has to be told, beside the noise multiplier."""
    if isinstance(mechanism, mechanisms.AdaptiveClipping):
        return [
            ("on updates", f"{mechanism.value_noise_multiplier:.5g}"),
            ("on the count", f"{mechanism.count_stddev:.5g} (standard deviation)"),
        ]
    if isinstance(mechanism, mechanisms.TreeAggregation):
        return [("restart every", f"{mechanism.restart_every} rounds")]
    if isinstance(mechanism, mechanisms.BandedFactorization):
        return [("bands", str(mechanism.bands))]
    if isinstance(mechanism, distributed.Distributed):
        stddev = f"{mechanism.local_stddev:.5g} ({mechanism.scaled_local_stddev:.5g} in integers)"
        longer = f"{mechanism.norm_inflation - 1:.2%} longer by rounding"
        return [
            ("a client's noise", stddev),
            ("scale", f"{mechanism.scale:.6g}"),
            ("clip", f"{clip:g} ({mechanism.scaled_l2_norm:.6g} in integers, {longer})"),
        ]
    return [("standard deviation", f"{mechanism.noise_multiplier * clip:.5g}")]


def _in_prefix_sums(mechanism, num_rounds: int) -> list[tuple[str, str]]:
    if not isinstance(mechanism, prefix_sums.Mechanism):
        return []
    noise = prefix_sums.noise(mechanism, num_rounds)
    return [("in prefix sums", f"{noise:.4g} clips of noise (root mean square over rounds)")]
