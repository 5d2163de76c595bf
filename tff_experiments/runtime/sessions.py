"""Parts in TensorFlow sessions.

A session has its own variables, random keys and threads: two of them run one graph at the same time
without touching each other, which TensorFlow's global runtime does not allow.
"""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff
from absl import logging
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.eager import context as eager_context

from tff_experiments import private_noise
from tff_experiments.runtime import randomness, tensorflow_part, variables

_CALLER_THREAD = -1
# How TensorFlow divides an operation, and so its last bits, depends on the threads it may take: the
# server's part has as many on any machine.
_SERVER_THREADS = 4
# TensorFlow reads it once, when something runs for the first time. Without it all sessions of a
# process share the threads of the first, which are as many as cores.
OWN_THREADS = "TF_OVERRIDE_GLOBAL_THREADPOOL"
if eager_context.context()._initialized and OWN_THREADS not in os.environ:
    logging.warning(
        "TensorFlow ran before tff_experiments.runtime was imported, so that clients share one "
        "pool of threads: rounds are slower, and last bits depend on the number of cores. Import "
        "it first."
    )
os.environ.setdefault(OWN_THREADS, "1")


class Imported(NamedTuple):
    """A part inside of a graph."""

    results: list[tf.Tensor]
    num_random: int  # Random ops, the rows of `keys`.
    keys: tf.Tensor | None
    noise: dict[tf.Tensor, private_noise.Noise]  # What is drawn outside of the graph.
    setup: list[tf.Operation]  # To run once per session, with keys.
    reset: list[list[tf.Operation]]  # To run before each call, each list after the one before.

    def keys_feed(self, seed: int, round_num: int, who: str) -> dict[tf.Tensor, np.ndarray]:
        """What to feed for `keys`, nothing where nothing is drawn; see `randomness.keys`."""
        if not self.num_random:
            return {}
        return {self.keys: randomness.keys(seed, round_num, who, self.num_random)}

    def noise_feed(self, noise_seed: int | None, round_num: int, who: str) -> list[np.ndarray]:
        """What to feed for `noise`: the operating system's, or without a secret that of a seed."""
        bits = private_noise.from_system
        if noise_seed is not None:
            bits = private_noise.repeatable(noise_seed, round_num, who)
        return [private_noise.draw(noise, bits) for noise in self.noise.values()]


def import_part(part: tensorflow_part.Part, scope: str, inputs: Sequence[tf.Tensor]) -> Imported:
    """Puts a part into the current graph, its random ops made functions of keys.

    Args:
        part: The part; its graph is changed.
        scope: Prefix of names, another for each part of a graph.
        inputs: The flat parameter.

    Returns:
        What was put in.
    """
    graph_def = part.graph_def
    unknown = randomness.uncontrolled(graph_def)
    if unknown:
        logging.warning("%s draw at random without a seed: runs differ.", sorted(unknown))
    noise = private_noise.take(graph_def)
    again, known = variables.plan(graph_def, part.initializer)
    num_random = randomness.rewrite(graph_def, scope)
    keys = [randomness.SET_KEYS] if num_random else []
    variables.gate(graph_def, part.initializer, [*part.first, *again], keys)
    extra = [f"{name}:0" for name in (*noise, *([randomness.KEYS] if num_random else []))]
    with tf.name_scope(""):
        tensors = tf.import_graph_def(
            graph_def,
            input_map=dict(zip(part.parameters, inputs, strict=True)),
            return_elements=[*part.results, *extra],
            name=scope,
        )
    graph = tf.compat.v1.get_default_graph()
    operation = lambda name: graph.get_operation_by_name(f"{scope}/{name}")
    setup = [operation(part.initializer)] if part.initializer else []
    reset = []
    if not known:
        # Each call of TFF has fresh variables; which of these must be, can't be told.
        destroy = _destroy(graph_def, scope)
        reset = [destroy, setup] if setup else [destroy]
    # A parameter that is a result is not a tensor of the import.
    passed = dict(zip(part.parameters, inputs, strict=True))
    pairs = zip(part.results, tensors[: len(part.results)], strict=True)
    return Imported(
        results=[tf.identity(passed.get(name, tensor)) for name, tensor in pairs],
        num_random=num_random,
        keys=tensors[-1] if num_random else None,
        noise=dict(zip(tensors[len(part.results) :], noise.values(), strict=False)),
        setup=setup,
        reset=reset,
    )


