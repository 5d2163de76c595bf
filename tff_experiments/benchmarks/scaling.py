"""Rounds per minute of the local runtime and of Ray, by workers and by clients per round.

All run in turn within one measurement, as in `runtime`, on the same cores: on one machine Ray's
driver, actors and daemons compete for them. Where other programs do too, seconds say little, and
CPU seconds, of this process and for Ray of all that it started, say what Ray adds.
"""

import contextlib
import dataclasses
import os
import pathlib
import statistics
import time
from collections.abc import Iterable
from typing import NamedTuple

import tensorflow_federated as tff
import tqdm

from tff_experiments.benchmarks import cases, memory
from tff_experiments.runtime import local, ray_cluster

# Task and examples a client.
SIZES = {"linear": ("emnist_linear", 10), "2nn": ("emnist_2nn", 20), "cnn": ("emnist_cnn", 100)}
LARGE_MODELS_CLIENTS = 100
NAMES = {"linear": "softmax regression", "2nn": "EMNIST 2NN", "cnn": "EMNIST CNN"}


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    clients: str = "10,100,1000,10000"
    """Clients of a round of the linear model, with commas; the others' rounds have 100."""
    workers: str = "1,2,4"
    """Workers, with commas."""
    models: str = "linear,2nn,cnn"
    """What is trained, with commas: linear (10 examples a client), 2nn (20), cnn (100)."""
    rounds: int = 5
    """Rounds that are measured, after one that is not."""

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"rounds must be >= 1, got {self.rounds}.")
        if not set(self.models.split(",")) <= set(SIZES):
            raise ValueError(f"models must be of {list(SIZES)}, got {self.models!r}.")
        if min(numbers("clients", self.clients) + numbers("workers", self.workers)) < 1:
            raise ValueError("clients and workers must be >= 1.")


