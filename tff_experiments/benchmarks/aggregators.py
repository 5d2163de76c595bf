"""Seconds, memory and uplink of each aggregator, with the EMNIST CNN of 1.2 million weights.

Each is measured in a process of its own, so that peaks are its own. Its rounds are in turn with
those of `mean`, so that what else the machine does slows both.
"""

import dataclasses
import time
from typing import NamedTuple

import numpy as np
import tqdm

from tff_experiments import aggregation
from tff_experiments.benchmarks import cases, memory
from tff_experiments.privacy import plan
from tff_experiments.runtime import local

HEAD = (
    "aggregator",
    "s a round",
    "of mean's",
    "CPU s",
    "CPU s above mean",
    "peak, MiB",
    "bits a weight",
    "nmse",
)
# Beside the defaults.
OTHERS = {
    "quantized --quantized_rotation": ("quantized", {"rotation": True}),
    "quantized --quantized_bits=4": ("quantized", {"bits": 4}),
    "quantized --quantized_bits=4 --quantized_rotation": (
        "quantized",
        {"bits": 4, "rotation": True},
    ),
    "drive --nodrive_unbiased": ("drive", {"unbiased": False}),
}


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    clients: int = 100
    """Clients of a round, 20 examples each."""
    rounds: int = 5
    """Rounds that are measured, after one that is not."""
    only: str = ""
    """Names with commas; by default all."""

    def __post_init__(self):
        for name in ("clients", "rounds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}.")
        unknown = set(filter(None, self.only.split(","))) - set(aggregation.BY_NAME)
        if unknown:
            raise ValueError(f"only must be of {list(aggregation.BY_NAME)}, got {sorted(unknown)}.")


class Measured(NamedTuple):
    """Of one aggregator."""

    clocks: np.ndarray  # [rounds, 2]: seconds of each round, and CPU seconds of all threads.
    plain: np.ndarray  # The same of `mean`, whose rounds were in turn with these.
    peak: float  # Resident MiB.
    bits: float  # A client's message, a weight.
    nmse: float | None  # Of a client's message.


def run(hparams: Hparams):
    """Measures; returns (title, head, rows)."""
    wanted = hparams.only.split(",") if hparams.only else list(aggregation.BY_NAME)
    found = {name: (name, {}) for name in ["mean", *wanted]}
    found |= {title: case for title, case in OTHERS.items() if case[0] in wanted}
    rows = []
    with Trainer("mean", hparams.clients) as plain:
        for title, (name, knobs) in tqdm.tqdm(found.items(), disable=None):
            with Trainer(name, hparams.clients, **knobs) as trainer:
                rows.append(_row(title, measure(trainer, plain, hparams.rounds)))
    title = (
        f"FedAvg on the EMNIST CNN, {hparams.clients} clients with 20 random examples, medians of "
        f"{hparams.rounds} rounds after one; each aggregator in its own process, its rounds in "
        "turn with those of a `mean` beside it. What `mean` itself differs by is noise."
    )
    return title, HEAD, rows


def _row(title: str, one: Measured) -> tuple[str, ...]:
    is_secure = aggregation.BY_NAME[title.split()[0]].SUPPORTS_SECURE_SUM
    seconds, cpu = np.median(one.clocks, axis=0)
    slower, _ = np.median(one.clocks / one.plain, axis=0)
    _, more = np.median(one.clocks - one.plain, axis=0)
    return (
        f"`{title}`",
        f"{seconds:.2f}",
        f"{slower:.2f}",
        f"{cpu:.2f}",
        f"{more:+.2f}",
        f"{one.peak:.0f}",
        "by protocol" if is_secure else f"{one.bits:.2f}",
        "" if one.nmse is None else f"{one.nmse:.2g}",
    )


def measure(trainer: "Trainer", plain: "Trainer", rounds: int) -> Measured:
    """Measures one aggregator beside `mean`."""
    pairs = [(trainer.round(), plain.round()) for _ in range(rounds + 1)]
    ours, theirs = map(np.array, zip(*pairs[1:], strict=True))
    return Measured(ours, theirs, *trainer.end())


class Trainer:
    """A process that trains with one aggregator, a round whenever it is asked to."""

    def __init__(self, name: str, num_clients: int, **hparams):
        """Takes the aggregator, a round's clients, and the aggregator's knobs."""
        self._args = name, num_clients, hparams

    def __enter__(self) -> "Trainer":
        """Starts it."""
        self._process, self._pipe = memory.start(_train, *self._args)
        return self

    def __exit__(self, *error) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.join()

    def round(self) -> np.ndarray:
        """Has it train a round; returns seconds and CPU seconds."""
        self._pipe.send(True)
        return self._pipe.recv()

    def end(self) -> tuple[float, float, float | None]:
        """Peak MiB, bits a weight, nmse of a client's message; it trains no more."""
        self._pipe.send(False)
        return self._pipe.recv()


def _train(pipe, name: str, num_clients: int, hparams: dict) -> None:
    case = cases.Case("", "emnist_cnn", num_clients, 20)
    task, columns = case.build_task()
    module = aggregation.BY_NAME[name]
    dim = sum(weights.size for weights in task.weights_of_seed(0))
    factory = build_aggregator(module, module.Hparams(**hparams), num_clients, dim)
    process = cases.build_process(task, module, factory)
    round_num = 0
    with local.use(local.Hparams()) as context:
        state = process.initialize()
        while pipe.recv():
            round_num += 1
            inputs = case.inputs(task, columns, round_num)
            start = _clocks()
            output, sizes = context.next(process, state, inputs, seed=0, round_num=round_num)
            pipe.send(_clocks() - start)
            state = output.state
        weights = process.get_model_weights(state).trainable
    message = output.metrics["aggregator"].get("mean_value") or {}
    bits = message.get("uplink_bits", 8 * sizes["bytes/uplink_per_client"])
    size = sum(np.size(leaf) for leaf in weights)
    pipe.send((memory.status("VmHWM"), bits / size, message.get("nmse")))


def build_aggregator(module, hparams, clients_per_round: int, dim: int):
    """An aggregator; a private one with the noise of an epoch of EMNIST's 3,400 clients."""
    if not hasattr(module, "privacy"):
        return module.build(hparams)
    question = plan.Hparams(
        **module.privacy(hparams),
        clients_per_round=clients_per_round,
        client_sampling="round_robin",
        rounds=3400 // clients_per_round,
        dim=dim,
    )
    return module.build(hparams, plan.build(question).mechanism, question)


def _clocks() -> np.ndarray:
    return np.array([time.perf_counter(), time.process_time()])
