"""Secure slots: integer sums as numpy's, and values and bounds that are out of range refused."""

import collections
from concurrent import futures

import numpy as np
import pytest
import tensorflow_federated as tff

from tff_experiments import runtime
from tff_experiments.runtime import clients, local
from tff_experiments.secure_sum import plain, vectors

modular_sum = tff.backends.mapreduce.federated_secure_modular_sum
INT, LONG = tff.TensorType(np.int32), tff.TensorType(np.int64)
PAIR = tff.to_type(collections.OrderedDict(b=tff.TensorType(np.int32, [2, 3]), a=np.int64))
SUMS = {
    "bits": lambda value: tff.federated_secure_sum_bitwidth(value, 10),
    "maximum": lambda value: tff.federated_secure_sum(value, 1000),
    "modulus": lambda value: modular_sum(value, 17),
}


def process(member, *sums):
    """A process whose result is the given sums of its clients' values."""

    @tff.federated_computation(
        tff.FederatedType(np.int32, tff.SERVER), tff.FederatedType(member, tff.CLIENTS)
    )
    def next_fn(state, values):
        return state, tuple(summed(values) for summed in sums)

    return next_fn


def pairs(num_clients, *, largest=1000):
    rng = np.random.default_rng(num_clients)
    draw = lambda *shape: rng.integers(0, largest, shape, np.int64, endpoint=True)
    return [{"b": draw(2, 3).astype(np.int32), "a": draw()} for _ in range(num_clients)]


@pytest.fixture(scope="module")
def all_kinds():
    """Each kind beside a sum in the clear, and a bound for each field."""
    each = lambda value: tff.federated_secure_sum(value, collections.OrderedDict(b=1000, a=2**40))
    return process(PAIR, SUMS["modulus"], SUMS["bits"], tff.federated_sum, SUMS["maximum"], each)


@pytest.mark.parametrize("num_clients", [1, 3, 50])
def test_sums_are_those_of_numpy(all_kinds, num_clients):
    values = pairs(num_clients)
    wanted = {field: sum(value[field].astype(np.int64) for value in values) for field in "ba"}
    with runtime.use():
        _, (modular, *others) = all_kinds(0, values)
    for got in others:
        assert list(got) == ["b", "a"]
        for field, dtype in (("b", np.int32), ("a", np.int64)):
            np.testing.assert_array_equal(got[field], wanted[field])
            assert got[field].dtype == dtype
    for field in "ba":
        np.testing.assert_array_equal(modular[field], wanted[field] % 17)


def test_negative_values_are_summed_modulo():
    with runtime.use():
        assert process(INT, SUMS["modulus"])(0, [-5, 3, -40])[1] == (-42 % 17,)


def test_the_sum_of_no_clients_is_zero(all_kinds):
    with runtime.use():
        _, sums = all_kinds(0, [])
    for got in sums:
        np.testing.assert_array_equal(got["b"], np.zeros((2, 3), np.int32))


@pytest.mark.parametrize("kind", ["bits", "maximum"])
@pytest.mark.parametrize("value", [1024, -1, 2**32])
def test_a_value_out_of_range_names_the_client(kind, value):
    """2^32 must not become 0 on its way to an int32."""
    largest = {"bits": 1023, "maximum": 1000}[kind]
    with runtime.use():
        next_fn = process(INT, SUMS[kind])
        assert next_fn(0, [largest, 0, largest])[1] == (2 * largest,)
        inputs = [clients.ClientInputs(v, client=f"writer{v}") for v in (3, value, 5)]
        with pytest.raises(local.ClientError, match=rf"client writer{value}: .*out of range"):
            next_fn(0, inputs)


def test_a_dropped_client_leaves_nothing_in_the_sum_in_the_clear():
    """The value is out of the secure sum's range: by then the sum in the clear has been made."""
    next_fn = process(INT, SUMS["maximum"], tff.federated_sum)
    # More clients than groups: some are not the first of their group.
    values = [(5000 if i % 3 == 1 else i) for i in range(90)]
    wanted = sum(value for value in values if value < 5000)
    with runtime.use(on_client_error="drop") as context:
        assert next_fn(0, values)[1] == (wanted, wanted)
        assert context.last_round["train/dropped_clients"] == 30


def test_the_widest_sums_are_exact_and_wider_ones_are_refused():
    bits = lambda width: lambda value: tff.federated_secure_sum_bitwidth(value, width)
    largest = 2**61 - 1
    with runtime.use():
        assert process(LONG, bits(62))(0, [2**62 - 1])[1] == (2**62 - 1,)
        assert process(LONG, bits(61))(0, [largest, largest])[1] == (2 * largest,)
        with pytest.raises(ValueError, match=r"sum of 3 values .* fewer bits or fewer clients"):
            process(LONG, bits(61))(0, [1, 1, 1])
        for width in (0, 63):
            with pytest.raises(TypeError, match=f"1 to 62 bits, got {width}"):
                process(LONG, bits(width))(0, [1])


SEGMENTS = [vectors.Segment(3, 10), vectors.Segment(0, 5), vectors.Segment(2, 2**62)]


def test_each_segment_is_summed_modulo_its_own_number():
    summed = plain.build(plain.Hparams()).start(SEGMENTS, {"a": "", "b": ""})
    np.testing.assert_array_equal(summed.finish(), np.zeros(5))
    summed.add("a", np.array([9, 1, 5, 2**62 - 1, 7]))
    summed.add("b", np.array([2, 1, 5, 2, 2**61]))
    np.testing.assert_array_equal(summed.finish(), [1, 2, 0, 1, 7 + 2**61])
    assert summed.finish().dtype == np.int64


def test_clients_may_be_added_from_many_threads():
    moduli = np.array([10, 10, 10, 2**62, 2**62], dtype=object)
    rows = np.random.default_rng(0).integers(0, moduli.astype(np.int64), (2000, 5))
    summed = plain.Round(SEGMENTS, {str(i): "" for i in range(2000)})
    with futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: summed.add(str(i), rows[i]), range(2000)))
    # Python's integers don't wrap.
    wanted = rows.astype(object).sum(axis=0) % moduli
    np.testing.assert_array_equal(summed.finish(), wanted.astype(np.int64))


def test_a_round_without_slots_has_an_empty_sum():
    summed = plain.Round([], {"a": ""})
    summed.add("a", np.zeros(0, np.int64))
    assert summed.finish().shape == (0,)
