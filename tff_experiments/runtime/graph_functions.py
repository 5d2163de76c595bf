"""Functions put into a graph that is already built."""

from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf


def add(graph_def, name: str, function: Callable, specs: Sequence[tf.TensorSpec]) -> str:
    """Traces a Python function into the graph's library, where there is none of the name yet.

    Returns:
        The name as functions may have it, without slashes.
    """
    name = name.replace("/", "__")
    known = {f.signature.name for f in graph_def.library.function}
    if name in known:
        return name
    with tf.Graph().as_default():
        concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    traced = concrete.graph.as_graph_def().library.function
    definition = graph_def.library.function.add()
    definition.CopyFrom(concrete.function_def)
    definition.signature.name = name
    graph_def.library.function.extend(f for f in traced if f.signature.name not in known)
    return name


def call(node, function: str, inputs: Sequence[tf.DType], outputs: Sequence[tf.DType]) -> None:
    """Turns a node into the call of a function; its name and inputs stay."""
    node.op = "StatefulPartitionedCall"
    node.ClearField("attr")
    node.attr["Tin"].list.type.extend(dtype.as_datatype_enum for dtype in inputs)
    node.attr["Tout"].list.type.extend(dtype.as_datatype_enum for dtype in outputs)
    node.attr["f"].func.name = function


def rename_output(graph_def, node: str, old: str, new: str) -> None:
    """Renames an output of a node; only functions' bodies name outputs."""
    for function in graph_def.library.function:
        for user in function.node_def:
            for i, name in enumerate(user.input):
                if name == f"{node}:{old}:0":
                    user.input[i] = f"{node}:{new}:0"
        for key, value in function.ret.items():
            if value == f"{node}:{old}:0":
                function.ret[key] = f"{node}:{new}:0"


def add_first(
    graph_def,
    node: str,
    name: str,
    function: Callable,
    placeholders: Mapping[str, tf.TensorSpec],
) -> None:
    """Adds a node that calls a function, named `name`, of new placeholders, for its effect."""
    name = add(graph_def, name, function, list(placeholders.values()))
    for placeholder, spec in placeholders.items():
        added = graph_def.node.add(name=placeholder, op="Placeholder")
        added.attr["dtype"].type = spec.dtype.as_datatype_enum
        added.attr["shape"].shape.CopyFrom(spec.shape.as_proto())
    types = [spec.dtype for spec in placeholders.values()]
    call(graph_def.node.add(name=node, input=list(placeholders)), name, types, [])
