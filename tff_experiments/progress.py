"""What a run shows: its progress, and the table at its end."""

import statistics
import sys
from collections.abc import Sequence

import tqdm

Row = dict[str, float]


class Progress:
    """The progress bar: round, loss, and the last evaluation. Without a terminal, a line per
    evaluation.
    """

    def __init__(self, rounds: int, main_metric: str):
        self._bar = tqdm.tqdm(total=rounds, unit="round", disable=None)
        self._metric = main_metric
        self._shown = {}
        self._aborted = 0

    def __call__(self, row: Row) -> None:
        """Shows one round."""
        if not self._shown:
            self._bar.initial = row["round"] - 1  # A resumed run's rate is that of its own rounds.
        self._bar.n = row["round"]
        shown = ("train/loss", f"train/{self._metric}", f"test/{self._metric}")
        for name in (*shown, f"personal/{self._metric}/mean"):
            if name in row:
                self._shown[name.replace("train/", "")] = f"{row[name]:.4f}"
        if "privacy/epsilon" in row:
            self._shown["epsilon"] = f"{row['privacy/epsilon']:.3g}"
        if row.get("train/aborted"):
            self._aborted += 1
            self._shown["aborted"] = str(self._aborted)
        self._bar.set_postfix(self._shown)
        if self._bar.disable and f"test/{self._metric}" in row:
            shown = ", ".join(f"{name} {value}" for name, value in self._shown.items())
            print(f"round {row['round']}: {shown}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()


def summary(rows: Sequence[Row], main_metric: str) -> list[tuple[str, str]]:
    """The lines of a finished run that its metrics tell: (name, value)."""
    last = [row for row in rows if f"test/{main_metric}" in row][-1]
    table = [
        (name, f"{value:.4f}")
        for name, value in last.items()
        if name.startswith(("test/", "personal/", "global_on_same/"))
    ]
    table.append(("seconds per round", f"{_median(rows, 'seconds/round'):.3f} (median)"))
    aborted = sum(row.get("train/aborted", 0) for row in rows)
    if aborted:
        table.append(("aborted rounds", str(aborted)))
    if any("secure_sum/server_seconds" in row for row in rows):
        sent = _median(rows, "secure_sum/upload_bytes_per_client") / 1e3
        server = _median(rows, "secure_sum/server_seconds")
        table.append(("secure sum", f"{sent:,.0f} kB a client up, {server:.3f} s server (medians)"))
    if "audit/epsilon" in last:
        seen = f"{last['audit/epsilon']:.4g} by {last['audit/canaries']:.0f} canaries"
        table.append(("epsilon, audited", seen))
    return table


def text(table: Sequence[tuple[str, str]]) -> str:
    """The lines, their values below each other."""
    width = max(len(name) for name, _ in table)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in table)


def _median(rows: Sequence[Row], name: str) -> float:
    return statistics.median(row[name] for row in rows if name in row)
