"""Which variables of a graph must be initialized again before each client.

TFF gives each call of a computation fresh variables. A session keeps them, which is equivalent for
a variable that each call assigns before it reads it, such as a model's weights. The others, such as
the totals of metrics, are initialized again.
"""

import tensorflow as tf

from tff_experiments.runtime.tensorflow_part import ancestors, source

BEGIN = "tff_experiments/begin"
OURS = b"tff_experiments/"  # Variables of the runtime, which sets them itself.
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
MUTABLE_TABLES = ("MutableHashTableV2", "MutableDenseHashTableV2", "MutableHashTableOfTensorsV2")


def plan(graph_def: tf.compat.v1.GraphDef, initializer: str) -> tuple[list[str], bool]:
    """Finds what must run again before each call.

    Args:
        graph_def: The graph.
        initializer: Name of the op that initializes it, "" for none.

    Returns:
        The names of the ops that assign the variables that a call reads before it writes them; and
        whether this is known. If not, all variables and tables must be destroyed and initialized
        before each call.
    """
    in_functions = any(
        node.op == "VarHandleOp" and not node.attr["shared_name"].s.startswith(OURS)
        for f in graph_def.library.function
        for node in f.node_def
    )
    if in_functions or any(node.op in MUTABLE_TABLES for node in graph_def.node):
        return [], False
    if not initializer:
        return [], not any(node.op == "VarHandleOp" for node in graph_def.node)
    setup = ancestors(graph_def.node, [initializer])
    library = {f.signature.name: f for f in graph_def.library.function}
    nodes = {node.name: node for node in graph_def.node}
    assigns = {}
    for name in setup:
        node = nodes[name]
        if node.op == "AssignVariableOp" and nodes[source(node.input[0])].op == "VarHandleOp":
            assigns[source(node.input[0])] = name
        elif node.op in ("If", "While", *_CALLS) or node.op in library:
            return [], False
    work = [node for node in graph_def.node if node.name not in setup or node.op == "VarHandleOp"]
    handles = [node.name for node in work if node.op == "VarHandleOp"]
    if set(handles) - set(assigns):
        return [], False
    return [assigns[h] for h in handles if not written_first(work, library, h)], True


def gate(
    graph_def: tf.compat.v1.GraphDef, initializer: str, first: list[str], keys: list[str]
) -> None:
    """Makes all that has state run after the ops `first` and `keys`; in place.

    The initializer runs after `keys` alone, from which it may draw.
    """
    if not first and not keys:
        return
    setup = ancestors(graph_def.node, [initializer])
    ungated = ancestors(graph_def.node, [n for n in (*first, *keys) if n not in setup])
    handles = {node.name for node in graph_def.node if node.op == "VarHandleOp"}
    calls = {*_CALLS, *(f.signature.name for f in graph_def.library.function)}
    for node in graph_def.node:
        has_state = node.op in calls or any(source(name) in handles for name in node.input)
        has_state |= any(value.func.name or value.list.func for value in node.attr.values())
        if has_state and node.name not in ungated:
            needed = keys if node.name in setup else [BEGIN]
            node.input.extend(f"^{name}" for name in needed)
    graph_def.node.add(name=BEGIN, op="NoOp", input=[f"^{name}" for name in (*first, *keys)])


def written_first(nodes, library, handle: str) -> bool:
    """Whether each access to the variable `handle` comes after an assignment that always runs.

    Args:
        nodes: The nodes of a graph or of a function's body.
        library: {name: FunctionDef}.
        handle: The node or the argument that holds the variable.
    """
    writers, others = [], []
    for node in nodes:
        if handle not in map(source, node.input):
            continue
        kind = _access(node, library, handle)
        if kind == "write":
            writers.append(node.name)
        elif kind == "read":
            others.append(node.name)
    return all(not ancestors(nodes, [name]).isdisjoint(writers) for name in others)


def _access(node, library, handle: str) -> str:
    """What a node does: "write" is to assign before any read, "read" is anything else."""
    at = [i for i, name in enumerate(node.input) if source(name) == handle]
    if node.op == "AssignVariableOp" and at == [0]:
        return "write"
    name = node.attr["f"].func.name if node.op in _CALLS else node.op
    if name not in library:
        return "read"
    function = library[name]
    arguments = [function.signature.input_arg[i].name for i in at]
    used = [a for a in arguments if any(a in map(source, n.input) for n in function.node_def)]
    used += [a for a in arguments if a in map(source, function.ret.values())]
    if not used:
        return "none"
    if len(used) > 1 or used[0] in map(source, function.ret.values()):
        return "read"
    return "write" if _writes(function, library, used[0]) else "read"


def _writes(function, library, argument: str) -> bool:
    kinds = [
        _access(node, library, argument)
        for node in function.node_def
        if argument in map(source, node.input)
    ]
    return "write" in kinds and written_first(function.node_def, library, argument)
