#!/bin/sh
# Makes requirements.txt, the complete lock, from requirements.in and requirements.override.
set -eu
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
.venv/bin/python -m venv "$tools"
"$tools/bin/pip" install -q uv
"$tools/bin/uv" pip compile requirements.in --override requirements.override --generate-hashes --no-header \
  --python-version 3.11 --python-platform x86_64-manylinux_2_31 --quiet -o "$tools/lock" >/dev/null
{
  echo "# The complete lock, made by scripts/lock.sh. Install: pip install --no-deps -r requirements.txt"
  echo "# inputs: $(cat requirements.in requirements.override | sha256sum | cut -d' ' -f1)"
  cat "$tools/lock"
} > requirements.txt
