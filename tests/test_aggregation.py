"""What every aggregator keeps, with other knobs too: its declarations, exact resume, empty rounds.

With their defaults, `test_contract` trains and resumes them.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow_federated as tff
from algorithm_helpers import make
from conftest import REPO
from kill_helpers import kill_at
from test_training import rows_of, run

from tff_experiments import aggregation, spending, tasks, training
from tff_experiments.algorithms import fed_avg
from tff_experiments.runtime import local, tensorflow_part

OTHERS = {
    "multi_krum": ("krum", {"chosen": 0}),
    "fixed_clipping": ("clipped_mean", {"clipping": "fixed", "zeroing": "off"}),
    "rotated": ("quantized", {"rotation": True, "bits": 4}),
    "qsgd": ("quantized", {"spread": "norm", "bits": 4}),
    "drive_biased_twice": ("drive", {"unbiased": False, "repeats": 2}),
    "stochastic_secure_mean": ("secure_mean", {"rounding": "stochastic", "bits": 8}),
}
CASES = {name: (name, {}) for name in aggregation.BY_NAME} | OTHERS


class Case(NamedTuple):
    """FedAvg of two weights with an aggregator, compiled."""

    module: Any
    process: tff.learning.templates.LearningProcess
    context: local.Context


def build(name, **changes):
    plugin, hparams = CASES[name]
    module = aggregation.BY_NAME[plugin]
    own = module.Hparams(**hparams)
    if hasattr(module, "privacy"):
        made = private(module, own, **changes)
    else:
        made = make(aggregator=module, aggregator_hparams=own, **changes)
    return module, fed_avg.build(fed_avg.Hparams(), made)


def private(module, own, **changes):
    """Ingredients with an aggregator of differential privacy, for two weights."""
    run = {"num_clients": 8, "clients_per_round": 2, "client_sampling": "round_robin"}
    shared = spending.Hparams(delta=1e-2)
    plan = spending.make_plan(shared, module.privacy(own), rounds=4, dim=2, **run)
    mechanism = spending.make_budget(shared, plan).mechanism
    return dataclasses.replace(
        make(**changes),
        aggregator=module.build(own, mechanism, plan),
        metrics_aggregator=module.METRICS_AGGREGATOR,
        secure=module.SUPPORTS_SECURE_SUM,
        private=True,
    )


@pytest.fixture(scope="module", params=CASES)
def case(request):
    module, process = build(request.param)
    with local.use(local.Hparams()) as context:
        yield Case(module, process, context)


def test_it_sends_and_keeps_what_it_declares(case):
    form = case.context._compile(case.process.next)._form
    in_the_clear = tensorflow_part.leaf_types(form.work.type_signature.result[0])
    kept = tensorflow_part.leaf_types(form.accumulate.type_signature.result)
    is_hidden, grows = not in_the_clear, any(None in leaf.shape for leaf in kept)
    assert (is_hidden, grows) == (case.module.SUPPORTS_SECURE_SUM, case.module.STACKED)


def test_a_round_without_clients_keeps_the_model_but_for_the_servers_noise(case):
    state = case.process.initialize()
    after = case.process.next(state, []).state
    before, after = map(case.process.get_model_weights, (state, after))
    noised = case.module in (aggregation.dp_fedavg, aggregation.dp_ftrl)
    for a, b in zip(before.trainable, after.trainable, strict=True):
        if noised:
            assert np.all(a != b), "a release without noise tells that nobody came"
            continue
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "name", [n if n == "rotated" else pytest.param(n, marks=pytest.mark.slow) for n in OTHERS]
)
def test_it_goes_on_bit_for_bit_on_another_number_of_workers(name, ten_clients, tmp_path):
    linear = tasks.digits_linear.build(tasks.digits_linear.Hparams(), data=ten_clients, seed=0)
    _, process = build(name, model_fn=linear.model_fn)
    hparams = training.Hparams(rounds=4, clients_per_round=7, eval_every=0, checkpoint_every=2)

    def train(path, context, **kwargs):
        return run(tmp_path / path, process, linear, ten_clients, hparams, context, **kwargs)

    with local.use(local.Hparams(client_workers=1)) as context:
        whole = train("whole", context)
    with local.use(local.Hparams(client_workers=2)) as context:
        with pytest.raises(RuntimeError, match="killed"):
            train("cut", context, on_round=kill_at(3))
        resumed = train("cut", context)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(whole, resumed, strict=True))
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "cut")


def test_each_aggregator_is_in_the_docs():
    text = (REPO / "docs" / "aggregators.md").read_text()
    assert [name for name in aggregation.BY_NAME if f"| `{name}`" not in text] == []
