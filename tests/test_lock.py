"""The lock is the one that requirements.in and the overrides give, and it is complete."""

import hashlib
import importlib.metadata
import re
import sys

import pytest
from conftest import REPO
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = {
    "requirements.txt": ("requirements.in", "requirements.override"),
    "requirements-openfhe.txt": ("requirements-openfhe.in",),
    "requirements-ray.txt": ("requirements-ray.in", "requirements.override"),
}


def pins(name, python=f"{sys.version_info[0]}.{sys.version_info[1]}"):
    """{package: version} of a lock for a Python version, as pip evaluates markers."""
    found = {}
    for line in re.findall(r"^([\w.-]+==[^\\\n]+)", (REPO / name).read_text(), re.MULTILINE):
        pin = Requirement(line)
        setting = {"python_version": python, "python_full_version": f"{python}.9"}
        if not pin.marker or pin.marker.evaluate(setting):
            assert pin.name not in found, f"{pin.name} has two versions for Python {python}"
            found[pin.name] = str(pin.specifier).removeprefix("==")
    return found


PINS = pins("requirements.txt")
OVERRIDES = {
    Requirement(line).name
    for line in (REPO / "requirements.override").read_text().splitlines()
    if line and not line.startswith("#")
}


def requirements(name):
    lines = (REPO / name).read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_was_made_from_these_inputs(lock):
    inputs = b"".join((REPO / name).read_bytes() for name in LOCKS[lock])
    wanted = f"# inputs: {hashlib.sha256(inputs).hexdigest()}"
    assert wanted in (REPO / lock).read_text(), "run scripts/lock.sh"


@pytest.mark.parametrize("python", ["3.10", "3.11"])
@pytest.mark.parametrize("name", ["requirements.in", "requirements.override"])
def test_lock_serves_what_is_asked_for(name, python):
    found = pins("requirements.txt", python)
    for requirement in requirements(name):
        if not requirement.marker or requirement.marker.evaluate({"python_version": python}):
            assert requirement.specifier.contains(found[canonicalize_name(requirement.name)])


def test_the_extra_has_the_versions_of_the_lock_for_its_python():
    """So that it can be installed on top, as scripts/setup.sh --python=3.10 does."""
    extra, lock = pins("requirements-openfhe.txt", "3.10"), pins("requirements.txt", "3.10")
    assert extra["openfhe"].endswith(".22.4")  # The build for Python 3.10.
    assert [name for name in extra if lock.get(name, extra[name]) != extra[name]] == []
    # With these a client's masks are made; an older one lacks `encrypt_into`.
    assert extra["cryptography"] == pins("requirements.txt", "3.11")["cryptography"]


@pytest.mark.parametrize("python", ["3.10", "3.11"])
def test_ray_has_the_versions_of_the_lock(python):
    """So that it can be installed on top, as scripts/setup.sh --ray does, and changes nothing."""
    extra, lock = pins("requirements-ray.txt", python), pins("requirements.txt", python)
    assert "ray" in extra and "ray" not in lock
    assert [name for name in extra if lock.get(name, extra[name]) != extra[name]] == []


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


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_registry(lock):
    assert "http" not in (REPO / lock).read_text()
