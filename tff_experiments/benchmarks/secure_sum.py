"""What secure sums cost: CPU seconds of a client and of the server, bytes, and the limit.

The server's limit is what AES-256-CTR alone takes, on one core, for the masks that it must expand.
Rows are kept in a file, so that a measurement that was interrupted goes on.
"""

import dataclasses
import pathlib

import tqdm

from tff_experiments.benchmarks import secure_sum_goals, secure_sum_rows
from tff_experiments.benchmarks.secure_sum_rows import Case

REPO = pathlib.Path(__file__).resolve().parents[2]
SIZES = (10, 50, 100, 500, 1000)
LENGTHS = (100_000, 1_206_590)
DROPOUTS = (0.0, 0.1, 0.3)
LARGE = 500
"""From so many clients on, other protocols are measured too."""
GROUPS = ("active", "semi_honest", "plus", "wide", "expansion")
HEAD = (
    "protocol",
    "n",
    "k, t",
    "entries x bits",
    "dropped",
    "server, s",
    "published, s",
    "limit, s",
    "server / limit",
    "client, s",
    "published, s",
    "client sends, gets, kB",
    "goal for the server, s",
    "where the server's seconds go",
)


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    repeats: int = 3
    """Rounds of which medians are taken."""
    clients: str = ",".join(map(str, SIZES))
    """Numbers of clients, each at least 10."""
    entries: str = ",".join(map(str, LENGTHS))
    """Lengths of vectors."""
    case: str = "all"
    """Which rows: active, semi_honest, plus, wide, expansion or all."""
    rows: str = str(REPO / "results" / "secure_sum.jsonl")
    """A file that rows are added to; one that is there, of the same code, is not measured again."""

    def __post_init__(self):
        if self.repeats < 1:
            raise ValueError(f"repeats must be >= 1, got {self.repeats}.")
        if self.case not in (*GROUPS, "all"):
            raise ValueError(f"case must be one of {[*GROUPS, 'all']}, got {self.case!r}.")
        if min(_numbers("clients", self.clients)) < 10:
            # With 30 % gone there are too few.
            raise ValueError(f"clients must be >= 10, got {self.clients!r}.")
        if min(_numbers("entries", self.entries)) < 1:
            raise ValueError(f"entries must be >= 1, got {self.entries!r}.")


def cases(hparams: Hparams) -> list[Case]:
    """What is measured, in order."""
    clients = _numbers("clients", hparams.clients)
    lengths = _numbers("entries", hparams.entries)
    large = [n for n in clients if n >= LARGE]
    every = lambda protocol, adversary, sizes, dropouts: [
        Case(protocol, adversary, n, length, 32, dropout)
        for length in lengths
        for n in sizes
        for dropout in dropouts
    ]
    groups = {
        "active": every("secagg", "active", clients, DROPOUTS),
        "semi_honest": every("secagg", "semi_honest", large, [0.1]),
        "plus": every("secagg_plus", "semi_honest", large, [0.1])
        + every("secagg_plus", "semi_malicious", large, [0.1]),
        "wide": [Case("secagg", "active", n, lengths[0], 62, 0.1) for n in large],
        "expansion": [
            Case("secagg", adversary, 2**10, 2**20, 26, 0.0)
            for adversary in ("semi_honest", "active")
        ],
    }
    names = GROUPS if hparams.case == "all" else [hparams.case]
    return [case for name in names for case in groups[name]]


def run(hparams: Hparams):
    """Measures; returns (title, head, rows)."""
    store = secure_sum_rows.Rows(pathlib.Path(hparams.rows), hparams.repeats)
    found = []
    for case in (progress := tqdm.tqdm(cases(hparams), desc="secure sums", disable=None)):
        progress.set_postfix_str(f"{case.protocol} n={case.num_clients} d={case.length}")
        found.append((case, store.get(case)))
    return _title(store, found), HEAD, [_line(case, row) for case, row in found]


def _title(store: secure_sum_rows.Rows, found) -> str:
    of, real, sampled = store.of, secure_sum_rows.ALL_REAL, secure_sum_rows.SAMPLED
    sentences = [
        f"Code {of['code']}, {of['cpu']}. Medians of {of['repeats']} rounds, CPU seconds of one "
        "thread; clients drop after they have shared their keys. Limit: AES-256-CTR of all masks "
        "that the server expands, at the rate of one core in the same run. Published: Bonawitz et "
        "al. 2017, 62 bits, honest-but-curious, Java.",
        f"Up to n = {real} all clients do all their work and the sum is checked; above, {sampled} "
        "do and are timed, **the others are stand-ins: their vectors are not masked, so that the "
        "sum is garbage**, and they verify nothing, but the server does all its work. Where "
        "seconds go: counts times what one costs alone, in the same run; the rest is messages and "
        "Python between the parts.",
    ]
    sentences += secure_sum_goals.expansion(found)
    sentences.append(secure_sum_goals.mask())
    return "\n\n".join(sentences)


def _line(case: Case, row: dict) -> tuple[str, ...]:
    server = row["server_seconds"]
    published = secure_sum_goals.published(case)
    goal = secure_sum_goals.SERVER.get(case)
    phases = ", ".join(f"{name} {value:.2f}" for name, value in row["phases"].items())
    return (
        f"{case.protocol} {case.adversary}",
        f"{case.num_clients:,}",
        f"{row['degree']}, {row['threshold']}",
        f"{case.length:,} x {case.bits}",
        f"{case.dropout:.0%}",
        f"{server:.3f}",
        published.server,
        f"{row['limit_seconds']:.3f}",
        f"{server / row['limit_seconds']:.2f}",
        f"{row['client_seconds']:.3f}",
        published.client,
        f"{row['upload_bytes'] / 1e3:.1f}, {row['download_bytes'] / 1e3:.1f}",
        f"< {goal}: {secure_sum_goals.verdict(server < goal)}" if goal else "",
        phases if goal else "",
    )


def _numbers(name: str, text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{name} must be numbers with commas between, got {text!r}.") from None
