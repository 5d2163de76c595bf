"""What clients get, and how their data enters a session.

A sequence reaches a session in one of two ways. As arrays (`Batches`, or a list of elements): the
columns are fed as they are, shuffled and cut into batches in the graph, and no `tf.data` function
is instantiated, which costs milliseconds a client. As a `tf.data.Dataset`: its graph is sent, as
TFF does it.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments.datasets import batching
from tff_experiments.runtime import tensorflow_part
from tff_experiments.secure_sum import stages

# Groups of a round: enough to keep many workers busy, few enough that merging them costs little.
MIN_GROUPS, CLIENTS_PER_GROUP = 16, 64


class ClientInputs(NamedTuple):
    """One client's part in one round.

    Attributes:
        data: What the process' client type wants: for a sequence `Batches`, a `tf.data.Dataset`
            or a list of elements.
        extras: What it gets beside its data; the process' client type is then <data, extras>.
        client: Its name; by default its position in the round.
        drops: The stage (of `secure_sum.stages`) at which it drops out, "" if it stays.
    """

    data: Any
    extras: Any = ()
    client: str = ""
    drops: str = ""

    @classmethod
    def of(cls, value: Any, position: int) -> "ClientInputs":
        """Makes one from what a caller of a process gives for a client."""
        if isinstance(value, ClientInputs):
            return value if value.client else value._replace(client=str(position))
        return cls(value, client=str(position))

    def with_state(self, state: Any) -> "ClientInputs":
        """The same with its state among what it gets beside its data."""
        return self._replace(extras={**dict(self.extras or {}), "state": state})

    @property
    def uploads(self) -> bool:
        """Whether it is there until it has uploaded; ValueError where there is no such stage."""
        return stages.first_missing(self.drops) > stages.UPLOAD

    def leaves(self, client_type: tff.Type) -> list[Any]:
        """The flat value of the process' client type.

        Raises:
            TypeError: The client's value does not have the type.
        """
        if takes_extras(client_type):
            value = {"data": self.data, "extras": self.extras}
            return tensorflow_part.flatten(value, client_type)
        if not is_empty(self.extras):
            raise TypeError(f"the process takes no extras; its clients' type is {client_type}.")
        return tensorflow_part.flatten(self.data, client_type)

    def num_examples(self) -> int:
        """How much work it is: examples, else batches, else 1; only relative values matter."""
        if isinstance(self.data, batching.Batches):
            return len(self.data.order)
        if isinstance(self.data, tf.data.Dataset):
            return max(int(self.data.cardinality()), 1)
        return len(self.data) if isinstance(self.data, list) else 1


def is_empty(extras: Any) -> bool:
    """Whether a client gets nothing beside its data."""
    return isinstance(extras, tuple) and not extras


def takes_extras(client_type: tff.Type) -> bool:
    """Whether a process' clients get something beside their data."""
    if not isinstance(client_type, tff.StructType):
        return False
    return [name for name, _ in tensorflow_part.elements(client_type)] == ["data", "extras"]


def takes_state(client_type: tff.Type) -> bool:
    """Whether a process' clients have a state of their own: `state` in the extras."""
    if not takes_extras(client_type):
        return False
    extras = dict(tensorflow_part.elements(client_type))["extras"]
    if not isinstance(extras, tff.StructType):
        return False
    return "state" in [name for name, _ in tensorflow_part.elements(extras)]


def deal(counts: Sequence[int]) -> list[list[int]]:
    """Deals clients into groups of about equal work, whatever the number of workers.

    The largest client goes first, each to the group with the least work so far.

    Args:
        counts: Work of each client, [clients].

    Returns:
        Lists of positions in `counts`, the largest first.
    """
    num_groups = min(len(counts), MIN_GROUPS + len(counts) // CLIENTS_PER_GROUP)
    groups = [[] for _ in range(num_groups)]
    work = np.zeros(len(groups), np.int64)
    for client in np.argsort(-np.asarray(counts, np.int64), kind="stable"):
        lightest = int(np.argmin(work))
        groups[lightest].append(int(client))
        # An empty client is a call all the same.
        work[lightest] += counts[client] + 1
    return [sorted(groups[g]) for g in np.argsort(-work, kind="stable")]


class Source(NamedTuple):
    """How a sequence enters a session."""

    key: Hashable  # Sources with equal keys build equal graphs.
    specs: list[tf.TensorSpec]  # What is fed.
    dataset: Callable[[list[tf.Tensor]], tf.data.Dataset]
    # What is fed -> (all rows, sizes of the batches), where it comes so.
    rows: Callable[[list[tf.Tensor]], tuple[Any, tf.Tensor]] | None = None


def key(value: Any) -> Hashable:
    """The `Source.key` of a client's sequence."""
    if isinstance(value, batching.Batches):
        columns = value.examples.items()
        return value.preprocess, tuple((name, c.dtype, c.shape[1:]) for name, c in columns)
    return tf.data.Dataset if isinstance(value, tf.data.Dataset) else type(value)


def source(value: Any, sequence: tff.SequenceType) -> Source:
    """Says how a client's sequence enters a session; raises TypeError for what can't."""
    if isinstance(value, batching.Batches):
        specs = [
            tf.TensorSpec([None, *c.shape[1:]], c.dtype, name) for name, c in value.examples.items()
        ]
        return Source(
            key(value),
            [*specs, tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.int64)],
            lambda fed: _checked(_cut(*_rows_of_batches(value, fed)), sequence),
            lambda fed: _rows_of_batches(value, fed),
        )
    if isinstance(value, tf.data.Dataset):
        return Source(
            key(value), [tf.TensorSpec([], tf.string)], lambda fed: _of_graph(*fed, sequence)
        )
    if isinstance(value, list):
        return _list_source(sequence)
    raise TypeError(
        f"a client's data of type {sequence} must be Batches, a tf.data.Dataset or a list, got "
        f"{type(value).__name__}."
    )


