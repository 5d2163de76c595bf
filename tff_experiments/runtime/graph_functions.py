"""Functions put into a graph that is already built."""

from collections.abc import Callable, Sequence

import tensorflow as tf


def add(graph_def, name: str, function: Callable, specs: Sequence[tf.TensorSpec]) -> None:
    """Traces a Python function into the graph's library."""
    with tf.Graph().as_default():
        concrete = tf.function(function, autograph=False).get_concrete_function(*specs)
    known = {f.signature.name for f in graph_def.library.function}
    traced = concrete.graph.as_graph_def().library.function
    definition = graph_def.library.function.add()
    definition.CopyFrom(concrete.function_def)
    definition.signature.name = name
    graph_def.library.function.extend(f for f in traced if f.signature.name not in known)


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
    function: Callable,
    placeholders: Sequence[str],
    types: Sequence[tf.DType],
    shapes: Sequence[tf.TensorShape],
) -> None:
    """Adds a node that calls a function of new placeholders, for its effect."""
    name = node.replace("/", "__")
    specs = [tf.TensorSpec(s, dtype) for s, dtype in zip(shapes, types, strict=True)]
    add(graph_def, name, function, specs)
    for placeholder, spec in zip(placeholders, specs, strict=True):
        added = graph_def.node.add(name=placeholder, op="Placeholder")
        added.attr["dtype"].type = spec.dtype.as_datatype_enum
        added.attr["shape"].shape.CopyFrom(spec.shape.as_proto())
    call(graph_def.node.add(name=node, input=placeholders), name, types, [])
