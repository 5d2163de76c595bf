"""Our runtime against TFF's own: the same states and metrics, whatever runs beside what."""

import collections

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff

from tff_experiments import runtime
from tff_experiments.runtime import clients, local

SGD = tff.learning.optimizers.build_sgdm(0.1)
SERVER = tff.learning.optimizers.build_sgdm(1.0, momentum=0.9)
ITERATOR = tff.learning.LoopImplementation.DATASET_ITERATOR
SPEC = (tf.TensorSpec([None, 12], tf.float32), tf.TensorSpec([None], tf.int32))


def model_fn():
    """A smooth model: no kink turns a last bit into more."""
    tf.keras.utils.set_random_seed(1)
    layers = [tf.keras.layers.Dense(8, activation="tanh"), tf.keras.layers.Dense(4)]
    model = tf.keras.Sequential(layers)
    model.build([None, 12])
    return tff.learning.models.from_keras_model(
        model,
        input_spec=SPEC,
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[tf.keras.metrics.SparseCategoricalAccuracy("accuracy")],
    )


def functional_model():
    return tff.learning.models.functional_model_from_keras(
        lambda: tf.keras.Sequential(
            [tf.keras.layers.Dense(4, kernel_initializer="ones", input_shape=(12,))]
        ),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        input_spec=SPEC,
        metrics_constructor=collections.OrderedDict(loss=tf.keras.metrics.MeanSquaredError),
    )


