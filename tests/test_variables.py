"""Which variables are reset before a call: those that it reads before it assigns them."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from tensorflow.core.framework import function_pb2

from tff_experiments import runtime
from tff_experiments.runtime import sessions, tensorflow_part, variables


def node(op, name, *inputs, calls=""):
    found = tf.compat.v1.NodeDef(op=op, name=name, input=inputs)
    if calls:
        found.attr["f"].func.name = calls
    return found


def function(name, *nodes, ret=()):
    """A function of the variable `h`."""
    found = function_pb2.FunctionDef(node_def=nodes, ret=dict(ret))
    found.signature.name = name
    found.signature.input_arg.add(name="h")
    return found


def assign(name="w", handle="v", value="x"):
    return node("AssignVariableOp", name, handle, value)


def read(*after, name="r", handle="v"):
    return node("ReadVariableOp", name, handle, *after)


def call(function_name, *after, name="w"):
    return node("StatefulPartitionedCall", name, "v", *after, calls=function_name)


LIBRARY = {
    "assigns": function("assigns", assign(handle="h"), read("^w", handle="h")),
    "adds": function("adds", node("AssignAddVariableOp", "w", "h", "x")),
    "reads_first": function("reads_first", read(handle="h"), assign(handle="h", value="r:value:0")),
    "passes_on": function("passes_on", node("StatefulPartitionedCall", "c", "h", calls="assigns")),
    "ignores": function("ignores", node("NoOp", "n")),
    "returns": function("returns", assign(handle="h"), ret={"out": "h"}),
}
# Case -> (nodes beside the variable `v` and a constant `x`, whether it is written first).
GRAPHS = {
    "assigned, then read": ([assign(), read("^w")], True),
    "read through other nodes": ([assign(), node("NoOp", "n", "^w"), read("^n")], True),
    "never touched": ([], True),
    "read beside the assignment": ([assign(), read()], False),
    "assigned from itself": ([read(), assign(value="r")], False),
    "only added to": ([node("AssignAddVariableOp", "w", "v", "x")], False),
    "assigned, one of two reads before": ([assign(), read("^w"), read(name="early")], False),
    "assigned in a branch": ([node("If", "w", "x", "v", calls="assigns"), read("^w")], False),
    "assigned in a function": ([call("assigns"), read("^w")], True),
    "assigned two functions deep": ([call("passes_on"), read("^w")], True),
    "added to in a function": ([call("adds"), read("^w")], False),
    "read first in a function": ([call("reads_first")], False),
    "given to a function that ignores it": ([call("ignores"), assign("a"), read("^a")], True),
    "returned by a function": ([call("returns"), read("^w")], False),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_a_variable_is_written_first_where_no_read_can_come_before(case):
    nodes, wanted = GRAPHS[case]
    nodes = [node("VarHandleOp", "v"), node("Const", "x"), *nodes]
    assert variables.written_first(nodes, LIBRARY, "v") == wanted


def after(first, variable):
    with tf.control_dependencies([first]):
        return variable.read_value()


def one_counts_one_is_set():
    count, total = tf.Variable(3, name="count"), tf.Variable(5, name="total")
    return after(count.assign_add(1), count), after(total.assign(7), total)


def set_in_a_branch():
    total = tf.Variable(5, name="total")
    branches = (lambda: total.assign(7), lambda: total.read_value())
    return after(tf.cond(tf.timestamp() < 0, *branches), total)


def two_functions():
    count, total = tf.Variable(3, name="count"), tf.Variable(5, name="total")

    @tf.function
    def step():
        total.assign(7)
        total.assign_add(count.assign_add(1))
        return total.read_value()

    return step()


@tf.function
def handle_in_a_function():
    """A variable that no initializer knows: it starts from 3 where there is none."""
    handle = tf.raw_ops.VarHandleOp(dtype=tf.int32, shape=[], shared_name="counter")
    is_there = tf.raw_ops.VarIsInitializedOp(resource=handle)
    start = lambda: tf.raw_ops.AssignVariableOp(resource=handle, value=3)
    tf.cond(is_there, tf.no_op, start)
    tf.raw_ops.AssignAddVariableOp(resource=handle, value=1)
    return tf.raw_ops.ReadVariableOp(resource=handle, dtype=tf.int32)


def mutable_table():
    table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, default_value=3)
    key = tf.constant([8], tf.int64)
    with tf.control_dependencies([table.insert(key, table.lookup(key) + 1)]):
        return table.lookup(key)


def constant_table():
    keys = tf.lookup.KeyValueTensorInitializer(tf.constant(["a", "b"]), tf.constant([1, 2]))
    table, count = tf.lookup.StaticHashTable(keys, -1), tf.Variable(0)
    return table.lookup(tf.constant(["b", "z"])) + count.assign_add(1)


# Case -> (what is computed, variables that are reset or None for all, the result).
COMPUTATIONS = {
    "counter beside a set": (one_counts_one_is_set, {"count"}, [4, 7]),
    "set in a branch": (set_in_a_branch, {"total"}, [5]),
    "in a function": (two_functions, {"count"}, [11]),
    "handle in a function": (lambda: handle_in_a_function(), None, [4]),
    "mutable table": (mutable_table, None, [[4]]),
    "constant table": (constant_table, {"Variable"}, [[3, 0]]),
}


@pytest.mark.parametrize("case", COMPUTATIONS)
def test_each_call_has_fresh_variables(case):
    build, reset, wanted = COMPUTATIONS[case]
    computation = tff.tensorflow.computation(build)
    part = tensorflow_part.unpack(computation, "part")
    again, is_known = variables.plan(part.graph_def, part.initializer)
    nodes = {node.name: node for node in part.graph_def.node}
    assert is_known == (reset is not None)
    assert {nodes[name].input[0] for name in again} == (reset or set())
    compiled = sessions.Function(computation, "part")
    for round_num in (1, 1, 2):
        got = compiled([], seed=0, round_num=round_num)
        assert [np.asarray(leaf).tolist() for leaf in got] == wanted


@pytest.mark.parametrize("make", [one_counts_one_is_set, handle_in_a_function])
def test_each_client_of_a_worker_has_fresh_variables(make):
    @tff.tensorflow.computation(np.int32)
    def work(value):
        return value * tf.nest.flatten(make())[0]

    @tff.federated_computation(
        tff.FederatedType(np.int32, tff.SERVER), tff.FederatedType(np.int32, tff.CLIENTS)
    )
    def next_fn(state, values):
        return state, tff.federated_sum(tff.federated_map(work, values))

    with runtime.use(client_workers=1):
        _, total = next_fn(0, [1, 10] * 40)
    assert total == 4 * 11 * 40
