"""What a search tries."""

import itertools

import numpy as np
import pytest

from tff_experiments.sweeps import space


def test_a_grid_is_every_combination():
    axes = space.parse(["a=1,2 b=x,y", "--c=3"])
    expected = itertools.product("12", "xy", "3")
    assert [tuple(setting.values()) for setting in space.grid(axes)] == list(expected)
    assert space.grid([]) == [{}]


def test_draws_are_in_their_ranges_differ_and_begin_the_same():
    axes = space.parse(["lr=log:0.001:1 m=uniform:0:0.9 e=int:1:5 opt=sgd,adam"])
    many = space.sample(axes, 400, seed=3)
    assert many[:10] == space.sample(axes, 10, seed=3) != space.sample(axes, 10, seed=4)
    assert len({tuple(setting.values()) for setting in many}) == 400
    rates = np.array([float(setting["lr"]) for setting in many])
    assert rates.min() >= 0.001 and rates.max() <= 1
    # Half of log-uniform draws are below the geometric mean; 60 off is a 6 sigma event.
    assert abs((rates < 0.001**0.5).sum() - 200) < 60
    assert {setting["e"] for setting in many} == set("12345")
    assert {setting["opt"] for setting in many} == {"sgd", "adam"}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["lr"], "name=value,value"),
        (["=1"], "name=value,value"),
        (["lr=,"], "name=value,value"),
        (["lr=log:1"], "a range is log:low:high"),
        (["lr=log:a:b"], "a range is log:low:high"),
        (["lr=log:0:1"], "0 < low < high"),
        (["lr=uniform:2:1"], "low < high"),
        (["lr=1 lr=2"], "names lr twice"),
    ],
)
def test_what_can_t_be_read_is_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        space.parse(texts)


def test_a_grid_has_no_ranges_and_samples_are_no_more_than_there_are():
    with pytest.raises(ValueError, match="lr is a range; random search needs --samples"):
        space.grid(space.parse(["lr=log:0.1:1"]))
    with pytest.raises(ValueError, match="there are only 6 combinations"):
        space.sample(space.parse(["a=1,2,3 b=1,2"]), 7, seed=0)


def test_names_are_folders_and_different_for_different_settings():
    assert (
        space.name_of({"client_learning_rate": "0.1", "b": "x"}) == "client_learning_rate=0.1,b=x"
    )
    odd = {"/": "..", "a": "b/c d"}, {"/": "..", "a": "b_c d"}
    names = [space.name_of(setting) for setting in odd]
    assert len(set(names)) == 2 and not any("/" in name or " " in name for name in names)
    assert space.name_of({}) == "default"
