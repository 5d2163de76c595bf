"""What a client, a group of clients and a megabyte cost on Ray: what docs/scaling.md reckons with.

A round of n clients in G groups costs the driver G g + n c and what it moves, all processes beside
the training G g' + n c'. Rounds of 100 and of 10,000 small clients, in 17 and 172 groups, give g, c
and g'; larger examples give a megabyte of data, a larger model a megabyte of partials. CPU time
throughout: the driver and the actors share this machine's cores.
"""

import dataclasses
import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tqdm

from tff_experiments.benchmarks import cases, scaling
from tff_experiments.runtime import clients
from tff_experiments.secure_sum import group_sum, secagg_plus, transport, vectors

FEW, SOME, MANY = 100, 1_000, 10_000  # Clients of a round.
DEALT = (10**4, 10**5, 4 * 10**5)
SHARD = 1_000  # Clients of a session of secagg_plus.
CNN_ENTRIES = 1_206_590
HEAD = ("what", "CPU time, or memory")


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the measurement."""

    rounds: int = 10
    """Rounds that are measured, after one that is not; medians are taken."""

    def __post_init__(self):
        if self.rounds < 1:
            raise ValueError(f"rounds must be >= 1, got {self.rounds}.")


class Round(NamedTuple):
    """Medians of a case's rounds, in CPU ms."""

    local: float  # The local runtime, of the same case.
    ray: float  # All processes of the Ray runtime.
    driver: float  # Of these the driver.


def run(hparams: Hparams):
    """Measures; returns (title, head, rows)."""
    rows = [*_on_ray(hparams.rounds), *_in_the_driver(), *_secagg_plus(), *_memory()]
    title = (
        f"CPU time on {len(os.sched_getaffinity(0))} cores, two actors; medians of "
        f"{hparams.rounds} rounds after 1. Random data."
    )
    return title, HEAD, rows


def _on_ray(rounds: int):
    with scaling.Runtimes([2]) as runtimes:
        measure = lambda *size: _measure(runtimes, rounds, *size)
        few, many = measure("emnist_linear", FEW, 10), measure("emnist_linear", MANY, 10)
        some, more = measure("emnist_linear", SOME, 10), measure("emnist_linear", SOME, 100)
        cnn, tiny = measure("emnist_cnn", FEW, 100), measure("emnist_cnn", FEW, 1)
        put, read = _broadcast()
    group, client = per_group_and_client(few.driver, many.driver)
    everywhere, _ = per_group_and_client(few.ray - few.local, many.ray - many.local)
    data = (more.driver - some.driver) / (SOME * 90 * example_megabytes())
    model = 4e-6 * CNN_ENTRIES
    moved = tiny.driver - num_groups(FEW) * group - FEW * client - put * model
    partial = moved / (num_groups(FEW) * model)
    return [
        ("a client of EMNIST's CNN (1.2 M weights), 100 examples", f"{cnn.local / FEW:.0f} ms"),
        ("a client of the softmax regression, 10 examples", f"{many.local / MANY:.2f} ms"),
        ("a group, whatever is in it: all processes", f"{everywhere:.1f} ms"),
        ("of these the driver", f"{group:.1f} ms"),
        ("a client, in the driver, beside its data", f"{client:.3f} ms"),
        ("a partial, fetched and merged by the driver", f"{partial:.2f} ms a MB"),
        ("clients' data, from driver to actor, in the driver", f"{data:.2f} ms a MB"),
        ("what is broadcast, put into the store", f"{put:.2f} ms a MB"),
        ("the same, read by an actor", f"{read:.2f} ms a MB"),
    ]


def _measure(runtimes: scaling.Runtimes, rounds: int, *size) -> Round:
    """Rounds of a (task, clients, examples a client)."""
    seconds = runtimes.measure(cases.Case(", ".join(map(str, size)), *size), rounds)
    median = lambda kind, field: (
        1e3 * statistics.median(getattr(run, field) for run in seconds[kind, 2])
    )
    return Round(median("local", "cpu"), median("ray", "cpu"), median("ray", "driver"))


def num_groups(num_clients: int) -> int:
    """Groups of a round of equal clients."""
    return len(clients.deal([1] * num_clients))


