"""The lock is the one that requirements.in and the overrides give, and it is complete."""

import hashlib
import importlib.metadata
import re

import pytest
from conftest import REPO
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = (REPO / "requirements.txt").read_text()
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE))
OVERRIDES = {
    Requirement(line).name
    for line in (REPO / "requirements.override").read_text().splitlines()
    if line and not line.startswith("#")
}


def requirements(name):
    lines = (REPO / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_lock_was_made_from_these_inputs():
    inputs = b"".join(
        (REPO / name).read_bytes() for name in ("requirements.in", "requirements.override")
    )
    assert f"# inputs: {hashlib.sha256(inputs).hexdigest()}" in LOCK, "run scripts/lock.sh"


@pytest.mark.parametrize("name", ["requirements.in", "requirements.override"])
def test_lock_serves_what_is_asked_for(name):
    for requirement in requirements(name):
        assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("name", sorted(PINS))
def test_lock_is_complete_and_installed(name):
    assert importlib.metadata.version(name) == PINS[name]
    for text in importlib.metadata.requires(name) or []:
        needed = Requirement(text)
        if needed.name in OVERRIDES or (
            needed.marker and not needed.marker.evaluate({"extra": ""})
        ):
            continue
        assert needed.specifier.contains(PINS[canonicalize_name(needed.name)], prereleases=True), (
            text
        )


def test_lock_names_no_registry():
    assert "http" not in LOCK
