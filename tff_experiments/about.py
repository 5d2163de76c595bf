"""What a run was: command, commit, packages, data."""

import importlib.metadata
import pathlib
import platform
import shlex
import subprocess
from typing import Any

from tff_experiments.datasets import federated_data

PACKAGES = ("tensorflow", "tensorflow-federated", "numpy")


def run(argv: list[str], data: federated_data.FederatedData) -> dict[str, Any]:
    """What run.json holds."""
    return {
        "command": shlex.join(["python", *argv]),
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "data": data.label,
    }


def _commit() -> str:
    """The repo's commit, with "+" where the tree has changes; "unknown" outside of git."""
    repo = pathlib.Path(__file__).resolve().parents[1]
    try:
        command = ["git", "-C", str(repo), "describe", "--always", "--abbrev=12", "--dirty=+"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
