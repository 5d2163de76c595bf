#!/bin/sh
# The fast tests, in two processes; `scripts/test.sh -m slow` runs the long ones. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
[ $# -gt 0 ] || set -- -n 2 --dist worksteal
exec .venv/bin/python -m pytest "$@"
