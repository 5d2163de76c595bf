"""Who drops out of a round is a function of (seed, round, client)."""

import collections

import pytest

from tff_experiments.clients import dropouts
from tff_experiments.secure_sum import stages

CLIENTS = [f"writer_{i}" for i in range(4000)]


def draw_all(rate, stage, *, seed=0, round_num=1, clients=CLIENTS):
    hparams = dropouts.Hparams(rate=rate, stage=stage)
    draw = lambda name: dropouts.draw(hparams, name, seed=seed, round_num=round_num)
    return {name: draw(name) for name in clients}


def test_a_client_drops_the_same_way_whoever_else_is_there():
    whole = draw_all(0.3, "mix")
    some = draw_all(0.3, "mix", clients=CLIENTS[::-7])
    assert some == {name: whole[name] for name in some}
    assert whole != draw_all(0.3, "mix", round_num=2)
    assert whole != draw_all(0.3, "mix", seed=1)


def test_the_rate_is_that_of_the_flag():
    """4,000 draws: 3 % off is a 4 sigma event."""
    for rate in (0.1, 0.5):
        found = sum(map(bool, draw_all(rate, "before_upload").values())) / len(CLIENTS)
        assert abs(found - rate) < 0.03
    assert not any(draw_all(0.0, "mix").values())
    assert all(draw_all(1.0, "mix").values())


def test_a_mix_has_all_stages_in_equal_parts():
    """800 of each are expected; 100 off is a 4 sigma event."""
    found = collections.Counter(draw_all(1.0, "mix").values())
    assert set(found) == set(stages.STAGES)
    assert all(abs(count - 800) < 100 for count in found.values())
    assert set(draw_all(1.0, "before_unmasking").values()) == {"before_unmasking"}


def test_a_higher_rate_drops_the_same_clients_and_more():
    """A comparison of rates has common random numbers."""
    few, many = (draw_all(rate, "mix") for rate in (0.1, 0.4))
    assert all(many[name] == stage for name, stage in few.items() if stage)


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_out_of_range_is_refused(rate):
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\]"):
        dropouts.Hparams(rate=rate)


def test_an_unknown_stage_is_named():
    with pytest.raises(ValueError, match=r"drops at one of .* got 'lunch'"):
        stages.first_missing("lunch")
