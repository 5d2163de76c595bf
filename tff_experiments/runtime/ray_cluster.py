"""Our runtime on a Ray cluster: client work on many machines, the rest of a round here.

Actors (see `ray_actor`) take the runtime's groups of clients as they get idle. A group is added up
where it is trained, and the driver merges one partial a group, in order: the bits are those of
`local` at any number of workers, on machines of one kind (TensorFlow chooses its kernels by what
the CPU has).

Clients' data, and the states of those that keep one, go to the worker with their group: what a
worker dies with is nowhere else, and no machine needs the data set. Under secagg and secagg_plus a
worker adds what its clients would send, masked vectors, and nothing else of the secure slots leaves
it; see `secure_sum.group_sum` for what is simulated. Other protocols' clients encrypt one after
another in one process, and are refused. Private noise of clients is drawn from the operating system
of the worker's machine.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import os
import pathlib
import signal
import sys
import threading
import warnings
from typing import Any

from tff_experiments.runtime import local

FLAG_PREFIX = ""
PACKAGE = pathlib.Path(__file__).resolve().parents[1]


@dataclasses.dataclass(frozen=True)
class Hparams(local.Hparams):
    """Knobs of the Ray runtime, and those of our runtime: `client_workers` is the number of actors,
    0 one for each CPU of the cluster.
    """

    ray_address: str = ""
    """The cluster, HOST:PORT, or "auto" for the one that was started on this machine; by default a
    Ray of the run's own, on this machine.
    """

    ray_gpus_per_worker: float = 0.0
    """GPUs that a worker takes, or a part of one; 0 trains on CPUs."""

    def __post_init__(self):
        super().__post_init__()
        if self.ray_gpus_per_worker < 0:
            raise ValueError(f"ray_gpus_per_worker must be >= 0, got {self.ray_gpus_per_worker}.")


@contextlib.contextmanager
def use(hparams: Hparams, *, quiet: bool = True, seed: int = 0, secure_sum: Any = None):
    """Makes our runtime on Ray the one in which TFF's computations run.

    Args:
        hparams: The knobs.
        quiet: Drops what Ray and the workers log.
        seed: Seed of random ops outside of `Context.next`: first states, code that calls
            `process.next`.
        secure_sum: A protocol of the secure_sum room; by default sums are in the clear.

    Yields:
        The `local.Context`.

    Raises:
        ValueError: Ray is not installed, does not answer, or has too few CPUs; or the protocol's
            clients can't be on other machines.
    """
    if secure_sum is not None and not getattr(secure_sum, "supports_groups", False):
        raise ValueError(
            "--runtime=ray sums with plain, secagg or secagg_plus, whose clients can send from "
            "other machines; use one of these, or --runtime=local."
        )
    names = [field.name for field in dataclasses.fields(local.Hparams)]
    shared = local.Hparams(**{name: getattr(hparams, name) for name in names})
    with (
        connected(hparams, quiet=quiet) as num_cpus,
        crew(
            hparams.client_workers or num_cpus,
            gpus=hparams.ray_gpus_per_worker,
            threads=hparams.client_threads,
        ) as make_crew,
        local.use(shared, seed=seed, secure_sum=secure_sum, make_crew=make_crew) as context,
    ):
        yield context


@contextlib.contextmanager
def crew(num_workers: int, *, gpus: float = 0.0, threads: int = 1):
    """Actors on the cluster that this process is connected to; yields `make_crew` for a context."""
    from tff_experiments.runtime import ray_pool

    pool = ray_pool.Pool(num_workers, gpus=gpus)
    try:
        device = "/GPU:0" if gpus else ""
        yield functools.partial(ray_pool.Crew, pool=pool, device=device, threads=threads)
    finally:
        pool.close()


@contextlib.contextmanager
def connected(hparams: Hparams, *, quiet: bool = True):
    """Connects to the cluster, or starts one here; yields how many CPUs it has.

    Raises:
        ValueError: As `use`.
    """
    if importlib.util.find_spec("ray") is None:
        raise ValueError("--runtime=ray needs Ray: run scripts/setup.sh --ray.")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if quiet:
        # Else Ray's core says of each run that nobody collects its metrics; that it was told not
        # to say so, it says as well (see `_silent`).
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        raise ValueError("Ray is in use in this process; call ray.shutdown() before.")
    # Ray takes the signal for itself: a run that is ended would not close its files.
    on_terminate = signal.getsignal(signal.SIGTERM)
    level = "error" if quiet else "info"
    options = {"log_to_driver": not quiet, "logging_level": level}
    try:
        # It says that workers without GPUs will see them one day.
        warnings.filterwarnings("ignore", category=FutureWarning, module="ray")
        if hparams.ray_address:
            # Machines may have another version of this code, or none.
            code = {"py_modules": [str(PACKAGE)]}
            with _silent(quiet):
                ray.init(address=hparams.ray_address, runtime_env=code, **options)
        else:
            cpus = hparams.client_workers or len(os.sched_getaffinity(0))
            with _python_path(), _silent(quiet):
                ray.init(address="local", num_cpus=cpus, include_dashboard=False, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"--ray_address={hparams.ray_address!r}: {reason}") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_terminate)
    try:
        num_cpus = int(ray.cluster_resources().get("CPU", 0))
        if not max(hparams.client_workers, 1) <= num_cpus:
            raise ValueError(
                f"client_workers={hparams.client_workers} need a CPU each, the Ray cluster has "
                f"{num_cpus}."
            )
        yield num_cpus
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _python_path():
    """Processes that begin in the block, and those that they begin, find this package."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE.parent), before]))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


@contextlib.contextmanager
def _silent(quiet: bool):
    """Drops what native code writes to standard error; what goes wrong is raised."""
    if not quiet:
        yield
        return
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
