"""A TensorFlow computation of TFF taken out of TFF: its graph, and its values as flat lists.

TFF binds nested values to tensors by name. Here a value of a TFF type is the list of its tensors
(and sequences) in the type's order, so that nothing but this file knows about nesting.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff


class Part(NamedTuple):
    """One computation, as a graph that can be imported anywhere."""

    graph_def: tf.compat.v1.GraphDef  # Holds only what the results and the initializer need.
    parameters: list[str]  # Names of the tensors of the flat parameter.
    results: list[str]
    initializer: str  # Name of the op to run first, "" for none.
    parameter_type: tff.Type | None
    result_type: tff.Type
    first: Sequence[str] = ()  # Names of ops to run before all others that have state.


def unpack(computation: tff.framework.ConcreteComputation, name: str) -> Part:
    """Takes the graph out of a computation.

    Args:
        computation: Made by `tff.tensorflow.computation`, or a part of a MapReduceForm.
        name: Prefix of its library's functions, so that parts can share a graph.

    Returns:
        The `Part`.
    """
    proto = tff.framework.ConcreteComputation.get_proto(computation).tensorflow
    graph_def = tf.compat.v1.GraphDef()
    proto.graph_def.Unpack(graph_def)
    results = _bound(proto.result)
    signature = computation.type_signature
    parameters = _bound(proto.parameter) if signature.parameter is not None else []
    # A parameter that no result needs is still fed.
    kept = ancestors(graph_def.node, [*results, *parameters, proto.initialize_op])
    nodes = [node for node in graph_def.node if node.name in kept]
    del graph_def.node[:]
    graph_def.node.extend(nodes)
    _rename_functions(graph_def, f"{name}__")
    return Part(
        graph_def,
        parameters,
        results,
        proto.initialize_op,
        signature.parameter,
        signature.result,
    )


def source(name: str) -> str:
    """The node that an input's name, or a tensor's, refers to."""
    return name.removeprefix("^").split(":")[0]


def all_nodes(graph_def: tf.compat.v1.GraphDef) -> Iterator[Any]:
    """The nodes of a graph and of its functions."""
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def ancestors(nodes, names: Iterable[str]) -> set[str]:
    """Some nodes, and all that they depend on."""
    by_name = {node.name: node for node in nodes}
    found: set[str] = set()
    left = [source(name) for name in names]
    while left:
        name = left.pop()
        if name in by_name and name not in found:
            found.add(name)
            left += map(source, by_name[name].input)
    return found


def _bound(binding) -> list[str]:
    kind = binding.WhichOneof("binding")
    if kind == "struct":
        return [tensor for element in binding.struct.element for tensor in _bound(element)]
    if kind == "tensor":
        return [binding.tensor.tensor_name]
    if kind == "sequence":
        return [binding.sequence.variant_tensor_name]
    return []


def _rename_functions(graph_def: tf.compat.v1.GraphDef, prefix: str) -> None:
    # Two parts may hold different functions of one name.
    names = {function.signature.name for function in graph_def.library.function}
    for node in all_nodes(graph_def):
        # A hint where to place it, next to a node that may be gone.
        node.attr.pop("_class", None)
        if node.op in names:
            node.op = prefix + node.op
        for value in node.attr.values():
            for function in (value.func, *value.list.func):
                if function.name in names:
                    function.name = prefix + function.name
    for function in graph_def.library.function:
        function.signature.name = prefix + function.signature.name
    for gradient in graph_def.library.gradient:
        gradient.function_name = prefix + gradient.function_name
        gradient.gradient_func = prefix + gradient.gradient_func


def elements(type_spec: tff.StructType) -> list[tuple[str | None, tff.Type]]:
    """Names and types of a struct's fields."""
    return tff.structure.to_elements(type_spec)


