"""What does not go together is refused with the way out; what does, passes."""

import itertools
import re
import types

import pytest
from conftest import REPO

from tff_experiments import aggregation, algorithms, compatibility
from tff_experiments.algorithms import ingredients

OK = {
    "algorithm": "a",
    "needs": ingredients.Needs(),
    "aggregator": "g",
    "aggregation": types.SimpleNamespace(SUPPORTS_SECURE_SUM=True, STACKED=False),
    "secure_sum": "secagg",
    "is_secure": True,
    "allow_plain_slots": False,
    "runtime": "local",
    "server_optimizer": "sgd",
}
PLAIN = types.SimpleNamespace(SUPPORTS_SECURE_SUM=False, STACKED=False)
STACKED = types.SimpleNamespace(SUPPORTS_SECURE_SUM=False, STACKED=True)
STATE = ingredients.Needs(client_state=True)
REFUSED = {
    "the algorithm sends in the clear": (
        {"needs": ingredients.Needs(supports_secure_sum=False)},
        "--algorithm=a needs what each client sends in the clear.*use --secure_sum=plain",
    ),
    "stacked": ({"aggregation": STACKED}, "g needs each client's update by itself.*secure_mean"),
    "plain": ({"aggregation": PLAIN}, "g sends each client's update in the clear.*secure_mean"),
    "native state": ({"needs": STATE, "runtime": "native"}, "a keeps a state.*--runtime=local"),
    "native versions": (
        {"needs": ingredients.Needs(cohort="buffered"), "runtime": "native"},
        "which model they start from.*--runtime=local",
    ),
    "an attack on native": (
        {"attack": "nan", "changes_updates": True, "runtime": "native"},
        "--attack_kind=nan changes what clients send, for which --runtime=native has no place",
    ),
    "an attack on what has none": (
        {
            "attack": "scale",
            "changes_updates": True,
            "needs": ingredients.Needs(supports_attacks=False),
        },
        "for which --algorithm=a has no place; use --attack_kind=label_flip",
    ),
    "native evaluation of clients": (
        {"eval_personalized": True, "runtime": "native"},
        "--eval_personalized hands metrics out by client.*use --runtime=local",
    ),
    "dropouts of data in one place": (
        {"needs": ingredients.Needs(cohort="pooled"), "clients_misbehave": True},
        "has all data in one place.*leave these flags out",
    ),
    "clipping of what must be exact": (
        {"needs": ingredients.Needs(exact_mean=True), "lossy": "--g_clipping=off"},
        "a goes wrong for good.*aggregator=g clips; use --g_clipping=off, or --aggregator=mean",
    ),
    "a server's rate where there is no step": (
        {"needs": ingredients.Needs(server_step=False), "steps": True},
        "a has no server optimizer; leave --server_optimizer, --server_learning_rate",
    ),
    "two optimizers": (
        {"needs": ingredients.Needs(is_optimizer=True), "server_optimizer": "adam"},
        "is the server's optimizer itself; leave --server_optimizer=adam out",
    ),
}


def test_what_goes_together_passes():
    compatibility.check(**OK)
    compatibility.check(**OK | {"needs": STATE, "eval_personalized": True})
    compatibility.check(**OK | {"is_secure": False, "aggregation": STACKED})
    compatibility.check(**OK | {"allow_plain_slots": True, "aggregation": PLAIN})


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_is_refused_with_the_way_out(name):
    changes, said = REFUSED[name]
    with pytest.raises(ValueError, match=said):
        compatibility.check(**OK | changes)


def test_flags_that_make_an_aggregator_exact_do_so():
    off = {"secure_mean": False, "clipped_mean": "off"}
    for name, value in off.items():
        module = aggregation.BY_NAME[name]
        assert f"--{name}_clipping=" in module.lossy(module.Hparams())
        assert module.lossy(module.Hparams(clipping=value, zeroing=value)) == ""


def test_the_docs_say_of_each_algorithm_what_it_says_of_itself():
    rows = {}
    for line in (REPO / "docs" / "algorithms.md").read_text().splitlines():
        if line.startswith("| `"):
            _, names, *_, state, secure, _ = (cell.strip() for cell in line.split("|"))
            rows |= {name: (state, secure) for name in re.findall(r"`([a-z_0-9]+)`", names)}
    assert set(rows) == set(algorithms.BY_NAME)
    for name, module in algorithms.BY_NAME.items():
        state, secure = rows[name]
        assert (state == "yes") == module.NEEDS.client_state, name
        assert secure.startswith("yes") == module.NEEDS.supports_secure_sum, name


def test_every_plug_in_says_what_the_checks_read():
    for name, module in algorithms.BY_NAME.items():
        assert isinstance(module.NEEDS, ingredients.Needs), name
    for (name, module), constant in itertools.product(
        aggregation.BY_NAME.items(), ("SUPPORTS_SECURE_SUM", "STACKED", "METRICS_AGGREGATOR")
    ):
        assert hasattr(module, constant), name
