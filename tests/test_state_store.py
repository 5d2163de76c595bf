"""Clients' states: those of the rounds before, whatever was killed or taken back since."""

import numpy as np
import pytest

from tff_experiments.clients import state_store

FIRST = {"control": np.zeros(2, np.float32), "rounds": np.int32(0)}


def put(store, round_num, client, value):
    store.begin(round_num)
    store.put(client, [np.full(2, value, np.float32), np.int32(round_num)])


def control(store, round_num, client):
    store.begin(round_num)
    return float(store.get(client)["control"][0])


@pytest.fixture
def store(tmp_path):
    return state_store.StateStore(tmp_path / "states", FIRST)


def test_a_client_that_never_took_part_has_the_first_state_and_no_file(store, tmp_path):
    store.begin(1)
    assert store.get("a") is FIRST and not (tmp_path / "states").exists()


def test_a_state_comes_back_in_a_later_round_bit_for_bit(store):
    put(store, 1, "../a", np.pi)
    store.begin(5)
    state = store.get("../a")
    assert state["control"].tobytes() == np.full(2, np.pi, np.float32).tobytes()
    assert state["rounds"] == 1 and state["rounds"].dtype == np.int32


def test_within_a_round_clients_start_from_the_rounds_before(store):
    put(store, 1, "a", 1.0)
    put(store, 2, "a", 2.0)
    assert control(store, 2, "a") == 1.0 and control(store, 3, "a") == 2.0


def test_what_is_taken_back_is_forgotten(store):
    put(store, 1, "a", 1.0)
    put(store, 2, "a", 2.0)
    store.take_back()
    assert control(store, 3, "a") == 1.0


def test_a_restart_forgets_later_rounds_and_no_earlier_one(tmp_path, store):
    for round_num in (1, 2, 3):
        put(store, round_num, "a", float(round_num))
    again = state_store.StateStore(tmp_path / "states", FIRST)
    again.restart_after(2)
    assert control(again, 9, "a") == 2.0


def test_states_that_an_older_checkpoint_needs_are_kept(tmp_path, store):
    for round_num in (1, 3, 5, 7):
        put(store, round_num, "a", float(round_num))
    put(store, 2, "b", 2.0)
    store.sync()
    store.drop_before(4)
    assert [control(store, r, "a") for r in (5, 6, 9)] == [3.0, 5.0, 7.0]
    assert control(store, 2, "a") == 0.0, "the state of round 1 is needed by no checkpoint"
    assert control(store, 9, "b") == 2.0 and store.clients() == 2


def test_a_damaged_state_is_an_error_not_a_new_start(store, tmp_path):
    put(store, 1, "a", 1.0)
    (path,) = (tmp_path / "states").glob("*/*")
    path.write_bytes(path.read_bytes()[:-1])
    store.begin(2)
    with pytest.raises(ValueError, match="damaged"):
        store.get("a")


def test_the_newest_state_is_that_of_the_last_round_and_none_at_first(store):
    assert store.newest("a") is None
    put(store, 1, "a", 1.0)
    put(store, 2, "a", 2.0)
    assert store.newest("a")["control"][0] == 2.0 and store.newest("b") is None
    store.take_back()
    assert store.newest("a")["control"][0] == 1.0
