"""The clients' part of a MapReduceForm: `work`, and `accumulate` of its result, in one call.

A worker is a session on one thread. What the server broadcasts is put into variables of the session
once a round, and the accumulated updates stay there until a group of clients is done, so that a
client's call moves its data and nothing else.

What `work` gives to `accumulate` and `accumulate` does not use is the client's own: its new state.
It is never summed and never leaves the client.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.runtime import clients, iterators, sessions, tensorflow_part


class Sent(NamedTuple):
    """What one client's work gives beside what was accumulated, as flat values."""

    secure: list[np.ndarray]  # The leaves of the secure slots.
    kept: list[np.ndarray]  # The leaves that `accumulate` ignores: the client's own.


class Placed(NamedTuple):
    """Where clients' values enter a graph."""

    work: tensorflow_part.Part
    feeds: list[tf.Tensor]  # The placeholders.
    values: list[tf.Tensor]  # The first parameters of `work`.
    rows: list[tf.Tensor]  # Its last ones, where a data set was replaced by its rows.


class Layout:
    """How a process' clients' values enter: a source for each sequence, a feed for each tensor."""

    def __init__(self, client_type: tff.Type, leaves: Sequence[Any]):
        """Takes it from one client's flat value; raises TypeError where it does not fit."""
        self._types = tensorflow_part.leaf_types(client_type)
        self._sources = [
            clients.source(leaf, kind) if isinstance(kind, tff.SequenceType) else None
            for leaf, kind in zip(leaves, self._types, strict=True)
        ]
        self.key = tuple(source and source.key for source in self._sources)

    def build(self, work: tensorflow_part.Part, *, device: str) -> Placed:
        """Makes the placeholders, and what they give, in the current graph."""
        feeds, values, rows = [], [], []
        for i, (kind, source) in enumerate(zip(self._types, self._sources, strict=True)):
            specs = source.specs if source else [tf.TensorSpec(kind.shape, kind.dtype)]
            fed = [tf.compat.v1.placeholder(spec.dtype, spec.shape) for spec in specs]
            feeds += fed
            if not source:
                values += fed
                continue
            dataset = source.dataset(fed)
            values.append(tf.data.experimental.to_variant(dataset))
            # Integers have no variables on a GPU.
            if source.rows and not device:
                batch = tf.nest.flatten(dataset.element_spec)
                rewritten = iterators.rewrite(work, work.parameters[i], batch)
                if rewritten:
                    work = rewritten
                    values[-1] = tf.raw_ops.OptionalNone()
                    rows += tf.nest.flatten(source.rows(fed))
        return Placed(work, feeds, values, rows)

    def feeds(self, leaves: Sequence[Any]) -> list[Any]:
        """A client's flat value as what is fed."""
        fed: list[Any] = []
        for leaf, kind, source in zip(leaves, self._types, self._sources, strict=True):
            if source and clients.key(leaf) != source.key:
                raise TypeError(
                    "the clients of a round must hold their data in one way: all as lists, all as "
                    "tf.data.Datasets, or all as Batches of equal columns and one `preprocess`."
                )
            fed += clients.feeds(leaf, kind) if source else [leaf]
        return fed


