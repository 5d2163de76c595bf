"""Rounds per minute of the local runtime and of Ray, by workers and by clients per round.

All run in turn within one measurement, as in `runtime`. Ray's workers and the local runtime's
threads have the same cores; that of the driver, which merges what Ray's workers send, included.
"""

import contextlib
import dataclasses
import statistics
import time

import tensorflow_federated as tff
import tqdm

from tff_experiments.benchmarks import cases, memory
from tff_experiments.runtime import local, ray_cluster

SIZES = {"linear": ("emnist_linear", 10), "2nn": ("emnist_2nn", 20), "cnn": ("emnist_cnn", 100)}
NAMES = {"linear": "softmax regression", "2nn": "EMNIST 2NN", "cnn": "EMNIST CNN"}


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    clients: str = "10,100,1000,10000"
    """Clients of a round, with commas."""
    workers: str = "1,2,4"
    """Workers, with commas."""
    models: str = "linear"
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
            for num_clients in numbers("clients", hparams.clients):
                task, examples = SIZES[model]
                case = cases.Case(f"{model}, {num_clients} clients", task, num_clients, examples)
                rows.append(_row(NAMES[model], case, runtimes.measure(case, hparams.rounds)))
    columns = [f"{name} {n}" for name in ("local", "Ray") for n in workers]
    head = ("model", "clients", *columns, "Ray / local", "ms a client")
    title = (
        f"Rounds per minute by workers, medians of {hparams.rounds} interleaved rounds after 1. "
        f"Ray / local: seconds at {workers[-1]} workers, the median of the rounds' own ratios; ms "
        f"a client: local and Ray, there."
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

    def measure(self, case: cases.Case, rounds: int) -> dict[tuple[str, int], list[float]]:
        """Seconds of each round, {("local" | "ray", workers): [rounds]}."""
        task, columns = case.build_task()
        process = cases.build_process(task)
        seconds = {key: [] for key in self._contexts}
        states = {}
        for key, context in self._contexts.items():
            with tff.framework.get_context_stack().install(context):
                states[key] = process.initialize()
        for round_num in tqdm.trange(rounds + 1, desc=case.title, disable=None):
            inputs = case.inputs(task, columns, round_num)
            for key, context in self._contexts.items():
                with tff.framework.get_context_stack().install(context):
                    start = time.perf_counter()
                    states[key] = process.next(states[key], inputs).state
                    seconds[key].append(time.perf_counter() - start)
        return {key: values[1:] for key, values in seconds.items()}


def _row(name: str, case: cases.Case, seconds) -> tuple[str, ...]:
    keys = [(kind, count) for kind in ("local", "ray") for k, count in seconds if k == kind]
    most = keys[-1][1]
    pairs = zip(seconds["ray", most], seconds["local", most], strict=True)
    ratio = statistics.median(ray / here for ray, here in pairs)
    per_client = [
        f"{1e3 * statistics.median(seconds[kind, most]) / case.num_clients:.2f}"
        for kind in ("local", "ray")
    ]
    return (
        name,
        f"{case.num_clients:,}",
        *(f"{60 / statistics.median(seconds[key]):.3g}" for key in keys),
        f"{ratio:.2f}",
        ", ".join(per_client),
    )


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
