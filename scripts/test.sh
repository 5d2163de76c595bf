#!/bin/sh
# The fast tests; `scripts/test.sh -m slow` runs the long ones. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
exec .venv/bin/python -m pytest "$@"