@dataclasses.dataclass(frozen=True)
class ClientGraph:
    """The graph that workers run. Workers may share it, and it can travel to other machines.

    Attributes:
        graph: The graph.
        work: `work` in it.
        broadcast: Placeholders of what the server sends, which `set_broadcast` keeps.
        set_broadcast: See there.
        call_feeds: What one client's call takes.
        secure: The leaves of its secure slots.
        kept: The leaves that are the client's own.
        first: Starts an accumulator with a client's update.
        later: Adds a client's update.
        accumulator: The accumulator's leaves.
        restored: Placeholders of an accumulator from before, which `restore` goes back to.
        restore: See there.
        threads: How many an operation may take.
    """

    graph: tf.Graph
    work: sessions.Imported
    broadcast: list[tf.Tensor]
    set_broadcast: tf.Operation
    call_feeds: list[tf.Tensor]
    secure: list[tf.Tensor]
    kept: list[tf.Tensor]
    first: tf.Operation
    later: tf.Operation
    accumulator: list[tf.Tensor]
    restored: list[tf.Tensor]
    restore: tf.Operation
    threads: int

    @classmethod
    def build(cls, form, layout: Layout, *, device: str, threads: int) -> "ClientGraph":
        """Builds the graph.

        Args:
            form: The MapReduceForm.
            layout: How clients' values enter.
            device: Where TensorFlow should place client work, such as "/GPU:0"; "" is its choice.
            threads: How many an operation may take.

        Returns:
            The `ClientGraph`.
        """
        graph = tf.Graph()
        with graph.as_default(), tf.device(device):
            part = tensorflow_part.unpack(form.work, "work")
            placed = layout.build(part, device=device)
            broadcast, set_broadcast, received = _variables(
                "broadcast", tensorflow_part.leaf_types(part.parameter_type[1])
            )
            inputs = [*placed.values, *received, *placed.rows]
            work = sessions.import_part(placed.work, "work", inputs)
            num_plain = len(tensorflow_part.leaf_types(part.result_type[0]))
            update, secure = work.results[:num_plain], work.results[num_plain:]
            keys = [] if work.keys is None else [work.keys]
            return cls(
                graph=graph,
                work=work,
                broadcast=broadcast,
                set_broadcast=set_broadcast,
                call_feeds=[*placed.feeds, *keys, *work.noise],
                secure=secure,
                kept=[update[i] for i in kept_leaves(form)],
                threads=threads,
                **_accumulators(form, update),
            )

    def pack(self) -> tuple[bytes, dict[str, Any]]:
        """The graph as a GraphDef, and the names of what is in it: values that can be pickled."""
        fields = {name: value for name, value in vars(self).items() if name != "graph"}
        # Results are named by their uses; keys of a dictionary are not visited.
        fields["work"] = self.work._replace(results=[], noise=list(self.work.noise.items()))
        name = lambda leaf: leaf.name if isinstance(leaf, tf.Tensor | tf.Operation) else leaf
        return self.graph.as_graph_def().SerializeToString(), tf.nest.map_structure(name, fields)

    @classmethod
    def unpack(cls, packed: tuple[bytes, dict[str, Any]]) -> "ClientGraph":
        """The graph that was packed, here."""
        graph, graph_def = tf.Graph(), tf.compat.v1.GraphDef()
        graph_def.ParseFromString(packed[0])
        with graph.as_default():
            tf.import_graph_def(graph_def, name="")
        find = lambda leaf: graph.as_graph_element(leaf) if isinstance(leaf, str) else leaf
        fields = tf.nest.map_structure(find, packed[1])
        work = fields.pop("work")
        return cls(graph=graph, work=work._replace(noise=dict(work.noise)), **fields)


def _accumulators(form, update: Sequence[tf.Tensor]) -> dict[str, Any]:
    zero = _stateless(form.zero, "zero", [])
    # Of `zero` a dimension may be known, 0, that of later values is not.
    types = tensorflow_part.leaf_types(form.accumulate.type_signature.result)
    restored, restore, held = _variables("accumulator", types)
    first = _stateless(form.accumulate, "first", [*zero, *update])
    later = _stateless(form.accumulate, "later", [*held, *update])
    return {
        "first": _assign("accumulator", types, first),
        "later": _assign("accumulator", types, later),
        "accumulator": held,
        "restored": restored,
        "restore": restore,
    }


def kept_leaves(form) -> list[int]:
    """Positions of the leaves of a client's plain slot that `accumulate` ignores."""
    part = tensorflow_part.unpack(form.accumulate, "accumulate")
    num_plain = len(tensorflow_part.leaf_types(form.work.type_signature.result[0]))
    given = part.parameters[len(part.parameters) - num_plain :]
    used = tensorflow_part.ancestors(part.graph_def.node, part.results)
    return [i for i, name in enumerate(given) if tensorflow_part.source(name) not in used]


