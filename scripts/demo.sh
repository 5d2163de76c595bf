#!/bin/sh
# A federated model from a fresh machine: sets up .venv if it is missing, then trains on embedded data.
# Arguments go to scripts/run.py, for example --rounds=100.
set -eu
cd "$(dirname "$0")/.."
sh scripts/setup.sh
exec .venv/bin/python scripts/run.py --flagfile=configs/demo.cfg "$@"