def leaf_types(type_spec: tff.Type) -> list[tff.Type]:
    """The tensor and sequence types of a type, in order."""
    if isinstance(type_spec, tff.FederatedType):
        return leaf_types(type_spec.member)
    if isinstance(type_spec, tff.StructType):
        return [leaf for _, element in elements(type_spec) for leaf in leaf_types(element)]
    return [type_spec]


def described(type_spec: tff.Type, name: str = "") -> list[str]:
    """The leaves' names and types, in order, for people."""
    if isinstance(type_spec, tff.StructType):
        named = [(f"{name}/{field or i}", t) for i, (field, t) in enumerate(elements(type_spec))]
        return [text for field, t in named for text in described(t, field)]
    return [f"{name.strip('/')}={type_spec.compact_representation()}"]


def num_bytes(type_spec: tff.Type) -> int | None:
    """Bytes of a value of a type; None where a dimension or a string's length is unknown."""
    total = 0
    for leaf in leaf_types(type_spec):
        if not isinstance(leaf, tff.TensorType) or leaf.shape is None or None in leaf.shape:
            return None
        if leaf.dtype.kind not in "biufc":
            return None
        total += leaf.dtype.itemsize * int(np.prod(leaf.shape, dtype=np.int64))
    return total


def flatten(value: Any, type_spec: tff.Type) -> list[Any]:
    """A value as the list of its leaves: numpy arrays for tensors, what came for sequences.

    Raises:
        TypeError: The value does not have the type.
    """
    if isinstance(type_spec, tff.FederatedType):
        return flatten(value, type_spec.member)
    if isinstance(type_spec, tff.StructType):
        fields = _fields(value, type_spec)
        pairs = zip(fields, elements(type_spec), strict=True)
        return [leaf for field, (_, element) in pairs for leaf in flatten(field, element)]
    if isinstance(type_spec, tff.TensorType):
        return [_array(value, type_spec)]
    return [value]


def _fields(value: Any, type_spec: tff.StructType) -> Sequence[Any]:
    try:
        found = tff.structure.to_elements(tff.structure.from_container(value))
    except (TypeError, ValueError):
        found = None
    if found is None or len(found) != len(type_spec):
        raise TypeError(f"expected a value of type {type_spec}, got {type(value).__name__}.")
    by_name = dict(found)
    names = [name for name, _ in elements(type_spec)]
    if None not in by_name and None not in names:
        if set(by_name) != set(names):
            raise TypeError(f"expected a value of type {type_spec}, got fields {list(by_name)}.")
        return [by_name[name] for name in names]
    return [field for _, field in found]


def _array(value: Any, type_spec: tff.TensorType) -> np.ndarray:
    array = np.asarray(value)
    if type_spec.dtype.kind not in "SOU":
        if not np.can_cast(array.dtype, type_spec.dtype, "same_kind"):
            raise TypeError(f"expected a tensor of type {type_spec}, got {array.dtype}.")
        given, array = array, array.astype(type_spec.dtype, copy=False)
        is_narrowed = array.dtype.kind in "iu" and not np.can_cast(given.dtype, array.dtype)
        if is_narrowed and np.any(array != given):
            raise TypeError(f"expected a tensor of type {type_spec}, got {given}: out of range.")
    if not tf.TensorShape(type_spec.shape).is_compatible_with(array.shape):
        raise TypeError(f"expected a tensor of type {type_spec}, got shape {array.shape}.")
    return array


def pack(leaves: Sequence[Any], type_spec: tff.Type) -> Any:
    """The value of a type with the given leaves, in the type's Python containers."""
    return tff.types.type_to_py_container(_nested(iter(leaves), type_spec), type_spec)


def _nested(leaves: Iterator[Any], type_spec: tff.Type) -> Any:
    # Not a closure: one that calls itself is a cycle, and would hold megabytes until it is found.
    if isinstance(type_spec, tff.FederatedType):
        return _nested(leaves, type_spec.member)
    if isinstance(type_spec, tff.StructType):
        fields = [(name, _nested(leaves, element)) for name, element in elements(type_spec)]
        return tff.structure.Struct(fields)
    return next(leaves)
