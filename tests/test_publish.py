"""scripts/publish.py: what the files are called."""

import importlib.util
import pathlib

from conftest import REPO


def test_runs_of_a_search_are_told_apart_by_their_settings():
    spec = importlib.util.spec_from_file_location("publish", REPO / "scripts" / "publish.py")
    publish = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(publish)
    paths = lambda *names: [pathlib.Path("runs", name) for name in names]
    assert publish.file_names(paths("a/seed_0", "a/seed_1")) == ["seed_0", "seed_1"]
    told = publish.file_names(paths("rate=0.1/seed_0", "rate=0.3/seed_0"))
    assert told == ["rate=0.1,seed_0", "rate=0.3,seed_0"]
