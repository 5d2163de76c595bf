"""Random ops of a graph as functions of (seed, round, client).

Seed attributes do not give that: a kernel carries its generator from call to call, so that a number
depends on which thread ran which client before. Here each random op becomes a call of a small
function that draws from a variable of its own with the `Stateless...V2` op of the same distribution
(Salmon et al. 2011, Philox). The variables are set to keys from a hash of (seed, round, client, op)
before a client's work. What the ops' old seeds were does not matter. Timestamps, which TFF makes
seeds of, and the seeds of `Dataset.shuffle` are drawn the same way.

Left as they are: random ops inside of a client's own `tf.data` pipeline. Not covered: random ops
inside of `interleave(num_parallel_calls=...)`, and of functions compiled by XLA, which can't run.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tff_experiments.runtime import graph_functions, random_ops, tensorflow_part

_PHILOX = 1
KEYS = "tff_experiments/keys"  # The placeholder, int64 [random ops, 3].
SET_KEYS = "tff_experiments/set_keys"  # The node that takes them.
# Ops with two seed inputs, of which (0, 0) means a random one, and where these are.
_SEEDED = {
    "AnonymousSeedGenerator": 0,
    "AnonymousRandomSeedGenerator": 0,
    "ShuffleDataset": 2,
    "ShuffleDatasetV3": 2,  # What `Dataset.shuffle` is inside of a tf.function.
    "ShuffleAndRepeatDataset": 2,
    "ShuffleAndRepeatDatasetV2": 2,
    "SamplingDataset": 2,
    "RandomDataset": 0,
    "RandomDatasetV2": 0,
}
UNCONTROLLED = frozenset(
    ["RandomPoisson", "RandomCrop", "SampleDistortedBoundingBox", "SampleDistortedBoundingBoxV2"]
    + ["UniformCandidateSampler", "LearnedUnigramCandidateSampler", "AllCandidateSampler"]
    + ["FixedUnigramCandidateSampler", "ThreadUnsafeUnigramCandidateSampler"]
    + ["LogUniformCandidateSampler", "FractionalAvgPool", "FractionalMaxPool"]
    + ["RandomShuffleQueue", "RandomShuffleQueueV2"]
    # It writes its next state into the constant that its variable was initialized from.
    + ["StatefulRandomBinomial"]
)


def rewrite(graph_def: tf.compat.v1.GraphDef, scope: str) -> int:
    """Replaces the random ops of a graph and of its functions, in place.

    Where there are any, the nodes `KEYS` and `SET_KEYS` are put in: what draws must run after
    `SET_KEYS`.

    Args:
        graph_def: The graph.
        scope: Prefix of the variables and functions that hold the keys.

    Returns:
        The number of ops, the rows of `KEYS`.
    """
    drawing = _drawing(graph_def)
    _separate_calls(graph_def, drawing)
    _map_in_order(graph_def, drawing)
    count = 0
    for function, body in _bodies(graph_def):
        constants = {node.name: node for node in body if node.op == "Const"}
        for node in list(body):
            if node.op in random_ops.BY_NAME:
                _replace(graph_def, node, f"{scope}/{count}")
                call = node
            elif node.op in _SEEDED and _random_seeds(node, constants):
                call = _draw_seeds(graph_def, function, body, node, f"{scope}/{count}")
            else:
                continue
            count += 1
            if function:
                _let_inline(function, call)
    if count:
        _add_set_keys(graph_def, scope, count)
    return count


def _bodies(graph_def) -> list[tuple[Any, Any]]:
    """The graph's nodes with None, and the functions that it calls with theirs."""
    # Functions' names hold counters that differ from process to process, and the library has no
    # order of its own: the order in which they are met, from the graph on, has to number the ops.
    library = {f.signature.name: f for f in graph_def.library.function}
    found: dict[str, Any] = {}

    def visit(nodes):
        for node in nodes:
            for name in _called(node):
                if name in library and name not in found:
                    found[name] = library[name]
                    visit(found[name].node_def)

    visit(graph_def.node)
    return [(None, graph_def.node), *((f, f.node_def) for f in found.values())]


def _called(node) -> list[str]:
    """What may be names of functions that a node calls."""
    attributes = [value for _, value in sorted(node.attr.items())]
    return [node.op, *(f.name for value in attributes for f in (value.func, *value.list.func))]


def _drawing(graph_def) -> set[str]:
    """The functions that draw, or call one that does."""
    calls = {
        f.signature.name: {name for node in f.node_def for name in _called(node)}
        for f in graph_def.library.function
    }
    found = {
        name
        for name, called in calls.items()
        if not called.isdisjoint([*random_ops.BY_NAME, *_SEEDED])
    }
    while callers := {name for name in calls if calls[name] & found} - found:
        found |= callers
    return found


def _separate_calls(graph_def, drawing: set[str]) -> None:
    """Copies functions that draw, so that each call has one of its own, and ops of its own.

    Calls run in any order, which differs from session to session: they can't share a key.
    """
    library = {f.signature.name: f for f in graph_def.library.function}
    used = set()

    def own(name):
        if name in used:
            copy = graph_def.library.function.add()
            copy.CopyFrom(library[name])
            name = copy.signature.name = f"{name}__{len(used)}"
            library[name] = copy
            drawing.add(name)
        used.add(name)
        visit(library[name].node_def)
        return name

    def visit(nodes):
        for node in nodes:
            if node.op in drawing:
                node.op = own(node.op)
            for _, value in sorted(node.attr.items()):
                for function in (value.func, *value.list.func):
                    if function.name in drawing:
                        function.name = own(function.name)

    visit(graph_def.node)


