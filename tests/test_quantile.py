"""Quantiles against Andrew et al.'s recursion in float64, and against TFF's."""

import numpy as np
import pytest
import tensorflow_federated as tff
from analytics_helpers import SECAGG, ask, numbers, prepare

from tff_experiments import runtime
from tff_experiments.privacy import plan

HELD = numbers([1, 7], [2.5], [], [4, 4, 9], [6])


def recursion(held, levels, *, steps, update, rate, decay, first, arrivals, leaving=()):
    """The module's equations."""
    c = np.full(len(levels), first)
    there = [x for i, x in enumerate(held.numbers) if i not in leaving]
    for t in range(1, steps + 1):
        bits = [(x[:, None] <= c).mean(0) - 0.5 for x in there if len(x)]
        off = rate * t**-decay * (np.sum(bits, 0) / arrivals + 0.5 - np.array(levels))
        c = c * np.exp(-off) if update == "geometric" else c - held.upper * off
        c = np.clip(c, 0, held.upper)
    return c


@pytest.mark.parametrize("update", ["linear", "geometric"])
def test_estimates_are_those_of_the_recursion(update):
    knobs = {"steps": 6, "update": update, "rate": 0.3, "decay": 0.5, "first": 3.0}
    answer = ask(prepare("quantile", HELD, {"quantiles": "0.2,0.7", **knobs})).answer
    expected = recursion(HELD, [0.2, 0.7], arrivals=5, **knobs)
    # Fractions are cut to multiples of 2^-20.
    np.testing.assert_allclose(answer.estimates, expected, atol=1e-4)


def test_under_secagg_the_recursion_goes_on_with_those_who_stay(monkeypatch):
    knobs = {"steps": 3, "update": "linear", "rate": 0.3, "decay": 0.0, "first": 3.0}
    made = prepare("quantile", HELD, {"quantiles": "0.5", **knobs}, {"expected_dropout": 0.2})
    result = ask(made, monkeypatch, protocol=SECAGG, leaving=(3,))
    expected = recursion(HELD, [0.5], arrivals=4, leaving=(3,), **knobs)
    np.testing.assert_allclose(result.answer.estimates, expected, atol=1e-4)


def test_one_number_a_client_without_decay_is_tffs_process():
    held = numbers([1.0], [2.0], [3.0], [8.0])
    knobs = {"steps": 4, "update": "geometric", "rate": 0.2, "decay": 0.0, "first": 1.0}
    ours = ask(prepare("quantile", held, {"quantiles": "0.6", **knobs})).answer.estimates
    theirs = tff.aggregators.PrivateQuantileEstimationProcess.no_noise(1.0, 0.6, 0.2)
    process = tff.templates.IterativeProcess(
        theirs.initialize,
        tff.federated_computation(
            lambda state, value: (theirs.next(state, value), tff.federated_value((), tff.SERVER)),
            theirs.initialize.type_signature.result,
            tff.FederatedType(np.float32, tff.CLIENTS),
        ),
    )
    with runtime.use():
        state = process.initialize()
        for _ in range(4):
            state, _ = process.next(state, [np.float32(x[0]) for x in held.numbers])
    np.testing.assert_allclose(ours, state[0].current_estimate, rtol=1e-5)


def test_the_truth_weighs_every_client_the_same():
    held = numbers([1.0] * 100, [2.0], [3.0])
    answer = ask(prepare("quantile", held, {"quantiles": "0.5,0.9", "steps": 1})).answer
    np.testing.assert_array_equal(answer.truth, [2, 3])


def test_noise_is_for_all_quantiles_together_and_epsilon_the_privacy_rooms():
    held = numbers(*([5.0] for _ in range(100)))
    levels = ",".join(["0.5"] * 1600)
    # One small step from the numbers' own value: estimates show the noise and nothing is cut.
    own = {"quantiles": levels, "steps": 1, "rate": 0.01, "first": 4.0}
    made = prepare("quantile", held, own, {"mechanism": "gaussian", "noise_multiplier": 0.5})
    result = ask(made, seed_noise=3)
    # Nobody is below 4: b is 0 and noise cuts at 0, so the half above shows.
    moved = (4.0 - result.answer.estimates) / (10.0 * 0.01) + 0.5
    noise = moved[moved > 1e-9]
    stddev = 0.5 * np.sqrt(1600) / 2 / 100
    # The root mean square of 800 halves of a Gaussian is off by 2.5 %.
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(stddev, rel=0.12)
    assert len(noise) == pytest.approx(800, abs=100)
    expected = plan.answer(
        plan.Hparams(
            num_clients=100,
            clients_per_round=100,
            rounds=1,
            noise_multiplier=0.5,
            client_sampling="round_robin",
        )
    )
    assert result.metrics[0]["privacy/epsilon"] == expected.actual


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"quantiles": "0.5,2"}, "numbers in 0 .. 1, got '0.5,2'"),
        ({"quantiles": "half"}, "got 'half'"),
        ({"steps": 0}, "steps must be >= 1"),
        ({"first": 11.0}, "first must be within"),
        ({"update": "geometric", "first": 0.0}, "for numbers > 0"),
    ],
)
def test_what_can_not_be_asked_is_refused(own, said):
    with pytest.raises(ValueError, match=said):
        prepare("quantile", HELD, own)