def batches(client, *, batch_size=5):
    rng = np.random.default_rng(client)
    n = 7 + 3 * client
    x = rng.standard_normal((n, 12)).astype(np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((x, rng.integers(0, 4, n).astype(np.int32)))
    return dataset.batch(batch_size)


def fed_avg(aggregator=None, **kwargs):
    return tff.learning.algorithms.build_weighted_fed_avg(
        model_fn, SGD, SERVER, model_aggregator=aggregator, loop_implementation=ITERATOR, **kwargs
    )


def unweighted(aggregator, **kwargs):
    return tff.learning.algorithms.build_unweighted_fed_avg(
        model_fn, SGD, SERVER, model_aggregator=aggregator, **kwargs
    )


learning = tff.learning
PROCESSES = {
    "fed_avg": fed_avg,
    "fed_avg_dataset_reduce": lambda: learning.algorithms.build_weighted_fed_avg(model_fn, SGD),
    "fed_avg_adam": lambda: learning.algorithms.build_weighted_fed_avg(
        model_fn, SGD, learning.optimizers.build_adam(0.01)
    ),
    "fed_prox": lambda: learning.algorithms.build_weighted_fed_prox(
        model_fn, 0.1, SGD, SERVER, loop_implementation=ITERATOR
    ),
    "fed_sgd": lambda: learning.algorithms.build_fed_sgd(model_fn, SERVER),
    "mime_lite": lambda: learning.algorithms.build_weighted_mime_lite(
        model_fn, learning.optimizers.build_sgdm(0.1, momentum=0.9), SERVER
    ),
    "schedule": lambda: learning.algorithms.build_weighted_fed_avg_with_optimizer_schedule(
        model_fn, lambda round_num: 0.1 / tf.cast(round_num + 1, tf.float32),
        learning.optimizers.build_sgdm, SERVER, loop_implementation=ITERATOR,
    ),
    "kmeans": lambda: learning.algorithms.build_fed_kmeans(
        3, (12,), random_seed=(1, 2)
    ),
    "evaluation": lambda: learning.algorithms.build_fed_eval(model_fn),
    "robust": lambda: fed_avg(learning.robust_aggregator(zeroing=True, clipping=True)),
    "compression": lambda: fed_avg(learning.compression_aggregator()),
    "dp_without_noise": lambda: unweighted(
        tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(
            noise_multiplier=0.0, clients_per_round=4, clip=0.5
        )
    ),
    "secure": lambda: fed_avg(learning.secure_aggregator()),
    "secure_with_metrics": lambda: fed_avg(
        learning.secure_aggregator(),
        metrics_aggregator=learning.metrics.secure_sum_then_finalize,
    ),
    "secure_sum": lambda: unweighted(
        tff.aggregators.UnweightedMeanFactory(tff.aggregators.SecureSumFactory(1.0, -1.0))
    ),
}  # fmt: skip


def values(name):
    if name != "kmeans":
        return [batches(client) for client in range(4)]
    return [batches(client).map(lambda x, y: x).unbatch() for client in range(4)]


def three_rounds(process, clients_values):
    state = process.initialize()
    outputs = []
    for _ in range(3):
        state, metrics = process.next(state, clients_values)
        outputs.append((state, metrics))
    return outputs


def in_the_clear(computation):
    """TFF's test backend: secure sums by their insecure bodies."""
    return tff.backends.native.desugar_and_transform_to_native(
        tff.backends.test.replace_secure_intrinsics_with_bodies(computation)
    )


@pytest.fixture
def tffs_context(native_worker):
    return tff.framework.SyncExecutionContext(
        executor_fn=tff.framework.ResourceManagingExecutorFactory(native_worker.executor),
        compiler_fn=in_the_clear,
        transform_args=tff.tensorflow.transform_args,
        transform_result=tff.tensorflow.transform_result,
    )


# "secure_with_metrics" has all of "secure".
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "secure")) for n in PROCESSES]
)
def test_three_rounds_equal_those_of_tff(name, tffs_context):
    process = PROCESSES[name]()
    with tff.framework.get_context_stack().install(tffs_context):
        wanted = three_rounds(process, values(name))
    with runtime.use():
        got = three_rounds(process, values(name))
    tf.nest.assert_same_structure(got, wanted)
    for a, b in zip(tf.nest.flatten(got), tf.nest.flatten(wanted), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        if isinstance(b, bytes):
            assert a == b
        else:
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def modular_sum(modulus):
    """A process of integer vectors: its clients hold no sequences."""
    kind = tff.TensorType(np.int32, [3])
    summing = tff.aggregators.SecureModularSumFactory(modulus, symmetric_range=True).create(kind)

    @tff.federated_computation(
        summing.initialize.type_signature.result, tff.FederatedType(kind, tff.CLIENTS)
    )
    def next_fn(state, value):
        output = summing.next(state, value)
        return output.state, output.result

    return next_fn


def test_modular_sums_wrap_as_the_process_says():
    vectors = [np.array(v, np.int32) for v in ([7, -8, 0], [5, -5, 1], [-9, 3, 2])]
    with runtime.use():
        _, got = modular_sum(10)((), vectors)
    # Values are in (-10, 10), a ring of 19: 12 - 9 = 3, -13 + 3 = -10 = 9, 3.
    np.testing.assert_array_equal(got, [3, 9, 3])


def dropout_model_fn():
    tf.keras.utils.set_random_seed(1)
    layers = [tf.keras.layers.Dense(8, activation="tanh"), tf.keras.layers.Dropout(0.5)]
    model = tf.keras.Sequential([*layers, tf.keras.layers.Dense(4)])
    model.build([None, 12])
    return tff.learning.models.from_keras_model(
        model,
        input_spec=SPEC,
        loss=tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )


@pytest.fixture(scope="module", params=["DATASET_ITERATOR", "DATASET_REDUCE"])
def dropout_process(request):
    """FedAvg with dropout, stochastic quantisation and a random rotation, in one."""
    process = tff.learning.algorithms.build_unweighted_fed_avg(
        dropout_model_fn,
        SGD,
        SERVER,
        model_aggregator=tff.aggregators.UnweightedMeanFactory(
            tff.aggregators.HadamardTransformFactory(
                tff.aggregators.EncodedSumFactory.quantize_above_threshold(8, threshold=0)
            )
        ),
        loop_implementation=tff.learning.LoopImplementation[request.param],
    )
    return request.param, process


def bits(process, *, seed=0, cohort=range(40), **hparams):
    with runtime.use(seed=seed, **hparams):
        outputs = three_rounds(process, [batches(client % 7) for client in cohort])
    return b"".join(np.asarray(leaf).tobytes() for leaf in tf.nest.flatten(outputs))


@pytest.mark.parametrize(
    "dropout_process",
    ["DATASET_ITERATOR", pytest.param("DATASET_REDUCE", marks=pytest.mark.slow)],
    indirect=True,
)
def test_random_ops_give_the_same_bits_at_any_number_of_workers(dropout_process):
    # More clients than groups; the slow loop gets a few only.
    name, process = dropout_process
    cohort = range(40 if name == "DATASET_ITERATOR" else 5)
    one = bits(process, cohort=cohort, client_workers=1)
    assert one == bits(process, cohort=cohort, client_workers=2)
    assert one == bits(process, cohort=cohort, client_workers=5)
    assert one != bits(process, cohort=cohort, client_workers=1, seed=1)


def test_rounds_and_clients_draw_different_numbers(dropout_process):
    """Clients with equal data and rounds from equal states differ by their dropout."""
    _, process = dropout_process
    with runtime.use() as context:
        state = process.initialize()
        loss = {}
        for round_num, names in ((1, "ab"), (2, "ab"), (1, "ba"), (1, "ac")):
            inputs = [clients.ClientInputs(batches(3), client=name) for name in names]
            output, _ = context.next(process, state, inputs, seed=0, round_num=round_num)
            loss[round_num, names] = output.metrics["client_work"]["train"]["loss"]
    assert loss[1, "ab"] != loss[2, "ab"]
    assert loss[1, "ab"] != loss[1, "ac"]
    assert loss[1, "ab"] == pytest.approx(loss[1, "ba"], rel=1e-6)


def test_after_a_round_draws_are_as_if_it_had_not_been():
    draw = tff.tensorflow.computation(lambda: tf.random.uniform([8]))
    process = fed_avg()
    with runtime.use(seed=3) as context:
        first = draw()
        inputs = [clients.ClientInputs(batches(1))]
        context.next(process, process.initialize(), inputs, seed=5, round_num=7)
        np.testing.assert_array_equal(draw(), first)
    with runtime.use(seed=5):
        assert np.all(draw() != first)


def test_how_a_round_went_is_measured():
    process = fed_avg()
    with runtime.use() as context:
        process.next(process.initialize(), [batches(0), batches(1)])
        row = context.last_round
    # 12 x 8 + 8 + 8 x 4 + 4 weights, and the learning rate down, the metrics and the weight up.
    assert row["bytes/downlink_per_client"] == 4 * (140 + 1)
    assert row["bytes/uplink_per_client"] == 4 * (140 + 1) + 4 * 4 + 8 * 2
    for name in ("client_work", "aggregation", "secure_sum", "server_update", "slowest_client"):
        assert 0 <= row[f"seconds/{name}"] < 60
    assert row["seconds/slowest_client"] <= row["seconds/client_work"]
    assert 2**20 < row["memory/peak_bytes"] < 2**40


def failing(client):
    """A client's batches; those of client 2 fail in the middle of the training."""
    if client != 2:
        return batches(client)
    rows = batches(client).map(
        lambda x, y: (tf.debugging.check_numerics(x / tf.cast(y[0] - y[0], tf.float32), "bad"), y)
    )
    return batches(client).concatenate(rows)


def test_an_error_names_the_round_the_client_and_the_op():
    process = fed_avg()
    with runtime.use() as context:
        state = process.initialize()
        state = process.next(state, [failing(0)]).state
        inputs = [clients.ClientInputs(failing(i), client=f"writer{i}") for i in range(4)]
        with pytest.raises(local.ClientError, match=r"round 7, client writer2, op .*CheckNumerics"):
            context.next(process, state, inputs, seed=0, round_num=7)
        # The context still works.
        process.next(state, [failing(0)])


def test_a_client_that_fails_can_be_dropped_and_leaves_nothing_behind():
    process = fed_avg()
    with runtime.use(on_client_error="drop") as context:
        state = process.initialize()
        got = process.next(state, [failing(i) for i in range(4)])
        assert context.last_round["train/dropped_clients"] == 1
        wanted = process.next(state, [failing(i) for i in (0, 1, 3)])
        assert context.last_round["train/dropped_clients"] == 0
    pairs = zip(tf.nest.flatten(got), tf.nest.flatten(wanted), strict=True)
    assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def test_values_of_other_types_are_refused():
    process = fed_avg()
    wrong = [(np.zeros((5, 11), np.float32), np.zeros(5, np.int32))]
    with runtime.use():
        state = process.initialize()
        with pytest.raises(
            local.ClientError, match=r"client 0: .*float32\[\?,12\].*must be Batches"
        ):
            process.next(state, [np.zeros(3)])
        with pytest.raises(local.ClientError, match=r"client 0: .*float32"):
            process.next(state, [wrong])
        with pytest.raises(local.ClientError, match="takes no extras"):
            process.next(state, [clients.ClientInputs(batches(0), extras=np.zeros(1))])
        with pytest.raises(TypeError, match="expected"):
            process.next((state, 1), [batches(0)])


def test_a_computation_without_a_map_reduce_form_is_refused_with_the_way_out():
    @tff.federated_computation(tff.FederatedType(np.int32, tff.CLIENTS))
    def lone(values):
        return tff.federated_sum(values)

    with runtime.use(), pytest.raises(TypeError, match=r"two arguments.*--runtime=native"):
        lone([1, 2])


def test_installed_it_runs_anybodys_script():
    stack = tff.framework.get_context_stack()
    default = stack._stack[0]
    context = runtime.install(client_workers=1)
    try:
        assert stack._stack[0] is context
        with stack.install(context):
            assert tff.tensorflow.computation(lambda x: x + 1, np.int32)(41) == 42
    finally:
        tff.framework.set_default_context(default)
        context.close()


def test_a_cohort_without_clients_gives_what_tff_gives(tffs_context):
    process = fed_avg(tff.aggregators.MeanFactory(no_nan_division=True))
    with tff.framework.get_context_stack().install(tffs_context):
        wanted = process.next(process.initialize(), [])
    with runtime.use():
        got = process.next(process.initialize(), [])
    for a, b in zip(tf.nest.flatten(got), tf.nest.flatten(wanted), strict=True):
        np.testing.assert_array_equal(a, b)


def test_client_work_is_built_for_a_gpu_where_there_is_one(monkeypatch):
    """Without a GPU TensorFlow falls back to the CPU: the graph can be run, the device is asked."""
    process = fed_avg()
    with runtime.use():
        wanted = three_rounds(process, values("fed_avg"))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["first", "second"])
    assert local.client_devices() == ["/GPU:0", "/GPU:1"]
    with runtime.use(client_workers=2) as context:
        got = three_rounds(process, values("fed_avg"))
        devices = {
            operation.device
            for compiled in context._compiled.values()
            if hasattr(compiled, "_crew")
            for workers in compiled._crew._workers.values()
            for worker in workers
            for operation in worker._graph.graph.get_operations()
        }
    assert {"/device:GPU:0", "/device:GPU:1"} <= devices
    for a, b in zip(tf.nest.flatten(got), tf.nest.flatten(wanted), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
