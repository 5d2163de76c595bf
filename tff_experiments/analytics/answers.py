"""What a query answers, beside the truth: as a table and as a picture."""

import dataclasses
import math
import pathlib
from collections.abc import Sequence

import numpy as np

from tff_experiments.privacy import answers as privacy_answers

MAX_BARS = 60
TOP = 20


@dataclasses.dataclass(frozen=True)
class Answer:
    """Some estimates of one kind.

    Attributes:
        names: What each is of.
        estimates: float64 [n]; NaN where only its being there is told.
        truth: What they would be if all clients were known whole, float64 [n].
        unit: Of both.
        is_ranked: Whether the largest come first, as of heavy hitters and histograms.
        notes: More to say, (name, text).
        noise_stddev: Standard deviation of the noise in an estimate as planned, 0 where there is
            none or it has no such number.
    """

    names: Sequence[str]
    estimates: np.ndarray
    truth: np.ndarray
    unit: str
    is_ranked: bool = False
    notes: Sequence[tuple[str, str]] = ()
    noise_stddev: float = 0.0

    def errors(self) -> dict[str, float]:
        """Root mean square, the largest, and `relative`: all together over the sum of the truth,
        of ranked ones the `TOP` largest by the truth; NaN where no estimate is a number.
        """
        known = np.flatnonzero(np.isfinite(self.estimates))
        off = np.abs(self.estimates[known] - self.truth[known])
        if not len(off):
            return dict.fromkeys(("rmse", "largest", "relative"), math.nan)
        by_truth = np.argsort(-self.truth[known], kind="stable")
        top = by_truth[:TOP] if self.is_ranked else by_truth
        total = float(np.abs(self.truth[known][top]).sum())
        return {
            "rmse": float(np.sqrt(np.mean(off**2))),
            "largest": float(off.max()),
            "relative": float(off[top].sum()) / total if total else math.nan,
        }

    def order(self) -> np.ndarray:
        """Positions of the estimates as they are shown."""
        if not self.is_ranked:
            return np.arange(len(self.names))
        return np.argsort(-np.nan_to_num(self.estimates, nan=0.0), kind="stable")


def found(words: Sequence[str], votes: np.ndarray, true: dict[str, float], unit: str) -> Answer:
    """The answer of a search for frequent words.

    Args:
        words: Those that were found.
        votes: Their estimates, float64 [words].
        true: The truth of all words that there are.
        unit: Of both.
    """
    at_top = sorted(true, key=lambda word: (-true[word], word))[: len(words)]
    hits = len(set(words) & set(at_top))
    note = f"{hits} of the {len(words)} found are among the {len(words)} most frequent"
    missed = [word for word in at_top if word not in set(words)][:5]
    notes = [("found", note)]
    if missed:
        notes.append(("missed, the most frequent", ", ".join(missed)))
    truth = np.array([true.get(word, 0.0) for word in words], np.float64)
    return Answer(list(words), np.asarray(votes, np.float64), truth, unit, True, notes)


def as_text(answer: Answer, *, show: int) -> str:
    """A table of at most `show` rows, then the errors over all of them."""
    rows = [("", f"estimate ({answer.unit})", "truth", "error")]
    for i in answer.order()[:show]:
        estimate, truth = answer.estimates[i], answer.truth[i]
        told = math.isfinite(estimate)
        cells = (_number(estimate), _number(truth), _number(estimate - truth))
        rows.append((answer.names[i], *(cells if told else ("found", cells[1], "-"))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = (str.ljust, str.rjust, str.rjust, str.rjust)
    lines = [
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True))
        for row in rows
    ]
    if len(answer.names) > show:
        lines.append(f"... {len(answer.names) - show:,} more")
    if not answer.names:
        lines.append("nothing was found")
    return "\n".join(line.rstrip() for line in lines)


def summary(answer: Answer) -> list[tuple[str, str]]:
    """Lines about all of an answer, (name, text)."""
    errors = answer.errors()
    lines = list(answer.notes)
    if math.isfinite(errors["rmse"]):
        text = f"{_number(errors['rmse'])} root mean square, {_number(errors['largest'])} largest"
        if math.isfinite(errors["relative"]):
            of = f"the {TOP} largest" if answer.is_ranked else "all"
            text += f"; {errors['relative']:.2%} of {of}"
        lines.append(("error", text))
    if answer.noise_stddev:
        lines.append(("noise", f"{_number(answer.noise_stddev)} standard deviation, planned"))
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:,.5g}"


def plot(answer: Answer, path: pathlib.Path, *, title: str) -> None:
    """Draws estimates beside the truth: bars where they are few, else by the truth's rank.

    Args:
        answer: What is drawn.
        path: Where to, .png or .svg.
        title: Above it.

    Raises:
        ValueError: There is nothing to draw, or another suffix.
    """
    privacy_answers.check_picture(path)
    if not len(answer.names):
        raise ValueError("nothing was found, so there is nothing to draw.")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "tff_experiments", "font.size": 9}):
        figure = Figure(figsize=(8, 4.2), layout="constrained")
        axes = figure.subplots()
        draw = _bars if len(answer.names) <= MAX_BARS else _ranked
        draw(axes, answer)
        axes.set_ylabel(answer.unit)
        axes.set_title(title, fontsize=8)
        axes.grid(True, axis="y", alpha=0.3)
        axes.legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)


def _bars(axes, answer: Answer) -> None:
    order = answer.order()
    x = np.arange(len(order))
    told = np.nan_to_num(answer.estimates[order], nan=0.0)
    error = answer.noise_stddev or None
    axes.bar(x - 0.2, answer.truth[order], 0.4, color="0.7", label="truth")
    axes.bar(x + 0.2, told, 0.4, yerr=error, ecolor="0.3", color="tab:blue", label="estimate")
    size = "x-small" if len(order) > 20 else None
    axes.set_xticks(x, [answer.names[i] for i in order], rotation=90, fontsize=size)


def _ranked(axes, answer: Answer) -> None:
    order = np.argsort(-answer.truth, kind="stable")
    rank = np.arange(1, len(order) + 1)
    axes.plot(
        rank, answer.estimates[order], ".", markersize=2, alpha=0.5, color="tab:blue",
        label="estimate", rasterized=True,
    )  # fmt: skip
    axes.plot(rank, answer.truth[order], color="black", linewidth=1.2, label="truth")
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=max(1.0, 3 * answer.noise_stddev))
    axes.set_xlabel("rank of the truth")