def feeds(value: Any, sequence: tff.SequenceType) -> list[Any]:
    """A client's sequence as what its source wants fed."""
    if isinstance(value, batching.Batches):
        return [*value.examples.values(), value.order, _sizes(np.diff(value.bounds))]
    if isinstance(value, tf.data.Dataset):
        _check(value, sequence)
        graph = tf.raw_ops.DatasetToGraphV2(input_dataset=tf.data.experimental.to_variant(value))
        return [graph.numpy()]
    elements = [tensorflow_part.flatten(element, sequence.element) for element in value]
    specs, batched = _element_specs(sequence)
    if not elements:
        empty = [np.zeros([n or 0 for n in s.shape], s.dtype.as_numpy_dtype) for s in specs]
        return [*empty, _sizes([])] if batched else empty
    columns = zip(*elements, strict=True)
    if batched:
        lengths = [{len(leaf) for leaf in element} for element in elements]
        if any(len(found) > 1 or 0 in found for found in lengths):
            raise TypeError(
                "each batch of a list must have one row or more, as many in each of its tensors; "
                "give a tf.data.Dataset."
            )
        sizes = _sizes([found.pop() for found in lengths])
        return [*(np.concatenate(column) for column in columns), sizes]
    return [np.stack(column) for column in columns]


def _sizes(sizes: Sequence[int]) -> np.ndarray:
    # `rebatch` divides by the number of sizes.
    return np.array(sizes if len(sizes) else [1], np.int64)


def _element_specs(sequence: tff.SequenceType) -> tuple[list[tf.TensorSpec], bool]:
    """Specs of a list's columns, and whether its elements are batches."""
    leaves = tensorflow_part.leaf_types(sequence.element)
    shapes = [tf.TensorShape(leaf.shape) for leaf in leaves]
    batched = all(shape.rank and shape[0] is None for shape in shapes)
    rests = [shape[1:] if batched else shape for shape in shapes]
    if not all(rest.is_fully_defined() for rest in rests):
        raise TypeError(
            f"a list can't hold elements of type {sequence.element}, whose shapes vary; give a "
            f"tf.data.Dataset."
        )
    pairs = zip(rests, leaves, strict=True)
    return [tf.TensorSpec([None, *rest], leaf.dtype) for rest, leaf in pairs], batched


def _rows_of_batches(batches: batching.Batches, fed) -> tuple[Any, tf.Tensor]:
    *columns, order, sizes = fed
    names = zip(batches.examples, columns, strict=True)
    return batches.preprocess({name: tf.gather(column, order) for name, column in names}), sizes


def _list_source(sequence: tff.SequenceType) -> Source:
    specs, batched = _element_specs(sequence)
    pack = lambda columns: tensorflow_part.pack(columns, sequence.element)
    if not batched:
        slices = tf.data.Dataset.from_tensor_slices
        return Source(list, specs, lambda fed: _checked(slices(pack(fed)), sequence))
    return Source(
        list,
        [*specs, tf.TensorSpec([None], tf.int64)],
        lambda fed: _checked(_cut(pack(fed[:-1]), fed[-1]), sequence),
        lambda fed: (pack(fed[:-1]), fed[-1]),
    )


def _cut(rows: Any, sizes: tf.Tensor) -> tf.data.Dataset:
    """Batches of the given sizes. `Dataset.rebatch` would put a function before, a millisecond."""
    whole = tf.data.Dataset.from_tensors(rows)
    open_ended = lambda spec: tf.TensorSpec([None, *spec.shape[1:]], spec.dtype)
    batch = tf.nest.map_structure(open_ended, whole.element_spec)
    variant = tf.raw_ops.RebatchDatasetV2(
        input_dataset=tf.data.experimental.to_variant(whole),
        batch_sizes=sizes,
        drop_remainder=False,
        output_types=[spec.dtype for spec in tf.nest.flatten(batch)],
        output_shapes=[spec.shape for spec in tf.nest.flatten(batch)],
    )
    return tf.data.experimental.from_variant(variant, batch)


def _of_graph(serialized, sequence) -> tf.data.Dataset:
    variant = tf.raw_ops.DatasetFromGraph(graph_def=serialized)
    spec = tff.types.type_to_tf_tensor_specs(sequence.element)
    return _without_tuning(tf.data.experimental.from_variant(variant, spec))


def _check(dataset: tf.data.Dataset, sequence: tff.SequenceType) -> None:
    found = tff.types.tensorflow_to_type(dataset.element_spec)
    if not sequence.element.is_assignable_from(found):
        raise TypeError(f"the process' clients hold batches of {sequence.element}, got {found}.")


def _checked(dataset: tf.data.Dataset, sequence: tff.SequenceType) -> tf.data.Dataset:
    _check(dataset, sequence)
    return _without_tuning(dataset)


def _without_tuning(dataset: tf.data.Dataset) -> tf.data.Dataset:
    # Rewriting and tuning a pipeline costs 3 ms a client, more than a small client's training.
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)
