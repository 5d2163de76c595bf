"""What every aggregator keeps: training, exact resume, any number of workers, its declarations."""

import types
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow_federated as tff
from conftest import REPO
from test_run import QUICK
from test_run import run as run_script
from test_training import rows_of, run

from tff_experiments import aggregation, compatibility, secure_sum, tasks, training
from tff_experiments.algorithms import fed_avg, ingredients, optimizers
from tff_experiments.datasets import federated_data
from tff_experiments.runtime import local, tensorflow_part

# More clients than groups of a round; each round has others.
HPARAMS = training.Hparams(
    rounds=4, clients_per_round=18, batch_size=30, eval_every=0, checkpoint_every=2
)
OTHERS = {  # Beside the defaults.
    "multi_krum": ("krum", {"chosen": 0}),
    "fixed_clipping": ("clipped_mean", {"clipping": "fixed", "zeroing": "fixed"}),
    "rotated": ("quantized", {"rotation": True, "bits": 4}),
    "qsgd": ("quantized", {"spread": "norm", "bits": 4}),
    "drive_biased_twice": ("drive", {"unbiased": False, "repeats": 2}),
    "stochastic_secure_mean": ("secure_mean", {"rounding": "stochastic", "bits": 8}),
}
CASES = {name: (name, {}) for name in aggregation.BY_NAME} | OTHERS


@pytest.fixture(scope="module")
def data():
    """The digits in 20 clients, of different sizes."""
    rng = np.random.default_rng(0)
    names = np.array([f"c{i:02}" for i in rng.integers(0, 20, 600)])
    columns = {
        "images": rng.integers(0, 256, (600, 8, 8)).astype(np.uint8),
        "labels": rng.integers(0, 10, 600).astype(np.int32),
    }
    split = federated_data.by_client(columns, names)
    return federated_data.FederatedData("random", split, split, num_classes=10)


@pytest.fixture(scope="module")
def linear(data):
    return tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=data, seed=0)


slow = lambda name: pytest.param(name, marks=pytest.mark.slow)
PARAMS = [slow(name) if name in OTHERS and name != "rotated" else name for name in CASES]


class Case(NamedTuple):
    """FedAvg with an aggregator, compiled once."""

    name: str
    module: types.ModuleType
    process: tff.learning.templates.LearningProcess
    one_worker: local.Context


@pytest.fixture(scope="module", params=PARAMS)
def case(request, linear):
    plugin, hparams = CASES[request.param]
    module = aggregation.BY_NAME[plugin]
    process = fed_avg.build(
        fed_avg.Hparams(),
        ingredients.Ingredients(
            model_fn=linear.model_fn,
            client_optimizer=optimizers.build(optimizers.Hparams(learning_rate=0.1)),
            server_optimizer=optimizers.build(optimizers.Hparams()),
            aggregator=module.build(module.Hparams(**hparams)),
            metrics_aggregator=module.METRICS_AGGREGATOR,
        ),
    )
    context = local.Context(local.Hparams(client_workers=1))
    yield Case(request.param, module, process, context)
    context.close()


def train(path, case, task, data, context, **kwargs):
    with tff.framework.get_context_stack().install(context):
        return run(path, case.process, task, data, HPARAMS, context, **kwargs)


def test_it_trains_and_goes_on_bit_for_bit_on_any_number_of_workers(case, linear, data, tmp_path):
    def stop(row):
        if row["round"] == 3:
            raise RuntimeError("killed")

    whole = train(tmp_path / "whole", case, linear, data, case.one_worker)
    with local.use(local.Hparams(client_workers=2)) as two_workers:
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path / "cut", case, linear, data, two_workers, on_round=stop)
        resumed = train(tmp_path / "cut", case, linear, data, two_workers)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, resumed, strict=True))
    rows = rows_of(tmp_path / "whole")
    assert rows == rows_of(tmp_path / "cut")
    assert all(np.isfinite(value) for row in rows for value in row.values())
    assert any(weights.any() for weights in whole)


def test_it_sends_and_keeps_what_it_declares(case):
    form = case.one_worker._compile(case.process.next)._form
    leaves = lambda kind: tensorflow_part.leaf_types(kind)
    in_the_clear = leaves(form.work.type_signature.result[0])
    assert (not in_the_clear) == case.module.SUPPORTS_SECURE_SUM
    grows = [None in leaf.shape for leaf in leaves(form.accumulate.type_signature.result)]
    assert any(grows) == case.module.STACKED


def test_a_round_without_clients_keeps_the_model(case):
    with tff.framework.get_context_stack().install(case.one_worker):
        state = case.process.initialize()
        after = case.process.next(state, []).state
        before, after = map(case.process.get_model_weights, (state, after))
    for a, b in zip(before.trainable, after.trainable, strict=True):
        np.testing.assert_array_equal(a, b)


def check(name, protocol, *, allow_plain=False):
    compatibility.check(
        algorithm="fed_avg",
        needs=fed_avg.NEEDS,
        aggregator=name,
        aggregation=aggregation.BY_NAME[name],
        secure_sum=protocol,
        is_secure=protocol != "plain",
        allow_plain_slots=allow_plain,
        runtime="local",
        server_optimizer="sgd",
    )


@pytest.mark.parametrize("protocol", sorted(set(secure_sum.BY_NAME) - {"plain"}))
@pytest.mark.parametrize("name", aggregation.BY_NAME)
def test_what_secure_sums_can_not_hide_is_refused(name, protocol):
    module = aggregation.BY_NAME[name]
    check(name, "plain")
    check(name, protocol, allow_plain=True)
    if module.SUPPORTS_SECURE_SUM:
        check(name, protocol)
        return
    why = "needs each client's update by itself" if module.STACKED else "sends each client's update"
    message = f"--aggregator={name} {why}.*--secure_sum={protocol} .*use --aggregator=secure_mean"
    with pytest.raises(ValueError, match=message):
        check(name, protocol)


def test_asking_for_both_is_one_line_before_anything_is_built(tmp_path):
    flags = ["--aggregator=median", "--secure_sum=secagg", "--dataset=npz", "--data_dir=/no/such"]
    code, _, err = run_script([*QUICK, *flags, f"--output_dir={tmp_path}/run"])
    assert code == 2 and err.count("\n") == 1
    assert err.startswith("error: median needs each client's update in the clear, it can't run")


def test_each_aggregator_is_in_the_docs():
    text = (REPO / "docs" / "aggregators.md").read_text()
    assert [name for name in aggregation.BY_NAME if f"| `{name}" not in text] == []
