"""A script that is forked from the launch server is as one that a user starts."""

import os
import signal
import subprocess
import sys

import launch
import pytest

ENDINGS = {
    "nothing": "",
    "code": "sys.exit(3)",
    "words": "sys.exit('wrong')",
    "error": "raise ValueError('wrong')",
    "interrupt": "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
    "ignored": "signal.signal(signal.SIGINT, signal.SIG_IGN); os.kill(os.getpid(), signal.SIGINT)",
    "terminated": "os.kill(os.getpid(), signal.SIGTERM)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "at_exit": "atexit.register(print, 'the end')",
    "thread": "threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()",
}
SCRIPT = """
import atexit, os, signal, sys, threading, time
print(__name__, __file__, sys.argv, sys.path[0], os.getcwd(), os.environ["OWN"], len(os.environ))
print(sys.stdin.read(), flush=True)
print("to stderr", file=sys.stderr)
"""


@pytest.mark.parametrize("ending", ENDINGS)
def test_it_is_given_and_gives_back_the_same(ending, tmp_path):
    (tmp_path / "script.py").write_text(f"{SCRIPT}{ENDINGS[ending]}\n")
    command = [sys.executable, f"{tmp_path.name}/script.py", "--flag", "a b"]
    env = {**os.environ, "OWN": "é", "OPENBLAS_NUM_THREADS": "1"}
    forked, fresh = (
        launch.run(command, fresh=fresh, cwd=tmp_path.parent, env=env, stdin=subprocess.DEVNULL)
        for fresh in (False, True)
    )
    assert forked.returncode == fresh.returncode and forked.stdout == fresh.stdout
    assert forked.stderr.splitlines()[0] == "to stderr"
    assert forked.stderr.splitlines()[-1:] == fresh.stderr.splitlines()[-1:]


def test_it_starts_with_tensorflow_and_nothing_of_ours(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import sys; print('tensorflow' in sys.modules, *sys.modules)")
    imported, *names = launch.run([sys.executable, script]).stdout.split()
    assert imported == "True" and not any(name.startswith("tff_experiments") for name in names)


def test_it_can_be_ended_and_waited_for(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("import time; print('here', flush=True); time.sleep(60)")
    with launch.Forked([sys.executable, script], stdout=subprocess.PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        assert process.poll() is None and process.stdout.readline() == b"here\n"
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM


def test_what_is_no_script_is_refused():
    with pytest.raises(ValueError, match="only scripts"):
        launch.run(["ls"])
