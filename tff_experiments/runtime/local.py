"""Our own runtime: TFF processes inside of this process, many clients at the same time.

TFF's native context trains each client in another process, ships the model to it for each client,
and leaves GPUs idle. This one compiles a process to its MapReduceForm and runs the form's graphs in
TensorFlow sessions of this process (see `rounds`). It is a TFF execution context: `process.next`
of anybody's script runs on it as it is.
"""

import contextlib
import dataclasses
import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import tensorflow as tf
import tensorflow_federated as tff
from absl import logging

from tff_experiments.runtime import (
    client_round,
    clients,
    rounds,
    sessions,
    tensorflow_part,
    threads,
)
from tff_experiments.secure_sum import plain, stages

RoundAborted = stages.AbortedError
ClientError = client_round.ClientError
FLAG_PREFIX = ""
WAY_OUT = "TFF's native runtime may run it: --runtime=native, or tff_experiments.runtime.native."


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of our runtime."""

    client_workers: int = 0
    """Clients that are trained at the same time; 0 is one per core."""
    client_threads: int = 1
    """Threads of each client's training; last bits depend on it, and on no number of cores. More
    than 1 is for rounds of fewer clients than there are cores.
    """
    on_client_error: Literal["stop", "drop"] = "stop"
    """What a failed client does: stop the run, or be left out of its round and counted."""
    allow_plain_slots: bool = False
    """Let a real secure sum run although clients also send values in the clear."""
    secure_sum_seed: int = -1
    """Makes the secure sum's secrets repeatable, for debugging: they are then not secret; -1 draws
    them from the operating system.
    """

    seed_noise: int = -1
    """Makes the noise of differential privacy repeatable, for debugging: the run is then not
    private; -1 draws it from the operating system.
    """

    def __post_init__(self):
        if self.client_workers < 0:
            raise ValueError(f"client_workers must be >= 0, got {self.client_workers}.")
        if self.client_threads < 1:
            raise ValueError(f"client_threads must be >= 1, got {self.client_threads}.")
        if self.secure_sum_seed < -1:
            raise ValueError(f"secure_sum_seed must be >= -1, got {self.secure_sum_seed}.")
        if self.seed_noise < -1:
            raise ValueError(f"seed_noise must be >= -1, got {self.seed_noise}.")


class Context(tff.framework.SyncContext):
    """Executes TFF computations in this process."""

    def __init__(
        self,
        hparams: Hparams,
        *,
        seed: int = 0,
        secure_sum: Any = None,
        make_crew: Callable[[Any], rounds.Crew] | None = None,
    ):
        """Makes an empty context; sessions are opened as computations come.

        Args:
            hparams: The knobs.
            seed: Seed of clients' and server's random ops, for callers that use `process.next`.
            secure_sum: A protocol of the secure_sum room; by default sums are in the clear.
            make_crew: From a MapReduceForm, who trains its clients; by default threads.
        """
        self._hparams, self._seed = hparams, seed
        self._secure_sum = secure_sum or plain.build(plain.Hparams())
        self._secure_seed = None if hparams.secure_sum_seed < 0 else hparams.secure_sum_seed
        if self._secure_sum.is_secure and self._secure_seed is not None:
            logging.warning("--secure_sum_seed: the secure sum's secrets are NOT secret.")
        self._noise_seed = None if hparams.seed_noise < 0 else hparams.seed_noise
        self._make_crew = make_crew or self._threads
        self._compiled: dict[int, Any] = {}
        self._round_num = 0
        self._client_states = None
        self.last_round: dict[str, float] = {}

    def invoke(self, comp: tff.framework.ConcreteComputation, arg: Any) -> Any:
        """Runs a computation; see the base class.

        Raises:
            TypeError: The computation is not of a kind that this context runs, or the argument is
                not of its type.
            ClientError: A client's work failed.
            RoundAborted: The secure sum lost too many clients; the state is what it was.
        """
        compiled = self._compile(comp)
        if isinstance(compiled, rounds.Rounds):
            self._round_num += 1
            setting = client_round.Setting(
                self._seed,
                self._round_num,
                self._hparams.on_client_error == "drop",
                self._secure_seed,
                self._noise_seed,
                self._client_states,
            )
            output, self.last_round = compiled.run(arg[0], arg[1], setting)
            return output
        kind = compiled.parameter_type
        leaves = [] if kind is None else tensorflow_part.flatten(arg, kind)
        result = compiled(
            leaves,
            seed=self._seed,
            round_num=self._round_num,
            noise_seed=self._noise_seed,
        )
        return tensorflow_part.pack(result, comp.type_signature.result)

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
        """Runs one round of a process, its randomness a function of (seed, round, client).

        Args:
            process: The process.
            state: Its state.
            inputs: What the round's clients get.
            seed: The run's seed.
            round_num: The round, from 1.
            client_states: Keeps clients' states, see `client_round.Setting`.

        Returns:
            What `process.next` returns, and how the round went: {metric: value}.
        """
        before = self._seed, self._round_num
        self._seed, self._round_num = seed, round_num - 1
        self._client_states = client_states
        try:
            output = process.next(state, list(inputs))
        finally:
            # What comes next, such as another process' first state, draws as if this had not been.
            self._seed, self._round_num = before
            self._client_states = None
        # Of what is broadcast a client may need a part alone.
        if getattr(process, "downloaded", None) is not None:
            size = tensorflow_part.num_bytes(process.downloaded)
            self.last_round["bytes/downlink_per_client"] = size
        return output, self.last_round

    def check(self, process: tff.templates.IterativeProcess) -> None:
        """Compiles a process' rounds; raises RefusedError where it can't be run so."""
        self._compile(process.next)

    def draws_noise(self, process: tff.templates.IterativeProcess) -> bool:
        """Whether rounds of a process have noise that privacy rests on."""
        return self._compile(process.next).draws_noise

    def _compile(self, comp):
        # A computation's own hash serializes it, megabytes of initial weights.
        if id(comp) not in self._compiled:
            self._compiled[id(comp)] = compile_computation(
                comp,
                make_crew=self._make_crew,
                secure_sum=self._secure_sum,
                allow_plain_slots=self._hparams.allow_plain_slots,
            )
            weakref.finalize(comp, self._forget, id(comp))
            if self._noise_seed is not None and getattr(
                self._compiled[id(comp)], "draws_noise", False
            ):
                logging.warning("--seed_noise: who knows the seed knows the noise; NOT private.")
        return self._compiled[id(comp)]

    def _threads(self, form) -> threads.Threads:
        return threads.Threads(
            form,
            num_workers=self._hparams.client_workers or len(os.sched_getaffinity(0)),
            devices=client_devices(),
            client_threads=self._hparams.client_threads,
        )

    def _forget(self, key: int) -> None:
        if key in self._compiled:
            self._compiled.pop(key).close()

    def close(self) -> None:
        """Ends all sessions and threads."""
        for key in list(self._compiled):
            self._forget(key)


class RefusedError(TypeError):
    """A computation can't be run, or not so; says why, and the way out."""


