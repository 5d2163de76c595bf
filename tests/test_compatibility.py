"""What does not go together is refused with the way out; what does, passes."""

import itertools
import types

import pytest

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


def test_every_plug_in_says_what_the_checks_read():
    for name, module in algorithms.BY_NAME.items():
        assert isinstance(module.NEEDS, ingredients.Needs), name
    for (name, module), constant in itertools.product(
        aggregation.BY_NAME.items(), ("SUPPORTS_SECURE_SUM", "STACKED", "METRICS_AGGREGATOR")
    ):
        assert hasattr(module, constant), name