def _destroy(graph_def, scope: str) -> list[tf.Operation]:
    handles = {}
    for node in tensorflow_part.all_nodes(graph_def):
        if node.op != "VarHandleOp":
            continue
        name = node.attr["shared_name"].s.decode() or node.name
        handles[name] = tf.raw_ops.VarHandleOp(
            dtype=node.attr["dtype"].type,
            shape=tf.TensorShape(node.attr["shape"].shape),
            shared_name=name,
            container=node.attr["container"].s.decode(),
        )
    graph = tf.compat.v1.get_default_graph()
    tables = [
        graph.get_tensor_by_name(f"{scope}/{node.name}:0")
        for node in graph_def.node
        if node.op in variables.MUTABLE_TABLES
    ]
    return [
        tf.raw_ops.DestroyResourceOp(resource=handle, ignore_lookup_error=True)
        for handle in [*handles.values(), *tables]
    ]


def session(graph: tf.Graph, *, threads: int) -> tf.compat.v1.Session:
    """Opens a session of which each operation may take so many threads, its own."""
    # Grappler brings nothing measurable here, takes half of the time to compile, and rewrites
    # arithmetic (a division by a constant becomes a product), so that results differ from TFF's.
    # Calls of TFF's functions ask for it on their own: these are inlined and rewritten as by TFF.
    config = without_grappler()
    config.intra_op_parallelism_threads = threads
    config.inter_op_parallelism_threads = 1
    config.use_per_session_threads = True
    config.allow_soft_placement = True
    config.gpu_options.allow_growth = True
    return tf.compat.v1.Session(graph=graph, config=config)


def without_grappler() -> tf.compat.v1.ConfigProto:
    """Leaves a graph as it is. For TFF's compiler: functions that it inlined can't be rewritten."""
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def callable_of(
    session: tf.compat.v1.Session,
    feeds: Sequence[tf.Tensor],
    fetches: Sequence[tf.Tensor],
    targets: Sequence[tf.Operation] = (),
) -> Callable[..., list[np.ndarray]]:
    """A fast `session.run`: flat arrays in the order of `feeds` -> flat arrays of `fetches`."""
    options = config_pb2.CallableOptions(
        feed=[tensor.name for tensor in feeds],
        fetch=[tensor.name for tensor in fetches],
        target=[operation.name for operation in targets],
    )
    options.run_options.inter_op_thread_pool = _CALLER_THREAD
    return session._make_callable_from_options(options)


class Function:
    """A computation without clients, in a session of its own."""

    def __init__(self, computation: tff.framework.ConcreteComputation, name: str):
        """Builds the graph; the session is opened by the first call."""
        self.name = name
        part = tensorflow_part.unpack(computation, name)
        self.parameter_type = part.parameter_type
        self._graph = tf.Graph()
        with self._graph.as_default():
            types = (
                []
                if part.parameter_type is None
                else tensorflow_part.leaf_types(part.parameter_type)
            )
            self._feeds = [tf.compat.v1.placeholder(leaf.dtype, leaf.shape) for leaf in types]
            self._imported = import_part(part, "part", self._feeds)
        self._session = None

    def __call__(
        self,
        leaves: Sequence[np.ndarray],
        *,
        seed: int,
        round_num: int,
        noise_seed: int | None = None,
    ) -> list:
        """Runs it on a flat parameter; returns the flat result."""
        imported = self._imported
        if not imported.results:
            return []
        keys = imported.keys_feed(seed, round_num, f"server/{self.name}")
        if self._session is None:
            self._session = session(self._graph, threads=_SERVER_THREADS)
            self._session.run(imported.setup, keys)
            feeds = [*self._feeds, *keys, *imported.noise]
            self._run = callable_of(self._session, feeds, imported.results)
        for operations in imported.reset:
            self._session.run(operations, keys)
        noise = imported.noise_feed(noise_seed, round_num, f"server/{self.name}")
        return self._run(*leaves, *keys.values(), *noise)

    def close(self) -> None:
        """Ends the session."""
        if self._session is not None:
            self._session.close()
