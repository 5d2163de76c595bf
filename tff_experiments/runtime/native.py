"""TFF's native runtime: its C++ worker, a process of its own reached over gRPC.

TFF's stock context starts the worker too, but leaves it behind when Python ends, with Python's
standard output still open. This one owns the process: it ends when the context is left, and when
this process dies in any way.
"""

import contextlib
import ctypes
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import grpc
import portpicker
import tensorflow_federated as tff

from tff_experiments.datasets import batching
from tff_experiments.runtime import clients, sessions

START_SECONDS = 60
_PR_SET_PDEATHSIG = 1
_GRPC_OPTIONS = [
    (f"grpc.max_{direction}message_length", 2**31 - 1) for direction in ("", "receive_", "send_")
]


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of TFF's native runtime."""

    max_concurrent_calls: int = 0
    """Clients that TFF trains at the same time; 0 is TFF's own choice."""

    def __post_init__(self):
        if self.max_concurrent_calls < 0:
            raise ValueError(f"max_concurrent_calls must be >= 0, got {self.max_concurrent_calls}.")


class WorkerLostError(RuntimeError):
    """TFF's worker process is gone."""


class Worker:
    """One worker process and the channel to it."""

    def __init__(self, hparams: Hparams, *, quiet: bool):
        """Starts the process; raises RuntimeError if it does not answer in START_SECONDS."""
        binary = pathlib.Path(tff.__file__).parent / "data" / "worker_binary"
        port = portpicker.pick_unused_port()
        calls = hparams.max_concurrent_calls or -1
        libc = ctypes.CDLL(None)
        # Standard output stays ours: a pipe that reads it must see its end when Python ends.
        # A session of its own keeps the terminal's Ctrl-C away from it, so that a round can be
        # ended in order.
        self._process = subprocess.Popen(
            [str(binary), f"--port={port}", f"--max_concurrent_computation_calls={calls}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if quiet else sys.stderr,
            env={k: v for k, v in os.environ.items() if k != sessions.OWN_THREADS},
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        self._channel = grpc.insecure_channel(f"localhost:{port}", options=_GRPC_OPTIONS)
        self._stub = tff.framework.RemoteExecutorGrpcStub(self._channel)
        deadline = time.monotonic() + START_SECONDS
        while not self._stub.is_ready:
            if time.monotonic() > deadline:
                self.close()
                raise RuntimeError(f"TFF's worker did not answer in {START_SECONDS} s.")
            self._check()
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process' id."""
        return self._process.pid

    def context(self) -> tff.framework.SyncContext:
        """Makes TFF's native context on this worker."""
        return tff.framework.SyncExecutionContext(
            executor_fn=tff.framework.ResourceManagingExecutorFactory(self.executor),
            compiler_fn=tff.backends.native.desugar_and_transform_to_native,
            transform_args=tff.tensorflow.transform_args,
            transform_result=tff.tensorflow.transform_result,
        )

    def executor(self, cardinalities) -> tff.framework.RemoteExecutor:
        """Makes an executor for so many clients, {placement: count}."""
        self._check()
        executor = tff.framework.RemoteExecutor(self._stub, stream_structs=False)
        executor.set_cardinalities({tff.CLIENTS: 0, **cardinalities})
        return executor

    def next(
        self,
        process: tff.templates.IterativeProcess,
        state: Any,
        inputs: Sequence[clients.ClientInputs],
        *,
        seed: int,
        round_num: int,
        client_states: Any = None,
    ) -> tuple[Any, dict[str, float]]:
        """As `local.Context.next`; but TFF's random ops know no seed and no round, and nothing is
        measured. Raises ValueError for a client that gets something beside its data.
        """
        del seed, round_num, client_states
        if not all(clients.is_empty(client.extras) for client in inputs):
            raise ValueError("TFF's native runtime takes no extras; use --runtime=local.")
        inputs = [client for client in inputs if client.uploads]
        datasets = [
            batching.as_dataset(client.data)
            if isinstance(client.data, batching.Batches)
            else client.data
            for client in inputs
        ]
        return process.next(state, datasets), {}

    def check(self, process: tff.templates.IterativeProcess) -> None:
        """Takes any process: TFF's runtime says itself what it can't run."""
        del process

    def _check(self):
        # TFF retries a lost worker for ever; an error that is not a RetryableError ends that.
        code = self._process.poll()
        if code is not None:
            raise WorkerLostError(
                f"TFF's worker process ended with code {code}"
                f"{' (killed, often for lack of memory)' if code == -signal.SIGKILL else ''}; "
                "the run can be resumed with the same command."
            )

    def close(self):
        """Ends the process and waits for it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._channel.close()


@contextlib.contextmanager
def use(hparams: Hparams, *, quiet: bool = True, seed: int = 0, secure_sum: Any = None):
    """Makes TFF's native context, with a worker of ours, the one in which computations run.

    Args:
        hparams: The knobs.
        quiet: Drops what the worker logs; otherwise it goes to standard error.
        seed: Taken for all runtimes; this one draws by the clock.
        secure_sum: Taken for all runtimes; this one has no secure sums.

    Yields:
        The `Worker`.

    Raises:
        ValueError: A real protocol is asked for.
    """
    del seed
    if secure_sum is not None and secure_sum.is_secure:
        raise ValueError(
            "TFF's native runtime can't sum securely; use --runtime=local, or --secure_sum=plain."
        )
    worker = Worker(hparams, quiet=quiet)
    try:
        with tff.framework.get_context_stack().install(worker.context()):
            yield worker
    finally:
        worker.close()
