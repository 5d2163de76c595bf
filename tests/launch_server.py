"""What `launch` forks scripts from: a process that has imported TensorFlow and TFF, and nothing of
this repository.

It opens no session before it forks; the child goes on as the interpreter that a user would start.
"""

import atexit
import gc
import json
import os
import pathlib
import signal
import socket
import sys
import types

import tensorflow_federated as tff
from tensorflow_federated.python.core.impl.context_stack import set_default_context


def wait_for_a_script(control: socket.socket) -> tuple[dict, list[int]]:
    """Forks for each request; returns only in the child, which is to become the script.

    The child of a child that ends falls to the tests' process, which has asked for orphans.
    """
    while True:
        message, fds, _, _ = socket.recv_fds(control, 2**20, 3)
        if not message:
            os._exit(0)  # The tests have ended.
        middle = os.fork()
        if not middle:
            pid = os.fork()
            if not pid:
                return json.loads(message), fds
            control.send(str(pid).encode())
            os._exit(0)
        os.waitpid(middle, 0)
        control.send(b"it is yours")
        for fd in fds:
            os.close(fd)


def become(argv: list[str], cwd: str, env: dict[str, str], fds: list[int]) -> None:
    """Gives this process what Popen would have given it."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # As TFF does when it is imported; it starts a thread, which a fork would not have taken along.
    tff.backends.native.set_sync_local_cpp_execution_context()
    atexit.register(set_default_context.set_no_default_context)
    sys.argv = argv
    sys.path[0] = os.path.dirname(os.path.abspath(argv[0]))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which then end.
    # Children have a default context of their own, and collect nothing that was imported here.
    set_default_context.set_no_default_context()
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        control.send(b"ready")
        request, fds = wait_for_a_script(control)
    become(**request, fds=fds)
    path = os.path.abspath(sys.argv[0])
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__file__ = path
    exec(compile(pathlib.Path(path).read_bytes(), path, "exec"), main.__dict__)