def _stateless(computation, scope: str, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Puts `zero` or `accumulate` into the current graph; ValueError if it has state."""
    imported = sessions.import_part(tensorflow_part.unpack(computation, scope), scope, inputs)
    if imported.num_random or imported.noise or imported.reset or imported.setup:
        raise ValueError("`zero` or `accumulate` of the process has variables or random ops.")
    return imported.results


def _handle(name: str, i: int, leaf: tff.TensorType) -> tf.Tensor:
    return tf.raw_ops.VarHandleOp(
        dtype=tf.as_dtype(leaf.dtype), shape=leaf.shape, shared_name=f"tff_experiments/{name}/{i}"
    )


def _variables(name: str, types) -> tuple[list[tf.Tensor], tf.Operation, list[tf.Tensor]]:
    """Session variables for a flat value: (placeholders, what sets them, their values)."""
    feeds = [tf.compat.v1.placeholder(leaf.dtype, leaf.shape) for leaf in types]
    reads = []
    for i, leaf in enumerate(types):
        value = tf.raw_ops.ReadVariableOp(
            resource=_handle(name, i, leaf), dtype=tf.as_dtype(leaf.dtype)
        )
        value.set_shape(leaf.shape)
        reads.append(value)
    return feeds, _assign(name, types, feeds), reads


def _assign(name: str, types, values: Sequence[tf.Tensor]) -> tf.Operation:
    # All or nothing: a client that fails must leave no part of its update behind.
    with tf.control_dependencies(values):
        handles = [_handle(name, i, leaf) for i, leaf in enumerate(types)]
        pairs = zip(handles, values, strict=True)
        return tf.group([tf.raw_ops.AssignVariableOp(resource=h, value=v) for h, v in pairs])


class Worker:
    """A session that trains clients one after the other."""

    def __init__(self, graph: ClientGraph):
        """Opens the session."""
        self._graph = graph
        self._session = sessions.session(graph.graph, threads=graph.threads)
        # What is drawn here is drawn anew for each client.
        self._session.run(graph.work.setup, graph.work.keys_feed(0, 0, ""))
        make = lambda *args: sessions.callable_of(self._session, *args)
        self._set_broadcast = make(graph.broadcast, [], [graph.set_broadcast])
        sent = [*graph.secure, *graph.kept]
        self._first = make(graph.call_feeds, sent, [graph.first])
        self._later = make(graph.call_feeds, sent, [graph.later])
        self._accumulator = make([], graph.accumulator) if graph.accumulator else list
        self._restore = make(graph.restored, [], [graph.restore])

    def receive(self, broadcast: Sequence[np.ndarray]) -> None:
        """Takes what the server sends to all clients of a round."""
        self._set_broadcast(*broadcast)

    def train(
        self,
        feeds: Sequence[Any],
        *,
        is_first: bool,
        seed: int,
        round_num: int,
        client: str,
        noise_seed: int | None = None,
    ) -> Sent:
        """Does one client's work and adds it to the accumulator.

        Args:
            feeds: From `Layout.feeds`.
            is_first: Whether the accumulator starts from zero.
            seed: The run's seed.
            round_num: The round.
            client: The client's name.
            noise_seed: Seed of private noise, which then is not private; None for real noise.

        Returns:
            The client's leaves that are not accumulated.
        """
        work = self._graph.work
        keys = work.keys_feed(seed, round_num, f"client/{client}")
        for operations in work.reset:
            self._session.run(operations, keys)
        noise = work.noise_feed(noise_seed, round_num, f"client/{client}")
        leaves = (self._first if is_first else self._later)(*feeds, *keys.values(), *noise)
        num_secure = len(self._graph.secure)
        return Sent(leaves[:num_secure], leaves[num_secure:])

    def accumulated(self) -> list[np.ndarray]:
        """The sum of the clients since the last that was first."""
        return self._accumulator()

    def restore(self, accumulated: Sequence[np.ndarray]) -> None:
        """Goes back to a sum from before."""
        self._restore(*accumulated)

    def close(self) -> None:
        """Ends the session."""
        self._session.close()
