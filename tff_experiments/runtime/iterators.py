"""Batches without `tf.data` where a computation does no more than iterate over its data set.

An iterator costs a client half a millisecond: it is made anew, and each of its elements comes from
another thread. Where a data set goes straight into one iterator, the client's rows are put into
variables of the session, and what fetched the iterator's next element slices them. Any other use
of a data set (a `reduce`, a `map`, two passes) stays as it is.
"""

from collections.abc import Sequence

import tensorflow as tf

from tff_experiments.runtime import graph_functions, tensorflow_part

_NAME = "tff_experiments/batches"
_FETCHES = "IteratorGetNextAsOptional"


def rewrite(part: tensorflow_part.Part, parameter: str, spec: Sequence[tf.TensorSpec]):
    """Replaces the iterator over one parameter, in place.

    Args:
        part: The computation.
        parameter: The tensor of the data set.
        spec: Of a batch's tensors, in tf.nest's order.

    Returns:
        The part with `parameter` left to be given anything, and more parameters at its end: the
        rows of each tensor of a batch and the batches' sizes, int64 [batches]. None where the data
        set is used in another way; the part is then as it was.
    """
    graph_def = part.graph_def
    nodes = list(tensorflow_part.all_nodes(graph_def))
    makers = [node for node in nodes if node.op == "MakeIterator"]
    others = {node.op for node in nodes} & {"IteratorGetNext", "OneShotIterator", "IteratorV2"}
    makes_it = _only_user(graph_def, tensorflow_part.source(parameter))
    if others or len(makers) != 1 or makes_it is not makers[0]:
        return None
    for node in nodes:
        if node.op == _FETCHES:
            _replace_fetch(graph_def, node, spec)
    maker = makers[0]
    iterator = tensorflow_part.source(maker.input[1])
    controls = [name for name in maker.input if name.startswith("^")]
    maker.op = "NoOp"
    maker.ClearField("attr")
    del maker.input[:]
    maker.input.extend([f"^{iterator}", *controls])
    return _add_setter(part, spec)


def _only_user(graph_def, name: str):
    """The only node that uses a tensor, looked for inside of the functions that it is passed to."""
    library = {f.signature.name: f for f in graph_def.library.function}
    body = graph_def.node
    while True:
        users = [n for n in body if name in map(tensorflow_part.source, n.input)]
        if len(users) != 1:
            return None
        (user,) = users
        called = user.attr["f"].func.name if "f" in user.attr else user.op
        at = [tensorflow_part.source(i) for i in user.input].index(name)
        if called in library and user.op in ("PartitionedCall", "StatefulPartitionedCall", called):
            body, name = library[called].node_def, library[called].signature.input_arg[at].name
        elif user.op == "Identity":
            name = user.name
        else:
            return user if user.op == "MakeIterator" and at == 0 else None


def _variable(i: int | str, dtype: tf.DType, shape) -> tf.Tensor:
    return tf.raw_ops.VarHandleOp(dtype=dtype, shape=shape, shared_name=f"{_NAME}/{i}")


def _read(i: int | str, dtype: tf.DType, shape) -> tf.Tensor:
    return tf.raw_ops.ReadVariableOp(resource=_variable(i, dtype, shape), dtype=dtype)


def _replace_fetch(graph_def, node, spec) -> None:
    def next_batch(iterator):
        del iterator
        position = _read("position", tf.int64, [])
        offsets = _read("offsets", tf.int64, [None])
        after = tf.raw_ops.AssignVariableOp(
            resource=_variable("position", tf.int64, []), value=position + 1
        )
        # The loop goes on when it has the batch: by then the position must be the next one.
        with tf.control_dependencies([after]):
            start, end = offsets[position], offsets[position + 1]
        return tf.cond(
            start < end,
            lambda: tf.raw_ops.OptionalFromValue(
                components=[_read(i, s.dtype, s.shape)[start:end] for i, s in enumerate(spec)]
            ),
            tf.raw_ops.OptionalNone,
        )

    iterator = tf.TensorSpec([], tf.resource)
    name = graph_functions.add(graph_def, f"{_NAME}/next", next_batch, [iterator])
    graph_functions.rename_output(graph_def, node.name, "optional", "output")
    graph_functions.call(node, name, [tf.resource], [tf.variant])


def _add_setter(part: tensorflow_part.Part, spec) -> tensorflow_part.Part:
    def set_batches(*inputs):
        *rows, sizes = inputs
        # The last end stands twice: the batch after the last is empty, which ends the loop.
        ends = tf.minimum(tf.cumsum(sizes), tf.shape(rows[0], out_type=tf.int64)[0])
        offsets = tf.concat([[0], ends, ends[-1:]], 0)
        for i, (value, s) in enumerate(zip(rows, spec, strict=True)):
            tf.raw_ops.AssignVariableOp(resource=_variable(i, s.dtype, s.shape), value=value)
        offsets_handle = _variable("offsets", tf.int64, [None])
        tf.raw_ops.AssignVariableOp(resource=offsets_handle, value=offsets)
        position = _variable("position", tf.int64, [])
        tf.raw_ops.AssignVariableOp(resource=position, value=tf.constant(0, tf.int64))

    specs = [*spec, tf.TensorSpec([None], tf.int64)]
    fed = {f"{_NAME}/{i}": s for i, s in enumerate(specs)}
    graph_functions.add_first(part.graph_def, f"{_NAME}/set", f"{_NAME}/set", set_batches, fed)
    return part._replace(
        parameters=[*part.parameters, *(f"{name}:0" for name in fed)],
        first=[*part.first, f"{_NAME}/set"],
    )