def compile_computation(
    comp,
    *,
    make_crew: Callable[[Any], rounds.Crew],
    secure_sum: Any,
    allow_plain_slots: bool,
):
    """Compiles a computation: `Rounds` where it has clients, else a `sessions.Function`.

    Raises:
        RefusedError: It is neither TensorFlow alone, nor an initialization, nor a process' `next`
            that has a MapReduceForm; or its clients send values in the clear under a protocol that
            should hide them.
    """
    signature = comp.type_signature
    proto = tff.framework.ConcreteComputation.get_proto(comp)
    if proto.WhichOneof("computation") == "tensorflow":
        kinds = [kind for kind in (signature.parameter, signature.result) if kind is not None]
        leaves = [leaf for kind in kinds for leaf in tensorflow_part.leaf_types(kind)]
        if any(isinstance(leaf, tff.SequenceType) for leaf in leaves):
            raise RefusedError(
                f"a computation of type {signature.compact_representation()[:200]} takes or gives "
                f"a sequence outside of clients. {WAY_OUT}"
            )
        return sessions.Function(comp, "computation")
    try:
        if signature.parameter is None:
            initialize = tff.backends.mapreduce.get_state_initialization_computation(
                comp, sessions.without_grappler()
            )
            return sessions.Function(initialize, "initialize")
        compiled = rounds.Rounds(comp, make_crew=make_crew, protocol=secure_sum)
    except (TypeError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise RefusedError(
            f"a computation of type {signature.compact_representation()[:200]} can't be run as a "
            f"MapReduceForm: {reason} {WAY_OUT}"
        ) from error
    sent = compiled.sent_plain
    if secure_sum.is_secure and not allow_plain_slots and sent:
        compiled.close()
        raise RefusedError(
            f"each client would send {', '.join(sent)[:200]} in the clear beside the "
            f"secure sum; use --aggregator=secure_mean, or --allow_plain_slots to accept it."
        )
    return compiled


def client_devices() -> list[str]:
    """Where client work is placed: each GPU in turn, or TensorFlow's choice where there is none."""
    gpus = tf.config.list_physical_devices("GPU")
    return [f"/GPU:{i}" for i in range(len(gpus))] or [""]


@contextlib.contextmanager
def use(
    hparams: Hparams,
    *,
    quiet: bool = True,
    seed: int = 0,
    secure_sum: Any = None,
    make_crew: Callable[[Any], rounds.Crew] | None = None,
):
    """Makes our runtime the one in which TFF's computations run.

    Args:
        hparams: The knobs.
        quiet: Taken for all runtimes; this one logs nothing of its own.
        seed: Seed of random ops outside of `Context.next`: first states, code that calls
            `process.next`.
        secure_sum: A protocol of the secure_sum room; by default sums are in the clear.
        make_crew: See `Context`.

    Yields:
        The `Context`.
    """
    del quiet
    context = Context(hparams, seed=seed, secure_sum=secure_sum, make_crew=make_crew)
    try:
        with tff.framework.get_context_stack().install(context):
            yield context
    finally:
        context.close()
