"""The pictures of docs/figures are those that the commands of docs/comparing.md draw."""

import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPO

FIGURES = REPO / "docs" / "figures"
ROW = re.compile(r"\| \[(\w+\.svg)\]\(figures/\1\).* \| `\.venv/bin/python (.*)` \|")
COMMANDS = dict(ROW.findall((REPO / "docs" / "comparing.md").read_text()))
# Identifiers are digests of what they name, which may differ in its last digits.
IDENTIFIER = re.compile(r"(?<=[\"#])[mp][0-9a-f]{10}")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def parts(svg):
    text = IDENTIFIER.sub("", svg)
    return NUMBER.sub("", text), np.array(NUMBER.findall(text), np.float64)


def test_every_figure_has_its_command():
    assert sorted(COMMANDS) == sorted(path.name for path in FIGURES.iterdir())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_figure_is_what_its_command_draws(name, tmp_path):
    command = [sys.executable, *shlex.split(COMMANDS[name]), f"--output_dir={tmp_path}"]
    subprocess.run(command, cwd=REPO, check=True, capture_output=True, timeout=120)
    words, numbers = parts((FIGURES / name).read_text())
    words_now, numbers_now = parts((tmp_path / "curves.svg").read_text())
    assert words == words_now
    # Points of 1/72 inch: another processor may round the means otherwise.
    np.testing.assert_allclose(numbers, numbers_now, rtol=0, atol=0.01)
