"""Plug-ins in files of one's own: loaded from anywhere, refused in one line."""

import types

import pytest

from tff_experiments import plugins

GOOD = """
import dataclasses
ROOM = 'task'
NEEDS = 7
@dataclasses.dataclass(frozen=True)
class Hparams: pass
def build(): return 7
"""


def load(tmp_path, text, name="mine.py"):
    taken, other = types.SimpleNamespace(NEEDS=1, OWN=2), types.SimpleNamespace(NEEDS=3)
    rooms = {"task": {"taken": taken, "other": other}, "algorithm": {}}
    (tmp_path / name).write_text(text)
    plugins.load([str(tmp_path / name)], rooms)
    return rooms


def test_a_file_becomes_an_entry_of_its_room(tmp_path):
    assert load(tmp_path, GOOD)["task"]["mine"].build() == 7


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (GOOD.replace("task", "kitchen"), "mine.py", "ROOM must be one of .*got 'kitchen'"),
        ("ROOM = 'task'", "mine.py", "lacks Hparams, build, NEEDS"),
        (GOOD.replace("NEEDS", "NEED"), "mine.py", "lacks NEEDS.$"),
        (GOOD.replace("@", "# @"), "mine.py", "Hparams must be a frozen dataclass"),
        (GOOD, "taken.py", "there is task taken already; rename the file"),
        ("import nothing_like_it", "mine.py", "can't be run: ModuleNotFoundError"),
        (GOOD, "mine.txt", "is not a Python file"),
    ],
)
def test_what_is_no_plug_in_is_refused(tmp_path, text, name, said):
    with pytest.raises(ValueError, match=said):
        load(tmp_path, text, name)
