"""One secure sum at a given size, measured: what a client and the server take; and its file."""

import gc
import json
import pathlib
import re
import statistics
import subprocess
from typing import NamedTuple

import numpy as np
import threadpoolctl

from tff_experiments import secure_sum
from tff_experiments.benchmarks import secure_sum_clients, secure_sum_units
from tff_experiments.secure_sum import secagg, vectors

REPO = pathlib.Path(__file__).resolve().parents[2]
# What a row's figures depend on.
MEASURED = ("tff_experiments/secure_sum", "tff_experiments/benchmarks/secure_sum*")
SAMPLED = 10
"""Clients that do all their work where not all do."""
ALL_REAL = 100
"""Up to so many clients all do all their work."""
DROPS = "before_upload"


class Case(NamedTuple):
    """What is summed, and by whom.

    Attributes:
        protocol: A key of `secure_sum.BY_NAME`.
        adversary: What it holds against.
        num_clients: n.
        length: Entries of a vector.
        bits: The modulus is 2^bits.
        dropout: Fraction of clients that are gone when the others upload.
    """

    protocol: str
    adversary: str
    num_clients: int
    length: int
    bits: int
    dropout: float

    @property
    def num_dropped(self) -> int:
        """Clients that drop out."""
        return int(self.dropout * self.num_clients + 1e-9)

    def build(self):
        """The protocol, its degree and its threshold."""
        module = secure_sum.BY_NAME[self.protocol]
        if self.protocol == "secagg":
            hparams = module.Hparams(variant=self.adversary)
            threshold = secagg.threshold(hparams, self.num_clients)
            return module.build(hparams), self.num_clients - 1, threshold
        protocol = module.build(module.Hparams(adversary=self.adversary))
        return protocol, *protocol.parameters(self.num_clients)


def measure(case: Case, repeats: int) -> dict:
    """Medians over so many rounds; seconds are CPU seconds of one thread."""
    # A second thread's seconds would not be counted.
    with threadpoolctl.threadpool_limits(1, "blas"):
        rounds = [_round(case, i) for i in range(repeats)]
        row = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
        _, degree, threshold = case.build()
        work = secure_sum_units.work(case, degree, threshold)
        units = secure_sum_units.measure(case, work)
    phases = secure_sum_units.phases(work, units, row["server_seconds"])
    limit = work.keystream_bytes / units.ctr_bytes_per_second
    return {
        **row,
        "degree": degree,
        "threshold": threshold,
        "limit_seconds": limit,
        "phases": phases,
        "work": work._asdict(),
        "units": units._asdict(),
    }


def all_real(case: Case) -> bool:
    """Whether every client does all its work, so that the sum can be checked."""
    return case.num_clients <= ALL_REAL


def _round(case: Case, seed: int) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    numbers = rng.permutation(case.num_clients) + 1
    dropped, staying = np.split(numbers, [case.num_dropped])
    sample = staying if all_real(case) else staying[:SAMPLED]
    drops = {str(i): "" for i in range(1, case.num_clients + 1)}
    drops |= {str(i): DROPS for i in dropped}
    pool = secure_sum_clients.Pool(frozenset((numbers if all_real(case) else sample).tolist()))
    protocol, _, _ = case.build()
    vector = rng.integers(0, 2**16, case.length)
    gc.collect()
    # The clients' objects, which a server would not have, must not cost it a search for garbage.
    gc.disable()
    try:
        segments = [vectors.Segment(case.length, 2**case.bits)]
        sums = protocol.start(segments, drops, make_client=pool.make_client)
        for name in drops:
            sums.add(name, vector)
        total = sums.finish()
    finally:
        gc.enable()
    if all_real(case) and not np.array_equal(total, vector * len(staying) % 2**case.bits):
        raise RuntimeError(f"{case} gave a wrong sum.")
    of_sample = lambda values: statistics.fmean(values[i] for i in sample.tolist())
    return {
        "server_seconds": sums.metrics()["secure_sum/server_seconds"],
        "client_seconds": of_sample(sums.seconds),
        "upload_bytes": of_sample(sums.transport.upload_bytes),
        "download_bytes": of_sample(sums.transport.download_bytes),
    }


class Rows:
    """A file of measured rows, a JSON object a line."""

    def __init__(self, path: pathlib.Path, repeats: int):
        """Opens the file; raises OSError where it can't be written."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
        self.of = {"repeats": repeats, "code": code(), "cpu": cpu()}

    def get(self, case: Case) -> dict:
        """The row of this case, code and machine: from the file, or measured and added to it."""
        key = {"case": case._asdict(), **self.of}
        for line in self._path.read_text().splitlines():
            row = json.loads(line)
            if not key["code"].endswith("+") and all(row.get(k) == v for k, v in key.items()):
                return row
        row = {**key, **measure(case, self.of["repeats"])}
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        return row


def code() -> str:
    """The last commit that changed what is measured, with "+" where there are changes since."""
    git = lambda *words: subprocess.run(
        ["git", "-C", str(REPO), *words, "--", *MEASURED], capture_output=True, text=True
    ).stdout.strip()
    commit = git("log", "-1", "--format=%h", "--abbrev=12")
    changed = git("status", "--porcelain") or not commit
    return (commit or "unknown") + ("+" if changed else "")


def cpu() -> str:
    """The processor's name."""
    found = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else "unknown"
