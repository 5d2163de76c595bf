"""Seconds a round of our runtime, of TFF's native one, and of a bare TensorFlow loop.

All run in turn within one measurement, so that a busy machine slows all of them; what is compared
is the ratio of neighbours.
"""

import contextlib
import dataclasses
import os
import statistics
import time
from typing import NamedTuple

import tensorflow_federated as tff
import tqdm

from tff_experiments.benchmarks import bare_loop, cases
from tff_experiments.datasets import batching
from tff_experiments.runtime import local, native

CASES = {
    "cnn": cases.Case("EMNIST CNN, 10 clients x 100 examples", "emnist_cnn", 10, 100),
    "cnn100": cases.Case("EMNIST CNN, 100 clients x 100 examples", "emnist_cnn", 100, 100),
    "2nn": cases.Case("EMNIST 2NN, 100 clients x 20 examples", "emnist_2nn", 100, 20),
    "linear": cases.Case(
        "softmax regression, 1,000 clients x 10 examples", "emnist_linear", 1000, 10
    ),
}
HEAD = ("case", "ours, s", "native, s", "bare, s", "native / ours", "ours / bare")


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    rounds: int = 9
    """Rounds that are measured, after two that are not."""
    case: str = "all"
    """Which size: cnn, cnn100, 2nn, linear or all."""

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"rounds must be >= 1, got {self.rounds}.")
        if self.case not in (*CASES, "all"):
            raise ValueError(f"case must be one of {[*CASES, 'all']}, got {self.case!r}.")


def run(hparams: Hparams):
    """Measures; returns (title, head, rows)."""
    names = list(CASES) if hparams.case == "all" else [hparams.case]
    rows = [_row(CASES[name], measure(CASES[name], hparams.rounds)) for name in names]
    title = (
        f"Seconds a round, medians of {hparams.rounds} interleaved rounds after 2, batches of "
        f"{cases.BATCH_SIZE}, random pixels. Bare: the better of one loop on all cores and a "
        f"loop per core; ratios are medians of the rounds' own."
    )
    return title, HEAD, rows


def measure(case: cases.Case, rounds: int, *, warm_up: int = 2) -> dict[str, list[float]]:
    """Seconds of each round: {"ours" | "native" | "one loop" | "a loop per core": [rounds]}."""
    cores = len(os.sched_getaffinity(0))
    task, columns = case.build_task()
    process = cases.build_process(task)
    with contextlib.ExitStack() as stack:
        context = local.Context(local.Hparams())
        stack.callback(context.close)
        worker = native.Worker(native.Hparams(), quiet=True)
        stack.callback(worker.close)
        one = bare_loop.BareLoops(case, loops=1, threads=cores)
        stack.callback(one.close)
        many = bare_loop.BareLoops(case, loops=cores, threads=1)
        stack.callback(many.close)
        contexts = {"ours": context, "native": worker.context()}
        states = {}
        for name, installed in contexts.items():
            with tff.framework.get_context_stack().install(installed):
                states[name] = process.initialize()
        seconds = {name: [] for name in ("ours", "native", "one loop", "a loop per core")}
        for round_num in tqdm.trange(rounds + warm_up, desc=case.title, disable=None):
            inputs = case.inputs(task, columns, round_num)
            datasets = [batching.as_dataset(client.data) for client in inputs]
            values = {"ours": inputs, "native": datasets}
            for name, installed in contexts.items():
                with tff.framework.get_context_stack().install(installed):
                    start = time.perf_counter()
                    states[name] = process.next(states[name], values[name]).state
                    seconds[name].append(time.perf_counter() - start)
            seconds["one loop"].append(one.train())
            seconds["a loop per core"].append(many.train())
    return {name: values[warm_up:] for name, values in seconds.items()}


class Ratios(NamedTuple):
    """Medians over rounds of what ours takes relative to its neighbours."""

    over_native: float  # How many times faster than TFF's native runtime.
    over_bare: float  # How many times slower than the better of the bare loops.
    bare: str  # Which one that is.


def ratios(seconds: dict[str, list[float]]) -> Ratios:
    """Compares the rounds of `measure`, each with its own neighbours."""
    bare = min(("one loop", "a loop per core"), key=lambda name: statistics.median(seconds[name]))
    ratio = lambda a, b: statistics.median(
        x / y for x, y in zip(seconds[a], seconds[b], strict=True)
    )
    return Ratios(ratio("native", "ours"), ratio("ours", bare), bare)


def _row(case: cases.Case, seconds: dict[str, list[float]]) -> tuple[str, ...]:
    found = ratios(seconds)
    median = lambda name: f"{statistics.median(seconds[name]):.3f}"
    return (
        case.title,
        median("ours"),
        median("native"),
        f"{median(found.bare)} ({found.bare})",
        f"{found.over_native:.2f}",
        f"{found.over_bare:.2f}",
    )
