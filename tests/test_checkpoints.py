"""Checkpoints: bits come back, damage is seen, the one before is used."""

import collections
import concurrent.futures
import gc
import sys

import numpy as np
import pytest

from tff_experiments import checkpoints

STATE = collections.OrderedDict(
    weights=[np.float32([[1, np.pi]]), np.arange(5)], step=np.int64(3), empty=()
)
OTHER = collections.OrderedDict(
    weights=[np.zeros((1, 2)), np.arange(5)], step=np.int64(0), empty=()
)


def test_a_state_comes_back_bit_for_bit(tmp_path):
    checkpoints.save(tmp_path, 7, STATE)
    round_num, state = checkpoints.load_latest(tmp_path, STATE)
    assert round_num == 7 and list(state) == list(STATE)
    assert state["weights"][0].tobytes() == STATE["weights"][0].tobytes()
    assert state["weights"][0].dtype == np.float32 and state["step"] == 3


def test_the_last_two_are_kept(tmp_path):
    for round_num in (5, 10, 15):
        checkpoints.save(tmp_path, round_num, STATE)
    assert checkpoints.rounds(tmp_path) == [10, 15]


def test_without_a_checkpoint_the_initial_state_is_the_latest(tmp_path):
    assert checkpoints.load_latest(tmp_path / "none", STATE) == (0, STATE)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, damage, caplog):
    for round_num in (10, 20):
        checkpoints.save(tmp_path, round_num, STATE)
    path = tmp_path / "round_00000020.ckpt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    content = {"cut": content[: len(content) // 2], "flip": content, "empty": b""}[damage]
    path.write_bytes(bytes(content))
    assert checkpoints.load_latest(tmp_path, STATE)[0] == 10
    assert "round_00000020.ckpt is damaged" in caplog.text


def test_when_all_are_damaged_nothing_is_overwritten_silently(tmp_path):
    checkpoints.save(tmp_path, 10, STATE)
    (tmp_path / "round_00000010.ckpt").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"no checkpoint in .* can be read"):
        checkpoints.load_latest(tmp_path, STATE)


def test_a_state_of_another_type_is_refused(tmp_path):
    checkpoints.save(tmp_path, 10, STATE)
    with pytest.raises(ValueError, match="of another model or algorithm"):
        checkpoints.load(tmp_path, 10, OTHER)


class _Garbage:
    """A cycle whose collection runs Python, where threads may change."""

    def __init__(self):
        self.itself = self

    def __del__(self):
        sum(range(50))


def test_threads_read_states_at_the_same_time(tmp_path):
    path = tmp_path / "some.state"
    state = [np.full(2, i, np.float32) for i in range(4)]
    checkpoints.write(path, state)

    def read(_):
        _Garbage()
        return checkpoints.read(path, state)

    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    try:
        # Without a lock some 50 of 2,000 reads failed so.
        gc.set_threshold(20)
        sys.setswitchinterval(1e-6)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for found in pool.map(read, range(2000)):
                np.testing.assert_array_equal(found, state)
    finally:
        gc.set_threshold(*threshold)
        sys.setswitchinterval(interval)
