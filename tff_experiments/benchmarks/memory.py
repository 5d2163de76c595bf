"""Resident memory of a process that trains the EMNIST CNN: by clients, and over rounds."""

import dataclasses
import multiprocessing
import pathlib
import re
from collections.abc import Callable
from typing import Any

from tff_experiments.benchmarks import cases
from tff_experiments.runtime import local

HEAD = ("case", "MiB", "relative")


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    clients: int = 1000
    """Clients of the large round, compared with a round of 10."""
    rounds: int = 300
    """Rounds of 10 clients over which growth is measured."""


def run(hparams: Hparams):
    """Measures; returns (title, head, rows)."""
    few, many = peak(10), peak(hparams.clients)
    after = growth(hparams.rounds)
    early = after[hparams.rounds // 10]
    rows = [
        ("peak of 3 rounds of 10 clients", f"{few:.0f}", "1"),
        (f"peak of 3 rounds of {hparams.clients} clients", f"{many:.0f}", f"{many / few:.3f}"),
        (f"after {hparams.rounds // 10} rounds of 10 clients", f"{early:.0f}", "1"),
        (f"after {hparams.rounds} rounds", f"{after[-1]:.0f}", f"{after[-1] / early:.4f}"),
    ]
    return "Resident memory with the EMNIST CNN, 20 examples a client, random pixels.", HEAD, rows


def peak(num_clients: int) -> float:
    """Peak resident MiB of a process that runs three rounds of so many clients."""
    return in_process(_train, num_clients, 3)[1]


def growth(rounds: int) -> list[float]:
    """Resident MiB after each round, [rounds + 1], the first before round 1."""
    return in_process(_train, 10, rounds)[0]


def in_process(target: Callable[..., None], *args) -> Any:
    """What a function of (pipe, *args) sends, run in a process of its own."""
    process, pipe = start(target, *args)
    result = pipe.recv()
    process.join()
    return result


def start(target: Callable[..., None], *args) -> tuple[Any, Any]:
    """Starts a process of its own for a function of (pipe, *args); returns it, and our end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *args), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _train(pipe, num_clients: int, rounds: int) -> None:
    case = cases.Case("", "emnist_cnn", num_clients, 20)
    task, columns = case.build_task()
    process = cases.build_process(task)
    resident = []
    with local.use(local.Hparams()) as context:
        state = process.initialize()
        resident.append(status("VmRSS"))
        for round_num in range(1, rounds + 1):
            inputs = case.inputs(task, columns, round_num)
            output, _ = context.next(process, state, inputs, seed=0, round_num=round_num)
            state = output.state
            resident.append(status("VmRSS"))
    pipe.send((resident, status("VmHWM")))


def status(name: str) -> float:
    """A size of this process in MiB: VmRSS is what is resident, VmHWM its peak."""
    text = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", text).group(1)) / 1024
