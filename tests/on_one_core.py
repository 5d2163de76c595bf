"""Runs a script on one core of those that there are: on_one_core.py SCRIPT ARGUMENTS."""

import os
import runpy
import sys

if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
