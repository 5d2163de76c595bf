"""Imports point one way: the table of the design, held."""

import ast

import pytest
from conftest import REPO

PACKAGE = REPO / "tff_experiments"
# What a room or module may import of ours, beside itself.
MAY = {
    "about": {"datasets"},
    "aggregation": {"privacy", "private_noise"},
    "analytics": {
        "aggregation",
        "clients",
        "datasets",
        "privacy",
        "private_noise",
        "runtime",
        "sampling",
        "secure_sum",
        "spending",
    },
    "algorithms": set(),
    "auditing": {"algorithms", "clients", "privacy"},
    "benchmarks": {
        "aggregation",
        "algorithms",
        "datasets",
        "privacy",
        "records",
        "runtime",
        "sampling",
        "secure_sum",
        "tasks",
    },
    "checkpoints": {"whole_files"},
    "cohorts": {"clients", "datasets", "runtime", "sampling", "tasks"},
    "command_line": set(),
    "compatibility": set(),
    "clients": {"checkpoints", "sampling", "secure_sum"},
    "datasets": set(),
    "evaluation": {"datasets", "tasks"},
    "experiment": {
        "aggregation",
        "algorithms",
        "auditing",
        "clients",
        "compatibility",
        "datasets",
        "flags",
        "runtime",
        "secure_sum",
        "spending",
        "tasks",
        "tracing",
        "training",
    },
    "flags": {"datasets", "plugins"},
    "goals": set(),
    "plugins": set(),
    "personal_evaluation": {
        "clients",
        "datasets",
        "evaluation",
        "runtime",
        "sampling",
        "tasks",
    },
    "privacy": set(),
    "progress": set(),
    "private_noise": set(),
    "quiet": set(),
    "records": {"whole_files"},
    "reporting": set(),
    # What computes a number imports its room where it is asked.
    "reproduction": {"benchmarks", "privacy", "reporting", "sweeps"},
    "runtime": {"datasets", "private_noise", "secure_sum"},
    "sampling": set(),
    "secure_sum": set(),
    "spending": {"privacy", "whole_files"},
    "sweeps": {"command_line", "reporting", "whole_files"},
    "tasks": {"datasets"},
    "tracing": set(),
    "training": {
        "auditing",
        "checkpoints",
        "clients",
        "cohorts",
        "datasets",
        "goals",
        "personal_evaluation",
        "records",
        "runtime",
        "sampling",
        "spending",
        "tasks",
        "training_rounds",
    },
    "training_rounds": {
        "auditing",
        "clients",
        "cohorts",
        "datasets",
        "evaluation",
        "goals",
        "personal_evaluation",
        "runtime",
        "secure_sum",
        "spending",
        "tasks",
    },
    "whole_files": set(),
}
NO_TENSORFLOW = (
    *(
        f"{room}/{path.name}"
        for room in ("privacy", "reporting", "reproduction", "secure_sum", "sweeps")
        for path in (PACKAGE / room).glob("*.py")
    ),
    "sampling.py",
    "datasets/federated_data.py",
    "datasets/partition.py",
)
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.parent != REPO)


def imported(path):
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_imports_what_the_table_allows(path):
    room = path.parts[0].removesuffix(".py")
    if room == "__init__":
        return
    ours = {name.split(".")[1] for name in imported(path) if name.startswith("tff_experiments.")}
    assert ours - {room} <= MAY[room]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_only_flags_and_the_command_line_know_absl_flags(path):
    assert str(path) in ("flags.py", "command_line.py") or "absl.flags" not in set(imported(path))


@pytest.mark.parametrize("path", NO_TENSORFLOW)
def test_what_needs_no_tensorflow_has_none(path):
    assert not [name for name in imported(path) if name.startswith("tensorflow")]


def test_no_file_is_deeper_than_package_room_file():
    assert max(len(path.parts) for path in FILES) == 2