def per_group_and_client(few: float, many: float) -> tuple[float, float]:
    """(g, c) with G g + n c equal to `few` at n = 100 clients and to `many` at 10,000."""
    sizes = np.array([[num_groups(n), n] for n in (FEW, MANY)])
    group, client = np.linalg.solve(sizes, [few, many])
    return float(group), float(client)


def example_megabytes() -> float:
    """An example: 28 x 28 pixels, float32, and its label, int32."""
    return 4e-6 * (28 * 28 + 1)


def _broadcast() -> tuple[float, float]:
    """CPU ms a MB of putting the CNN's weights into the store, and of reading them in an actor."""
    import ray

    @ray.remote(num_cpus=0)  # The actors have all that there are.
    def read(references):
        return _milliseconds(lambda: [leaf.sum() for leaf in ray.get(references[0])])

    leaves = [np.zeros(CNN_ENTRIES, np.float32)]
    references, put = [], []
    for _ in range(10):
        put.append(_milliseconds(lambda: references.append(ray.put(leaves))))
    # A reference in a list is not fetched before the task begins.
    took = [ray.get(read.remote([reference])) for reference in references]
    megabytes = leaves[0].nbytes / 1e6
    return statistics.median(put) / megabytes, statistics.median(took) / megabytes


def _in_the_driver():
    case = cases.Case("", "emnist_linear", MANY, 10)
    task, columns = case.build_task()
    shuffling = _milliseconds(lambda: case.inputs(task, columns, 1)) / MANY
    yield "shuffling a client's 10 examples", f"{shuffling:.3f} ms"
    for num_clients in DEALT:
        seconds = _milliseconds(lambda n=num_clients: clients.deal([10] * n)) / 1e3
        yield f"dealing {num_clients:,} clients into groups", f"{seconds:.2f} s"


def _secagg_plus():
    """One session whose vectors are short; then the masks of a long one."""
    protocol = secagg_plus.build(secagg_plus.Hparams())
    names = [str(i) for i in range(SHARD)]
    short = vectors.Segment(100, 2**32)
    start = time.process_time()
    session = protocol.start([short], dict.fromkeys(names, ""))
    progress = tqdm.tqdm(names, desc="secagg_plus", disable=None)
    masked = [_upload(session, name, short.length) for name in progress]
    session.finish()
    steps = 1e3 * (time.process_time() - start) / SHARD - statistics.mean(masked)
    server = 1e3 * session.seconds[transport.SERVER] / SHARD
    fixed = statistics.median(masked)
    per_megabyte = (_masks(protocol) - fixed) / (4e-6 * CNN_ENTRIES)
    keys = f"`secagg_plus`, n = {SHARD:,}, keys and shares: what the driver plays"
    return [
        (keys, f"{steps:.1f} ms a client"),
        ("of these the server's", f"{server:.2f} ms a client"),
        ("a client's own masks, where it is trained", f"{fixed:.2f} ms"),
        ("and beside that", f"{per_megabyte:.1f} ms a MB"),
    ]


def _upload(session, name: str, length: int) -> float:
    """Has a client upload as one that is trained elsewhere; returns the CPU ms of its masks."""
    group = session.group([name])
    group.add(name, np.ones(length, np.int64))
    uploaded = group.uploaded()
    session.add_group(uploaded)
    return 1e3 * uploaded.seconds[name]


def _masks(protocol) -> float:
    """CPU ms in which a client of a full session masks what the CNN's weights are."""
    layout = vectors.Layout([vectors.Segment(CNN_ENTRIES, 2**32)])
    # One with each neighbour, and its own.
    signed_keys = [(os.urandom(32), 1) for _ in range(protocol.parameters(SHARD).degree + 1)]
    names = [str(i) for i in range(5)]
    group = group_sum.Group(layout, dict.fromkeys(names, signed_keys))
    for name in names:
        group.add(name, np.ones(CNN_ENTRIES, np.int64))
    return 1e3 * statistics.median(group.uploaded().seconds.values())


def _memory():
    for num_clients in (500, 5_000):
        peak = scaling.driver_peak(num_clients)
        yield f"the driver's peak, rounds of {num_clients:,} small clients", f"{peak:.0f} MiB"


def _milliseconds(work: Callable[[], object]) -> float:
    """CPU ms of this process."""
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)