def _map_in_order(graph_def, drawing: set[str]) -> None:
    """Makes parallel maps by functions that draw call these one by one: threads would race."""
    for function, body in _bodies(graph_def):
        for node in list(body):
            if node.op != "ParallelMapDatasetV2" or drawing.isdisjoint(_called(node)):
                continue
            one = body.add(name=f"{node.name}/num_parallel_calls", op="Const")
            one.attr["dtype"].type = tf.int64.as_datatype_enum
            one.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1, tf.int64))
            last = max(i for i, name in enumerate(node.input) if not name.startswith("^"))
            node.input[last] = f"{one.name}:output:0" if function else one.name


def uncontrolled(graph_def: tf.compat.v1.GraphDef) -> set[str]:
    """Random ops of a graph that `rewrite` has no counterpart for."""
    return {node.op for node in tensorflow_part.all_nodes(graph_def)} & UNCONTROLLED


def _variable(shared_name: str) -> tf.Tensor:
    return tf.raw_ops.VarHandleOp(dtype=tf.int64, shape=[3], shared_name=shared_name)


def _drawer(shared_name: str) -> Callable:
    def draw(shape, op, **arguments):
        size = tf.cast(tf.reduce_prod(tf.cast(shape, tf.int64)), tf.uint64)
        state = tf.raw_ops.RngReadAndSkip(
            resource=_variable(shared_name), alg=tf.constant(_PHILOX), delta=size
        )
        state = tf.bitcast(state, tf.uint64)
        shape = tf.cast(shape, tf.int64) if not isinstance(shape, list) else shape
        return op(shape=shape, key=state[2:3], counter=state[:2], alg=_PHILOX, **arguments)

    return draw


def _replace(graph_def, node, variable: str) -> None:
    op, attributes = node.op, {name: value for name, value in node.attr.items()}
    types = [
        tf.as_dtype(attributes[kind].type if isinstance(kind, str) else kind)
        for kind in random_ops.INPUT_TYPES[op]
    ]
    draw = _drawer(variable)
    output = []

    def function(*inputs):
        output.append(random_ops.BY_NAME[op](draw, attributes, *inputs))
        return output[-1]

    specs = [tf.TensorSpec(None, dtype) for dtype in types]
    name = graph_functions.add(graph_def, variable, function, specs)
    if op == "Timestamp":
        graph_functions.rename_output(graph_def, node.name, "ts", "output")
    graph_functions.call(node, name, types, [output[-1].dtype])


def _random_seeds(node, constants) -> bool:
    at = _SEEDED[node.op]
    names = [name.split(":")[0] for name in node.input[at : at + 2]]
    if any(name not in constants for name in names):
        return False
    return not any(np.any(tf.make_ndarray(constants[n].attr["value"].tensor)) for n in names)


def _draw_seeds(graph_def, function, body, node, variable: str):
    """Draws a node's seeds; returns the node that does it."""

    def draw():
        seeds = _drawer(variable)([2], tf.raw_ops.StatelessRandomUniformFullIntV2, dtype=tf.uint64)
        seeds = tf.bitcast(seeds, tf.int64)
        return seeds[0], seeds[1] | 1  # Never the (0, 0) that asks for a random seed.

    name = graph_functions.add(graph_def, variable, draw, [])
    call = body.add(name=f"{node.name}/seeds")
    graph_functions.call(call, name, [], [tf.int64, tf.int64])
    at = _SEEDED[node.op]
    for i in range(2):
        node.input[at + i] = f"{call.name}:output:{i}" if function else f"{call.name}:{i}"
    return call


def _let_inline(function, call) -> None:
    """Lists a call that draws among those that its function must run, in place.

    TensorFlow inlines no function with a call that has state and is not listed, and no random op
    is. A model with dropout would stay apart from its gradient, and oneDNN's `MaxPoolGrad`, twelve
    times as fast as the other, is only used beside its `MaxPool`.
    """
    if call.name not in function.control_ret.values():
        function.control_ret[call.name] = call.name
        function.signature.control_output.append(call.name)


def _add_set_keys(graph_def, scope: str, count: int) -> None:
    def function(keys):
        for i in range(count):
            tf.raw_ops.AssignVariableOp(resource=_variable(f"{scope}/{i}"), value=keys[i])

    spec = tf.TensorSpec([count, 3], tf.int64)
    # Parts that share a graph each have keys: the function's name needs the scope.
    graph_functions.add_first(graph_def, SET_KEYS, f"{scope}/set_keys", function, {KEYS: spec})


def keys(seed: int, round_num: int, who: str, count: int) -> np.ndarray:
    """The keys of one client's random ops in one round.

    Args:
        seed: The run's seed.
        round_num: The round, from 1.
        who: The client, or what the server does.
        count: The number of ops.

    Returns:
        int64 [count, 3]: for each op a counter that starts at 0 and a key of 64 bits.
    """
    out = np.zeros([count, 3], np.int64)
    for op in range(count):
        digest = hashlib.sha256(f"{seed}\0{round_num}\0{op}\0{who}".encode()).digest()
        out[op, 2] = np.frombuffer(digest[:8], np.int64)[0]
    return out
