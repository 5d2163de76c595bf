"""One process in its MapReduceForm, and how a round of it runs.

    broadcast = prepare(state)
    group g:    a_g = accumulate(... accumulate(zero(), work(client 1, broadcast)) ..., client n)
    aggregate = report(merge(... merge(a_1, a_2) ..., a_G)), and the sums of the secure slots
    state, metrics = update(state, aggregate)

The groups depend on the clients alone, and are merged in their order: the same bits come out for
any number of workers.
"""

import contextlib
import resource
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow_federated as tff
from absl import logging

from tff_experiments import private_noise
from tff_experiments.runtime import (
    client_round,
    client_work,
    clients,
    secure_slots,
    sessions,
    tensorflow_part,
)
from tff_experiments.secure_sum import plain

_forms: dict[int, Any] = {}


def _form_of(computation) -> tff.backends.mapreduce.MapReduceForm:
    """The form, made once for all contexts that a computation runs in: it takes seconds."""
    # A computation's own hash serializes it, megabytes of initial weights.
    if id(computation) not in _forms:
        _forms[id(computation)] = tff.backends.mapreduce.get_map_reduce_form_for_computation(
            computation, sessions.without_grappler()
        )
        weakref.finalize(computation, _forms.pop, id(computation))
    return _forms[id(computation)]


class Crew(Protocol):
    """Who trains the clients of a process."""

    def train(
        self, work: client_round.ClientRound, broadcast: list[np.ndarray]
    ) -> Iterator[list[np.ndarray]]:
        """Yields the accumulators of a round's groups in order, while later groups are trained;
        raises ClientError.
        """

    def close(self) -> None:
        """Ends what the crew began."""


class Rounds:
    """A compiled `next`."""

    def __init__(self, computation, *, make_crew: Callable[[Any], Crew], protocol: Any):
        """Compiles it.

        Args:
            computation: (state at the server, values at clients) -> (state, result).
            make_crew: From the MapReduceForm, who trains the clients.
            protocol: What sums the secure slots.

        Raises:
            TypeError, ValueError: It has no MapReduceForm.
        """
        form = _form_of(computation)
        self._form = form
        self._state_type = form.type_signature.parameter[0]
        self._client_type = form.type_signature.parameter[1].member
        # The form's own type has lost the Python containers.
        self._result_type = computation.type_signature.result
        names = ("prepare", "zero", "merge", "report", "update")
        self._server = {name: sessions.Function(getattr(form, name), name) for name in names}
        self._slots = secure_slots.SecureSlots(form)
        self.draws_noise = any(
            private_noise.is_asked(tensorflow_part.unpack(part, "").graph_def)
            for part in (form.work, form.update)
        )
        plain = form.work.type_signature.result[0]
        kept = client_work.kept_leaves(form)
        # What each client sends in the clear, and what it keeps.
        named = enumerate(tensorflow_part.described(plain))
        self.sent_plain = [text for i, text in named if i not in kept]
        self._kept_types = [tensorflow_part.leaf_types(plain)[i] for i in kept]
        if self._slots.length and not protocol.is_secure:
            logging.warning("Secure sums are summed in the clear: a simulation without secrecy.")
        self._protocol = protocol
        self._crew = make_crew(form)

    def run(
        self, state: Any, values: Sequence[Any], setting: client_round.Setting
    ) -> tuple[Any, dict[str, float]]:
        """Runs one round.

        Args:
            state: The process' state.
            values: Each client's value, or its `ClientInputs`.
            setting: Seed, round and what to do about failures.

        Returns:
            What the process returns, and how the round went: seconds, bytes per client, memory.

        Raises:
            ClientError: A client's work failed.
            AbortedError: Too few clients are left for the secure sum; nothing has changed.
            TypeError: A value does not have its type.
        """
        seconds: dict[str, float] = {}
        server = lambda name, leaves: self._server[name](
            leaves,
            seed=setting.seed,
            round_num=setting.round_num,
            noise_seed=setting.noise_seed,
        )
        cohort = [clients.ClientInputs.of(value, i) for i, value in enumerate(values)]
        inputs = [client for client in cohort if client.uploads]
        leaves = tensorflow_part.flatten(state, self._state_type)
        with _measured(seconds, "server_update"):
            broadcast = server("prepare", leaves)
        with _measured(seconds, "secure_sum"):
            secure_sum = self._start(cohort, setting)
        work = client_round.ClientRound(inputs, self._client_type, setting, self._slots, secure_sum)
        accumulated = None
        with _measured(seconds, "client_work"):
            for part in self._crew.train(work, broadcast):
                with _measured(seconds, "aggregation"):
                    accumulated = server("merge", accumulated + part) if accumulated else part
        with _measured(seconds, "aggregation"):
            report = server("report", accumulated or server("zero", []))
        with _measured(seconds, "secure_sum"):
            sums = self._slots.leaves(secure_sum.finish())
        with _measured(seconds, "server_update"):
            result = server("update", [*leaves, *report, *sums])
        metrics = {f"seconds/{name}": value for name, value in seconds.items()}
        for name, value in work.metrics().items():
            metrics[name] = metrics.get(name, 0) + value
        metrics |= self._sizes() | secure_sum.metrics()
        return tensorflow_part.pack(result, self._result_type), metrics

    def _start(self, cohort: Sequence[clients.ClientInputs], setting: client_round.Setting):
        """Begins the secure sum; a process without one needs none."""
        if not self._slots.length:
            return plain.build(plain.Hparams()).start([], {})
        drops = {client.client: client.drops for client in cohort}
        if len(drops) < len(cohort):
            raise ValueError(
                "two clients of a round have one name; secure sums need distinct ones."
            )
        seed = None if setting.secure_seed is None else (setting.secure_seed, setting.round_num)
        return self._protocol.start(self._slots.segments(len(cohort)), drops, seed=seed)

    def _sizes(self) -> dict[str, float]:
        size = tensorflow_part.num_bytes
        sent = size(self._form.work.type_signature.result)
        kept = sum(size(leaf) for leaf in self._kept_types)
        sizes = {
            "bytes/downlink_per_client": size(self._form.prepare.type_signature.result),
            "bytes/uplink_per_client": None if sent is None else sent - kept,
        }
        sizes["memory/peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {name: size for name, size in sizes.items() if size is not None}

    def close(self) -> None:
        """Ends the workers and the sessions."""
        self._crew.close()
        for function in self._server.values():
            function.close()


@contextlib.contextmanager
def _measured(seconds: dict[str, float], name: str):
    start = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0) + time.perf_counter() - start
