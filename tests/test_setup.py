"""scripts/setup.sh stops with one clear line where TFF can't be installed."""

import hashlib
import os
import shutil
import subprocess

import pytest
from conftest import REPO


@pytest.fixture
def fresh(tmp_path):
    """A checkout without .venv, and a PATH that begins with tools of ours."""
    repo = tmp_path / "repo"
    (repo / "scripts").mkdir(parents=True)
    shutil.copy(REPO / "scripts" / "setup.sh", repo / "scripts")
    for name in ("requirements.txt", "requirements-openfhe.txt", "requirements-ray.txt"):
        shutil.copy(REPO / name, repo)
    tools = tmp_path / "tools"
    tools.mkdir()
    return repo, tools


def fake(tools, name, script):
    path = tools / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def environment(repo, tools):
    env = {**os.environ, "PATH": f"{tools}:/usr/bin:/bin", "HOME": str(repo)}
    env.pop("PYENV_ROOT", None)
    return env


def run(fresh, *arguments):
    repo, tools = fresh
    env = environment(repo, tools)
    done = subprocess.run(
        ["sh", "scripts/setup.sh", *arguments],
        cwd=repo,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "installing the packages" not in line]
    return line


def no_python(tools):
    for name in ("python3.10", "python3.11", "python3", "python"):
        fake(tools, name, "echo Python 3.13.0; [ $1 = --version ]")


def python_whose_pip_says(tools, words, name="python3.11"):
    """A Python that makes a .venv in which pip fails."""
    pip = f'echo "{words}" >&2; exit 1'
    fake(
        tools,
        name,
        'case "$1" in -c) exit 0 ;; -m) mkdir -p .venv/bin; '
        f"printf '#!/bin/sh\\n{pip}\\n' >.venv/bin/pip; chmod +x .venv/bin/pip ;; esac",
    )


def test_another_platform_is_refused(fresh):
    fake(fresh[1], "uname", 'case "$1" in -s) echo Darwin ;; *) echo arm64 ;; esac')
    assert "Linux x86-64 only, this is Darwin arm64" in run(fresh)


def test_an_old_glibc_is_refused(fresh):
    fake(fresh[1], "getconf", "echo glibc 2.28")
    assert "needs glibc 2.31 or newer, this system has '2.28'" in run(fresh)


def test_a_full_disk_is_refused_before_anything_is_installed(fresh):
    fake(fresh[1], "df", "printf 'a b c d e f\\n/dev/x 9 9 1500000 99%% /\\n'")
    assert "need 4 GB of disk, 1 GB are free" in run(fresh)
    assert not (fresh[0] / ".venv").exists()


@pytest.mark.parametrize("version", ["3.10", "3.11"])
def test_a_python_that_tff_can_not_use_is_refused_with_the_way_out(fresh, version):
    no_python(fresh[1])
    line = run(fresh, f"--python={version}")
    assert f"Python {version} with venv is needed" in line and "or uv, which fetches it" in line


@pytest.mark.parametrize("arguments", [(), ("--python=3.11",)])
def test_an_environment_that_is_up_to_date_keeps_its_python(fresh, arguments):
    repo, tools = fresh
    no_python(tools)
    locks = [
        (repo / name).read_bytes() for name in ("requirements.txt", "requirements-openfhe.txt")
    ]
    (repo / ".venv").mkdir()
    installed = hashlib.sha256(b"".join(locks)).hexdigest() + " 3.10\n"
    (repo / ".venv" / "installed").write_text(installed)
    if arguments:
        assert "Python 3.11 with venv is needed" in run(fresh, *arguments)
        return
    env = environment(repo, tools)
    done = subprocess.run(["sh", "scripts/setup.sh"], cwd=repo, env=env, timeout=60)
    assert done.returncode == 0
    assert (repo / ".venv" / "installed").read_text() == installed


def test_a_python_of_pyenv_is_found(fresh):
    repo, tools = fresh
    no_python(tools)
    python = repo / ".pyenv" / "versions" / "3.10.7" / "bin"
    python.mkdir(parents=True)
    python_whose_pip_says(python, "ERROR: it was found", "python")
    assert "pip failed: ERROR: it was found" in run(fresh, "--python=3.10")


def test_another_python_is_refused(fresh):
    assert "the only options are --python=3.10 or --python=3.11" in run(fresh, "--python=3.12")


def test_ray_is_added_to_an_environment_that_is_there_and_stays(fresh):
    repo, tools = fresh
    no_python(tools)
    digest = lambda name: hashlib.sha256((repo / name).read_bytes()).hexdigest()
    (repo / ".venv" / "bin").mkdir(parents=True)
    (repo / ".venv" / "installed").write_text(f"{digest('requirements.txt')} 3.11\n")
    fake(repo / ".venv" / "bin", "pip", 'echo "$@" >>pip_was_called')
    env = environment(repo, tools)
    start = lambda *options: subprocess.run(
        ["sh", "scripts/setup.sh", *options], cwd=repo, env=env, timeout=60, check=True
    )
    start()
    assert not (repo / "pip_was_called").exists()
    start("--ray")
    (call,) = (repo / "pip_was_called").read_text().splitlines()
    assert call.endswith("--no-deps -r requirements-ray.txt")
    installed = (repo / ".venv" / "installed").read_text()
    assert installed.split()[1:] == ["3.11", "ray", digest("requirements-ray.txt")]
    start("--ray")
    start()
    assert len((repo / "pip_was_called").read_text().splitlines()) == 1
    (repo / "requirements-ray.txt").write_text("ray==0\n")
    start()
    assert len((repo / "pip_was_called").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("Temporary failure in name resolution", "package index can't be reached"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: something else", "pip failed: ERROR: something else"),
    ],
)
def test_what_pip_stumbles_over_is_said_in_one_line(fresh, words, message):
    python_whose_pip_says(fresh[1], words)
    assert message in run(fresh)
