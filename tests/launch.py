"""Starts scripts from a process that has imported TensorFlow already: 4 s of CPU less each.

What it can't show: that a script imports in the right order, and quietly, and what variables that
TensorFlow reads as it is imported do. Two scripts also have the seed of Python's hashes in common.
So one test of each script starts it `fresh`, as a user does, and so is one of two runs started
that should have the same bits.
"""

import ctypes
import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

SERVER = pathlib.Path(__file__).with_name("launch_server.py")
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None)


@functools.cache
def _server() -> tuple[socket.socket, subprocess.Popen]:
    """The server of this process, and the socket at whose end it ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, str(SERVER), str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    assert ours.recv(100) == b"ready", "the server of scripts did not start"
    return ours, process


def _fork(request: dict, fds: list[int]) -> int:
    """Has the server fork; returns the id of the script's process, a child of this one."""
    control, _ = _server()
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        socket.send_fds(control, [json.dumps(request).encode()], fds)
        pid = int(control.recv(100))
        assert control.recv(100) == b"it is yours"
    finally:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 0)
    return pid


class Forked(subprocess.Popen):
    """`subprocess.Popen` for [sys.executable, script, ...], forked from the server."""

    def _execute_child(
        self, args, executable, preexec_fn, close_fds, pass_fds, cwd, env, startupinfo,
        creationflags, shell, *rest,
    ):  # fmt: skip
        python, *argv = map(str, args)
        if python != sys.executable or executable or preexec_fn or pass_fds or shell:
            raise ValueError("only scripts can be forked, and only as they are")
        pipes = rest[:6]
        (stdin, _, _, stdout, _, stderr) = pipes
        request = {
            "argv": argv,
            "cwd": str(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
        }
        given = (stdin, stdout, stderr)
        fds = [number if fd == -1 else fd for number, fd in enumerate(given)]
        try:
            self.pid = _fork(request, fds)
            self._child_created = True
        finally:
            self._close_pipe_fds(*pipes)


def _as_a_user(command, **kwargs) -> subprocess.Popen:
    # A shell starts background jobs with SIGINT ignored, and children inherit that.
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(command, preexec_fn=heed, **kwargs)


def run(command, *, fresh=False, timeout=120, **kwargs) -> subprocess.CompletedProcess:
    """`subprocess.run` with what the script says captured as text; `fresh` starts it as a user."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    popen = _as_a_user if fresh else Forked
    with popen(command, **pipes, **kwargs) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