def numbers(name: str, text: str) -> list[int]:
    """The numbers of a list with commas."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ValueError(f"{name} must be numbers with commas, got {text!r}.") from error


def run(hparams: Hparams):
    """Measures; returns (title, head, rows)."""
    workers = numbers("workers", hparams.workers)
    rows = []
    with Runtimes(workers) as runtimes:
        for model in hparams.models.split(","):
            small = model == "linear"
            counts = numbers("clients", hparams.clients) if small else [LARGE_MODELS_CLIENTS]
            for num_clients in counts:
                task, examples = SIZES[model]
                case = cases.Case(f"{model}, {num_clients} clients", task, num_clients, examples)
                rows.append(_row(NAMES[model], case, runtimes.measure(case, hparams.rounds)))
    columns = [f"{name} {n}" for name in ("local", "Ray") for n in workers]
    head = ("model", "clients", *columns, "Ray / local", "CPU: Ray / local", "CPU ms a client")
    title = (
        f"Rounds per minute by workers, medians of {hparams.rounds} interleaved rounds after 1, on "
        f"{len(os.sched_getaffinity(0))} cores. Ratios: medians of the rounds' own, of seconds and "
        f"of CPU seconds, at {compared(workers)} workers; CPU ms a client: local and Ray, there."
    )
    return title, head, rows


class Runtimes:
    """Local runtimes and ones on Ray, with so many workers each, side by side."""

    def __init__(self, workers: list[int]):
        """Takes the numbers of workers."""
        self._workers, self._stack = workers, contextlib.ExitStack()
        self._contexts: dict[tuple[str, int], local.Context] = {}

    def __enter__(self) -> "Runtimes":
        """Starts Ray."""
        enter = self._stack.enter_context
        enter(ray_cluster.connected(ray_cluster.Hparams(client_workers=sum(self._workers))))
        for count in self._workers:
            hparams = local.Hparams(client_workers=count)
            crew = enter(ray_cluster.crew(count))
            contexts = {"local": local.Context(hparams)}
            contexts["ray"] = local.Context(hparams, make_crew=crew)
            for name, context in contexts.items():
                self._stack.callback(context.close)
                self._contexts[name, count] = context
        return self

    def __exit__(self, *error) -> None:
        """Ends Ray."""
        self._stack.close()

    def measure(self, case: cases.Case, rounds: int) -> dict[tuple[str, int], list["Seconds"]]:
        """What each round took, {("local" | "ray", workers): [rounds]}."""
        task, columns = case.build_task()
        process = cases.build_process(task)
        seconds = {key: [] for key in self._contexts}
        states = {}
        for key, context in self._contexts.items():
            with tff.framework.get_context_stack().install(context):
                states[key] = process.initialize()
        for round_num in tqdm.trange(rounds + 1, desc=case.title, disable=None):
            inputs = case.inputs(task, columns, round_num, own=True)
            for key, context in self._contexts.items():
                with tff.framework.get_context_stack().install(context):
                    cpu = cpu_seconds if key[0] == "ray" else time.process_time
                    before, own, start = cpu(), time.process_time(), time.perf_counter()
                    states[key] = process.next(states[key], inputs).state
                    wall = time.perf_counter() - start
                    driver = time.process_time() - own
                    seconds[key].append(Seconds(wall, cpu() - before, driver))
        return {key: values[1:] for key, values in seconds.items()}


class Seconds(NamedTuple):
    """What a round took."""

    wall: float
    cpu: float  # Of all threads, and processes.
    driver: float  # Of these, of this process.


def cpu_seconds() -> float:
    """CPU seconds of this process and of those that descend from it and are there."""
    ticks, parents = {}, {}
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        # A process may end while it is looked at. Its name may hold spaces.
        with contextlib.suppress(OSError):
            fields = path.read_text().rsplit(")", 1)[1].split()
            pid = int(path.parent.name)
            parents[pid], ticks[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    ours, found = {os.getpid()}, True
    while found:
        found = {pid for pid, parent in parents.items() if parent in ours} - ours
        ours |= found
    return sum(ticks.get(pid, 0) for pid in ours) / os.sysconf("SC_CLK_TCK")


def compared(workers: Iterable[int]) -> int:
    """The number of workers at which the two are compared: nearest to one for each core."""
    return min(workers, key=lambda count: abs(count - len(os.sched_getaffinity(0))))


def _row(name: str, case: cases.Case, seconds) -> tuple[str, ...]:
    keys = [key for kind in ("local", "ray") for key in seconds if key[0] == kind]
    at = compared(count for _, count in keys)
    local_runs, ray_runs = (seconds[kind, at] for kind in ("local", "ray"))
    ratio = lambda field: statistics.median(
        getattr(there, field) / getattr(here, field)
        for there, here in zip(ray_runs, local_runs, strict=True)
    )
    per_client = [
        1e3 * statistics.median(run.cpu for run in runs) / case.num_clients
        for runs in (local_runs, ray_runs)
    ]
    return (
        name,
        f"{case.num_clients:,}",
        *(_rate(60 / statistics.median(run.wall for run in seconds[key])) for key in keys),
        f"{ratio('wall'):.2f}",
        f"{ratio('cpu'):.2f}",
        ", ".join(f"{value:.2f}" for value in per_client),
    )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def driver_peak(num_clients: int) -> float:
    """Peak resident MiB of a driver that runs three rounds of so many small clients on Ray."""
    return memory.in_process(_drive, num_clients)


def _drive(pipe, num_clients: int) -> None:
    case = cases.Case("", "emnist_linear", num_clients, 10)
    task, columns = case.build_task()
    process = cases.build_process(task)
    with ray_cluster.use(ray_cluster.Hparams(client_workers=2)) as context:
        state = process.initialize()
        for round_num in (1, 2, 3):
            inputs = case.inputs(task, columns, round_num)
            output, _ = context.next(process, state, inputs, seed=0, round_num=round_num)
            state = output.state
    pipe.send(memory.status("VmHWM"))
