#!/bin/sh
# The tests that need OpenFHE, which is not there for Python 3.11: in .venv-openfhe, a small environment with Python 3.10
# and no TensorFlow, made if it is missing or older than its lock. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
venv=.venv-openfhe

make_venv() {
  rm -rf "$venv"
  # pyenv's own command refuses a version that it has and that was not chosen.
  for command in python3.10 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.10.*/bin/python; do
    "$command" -c 'import venv, ensurepip' 2>/dev/null || continue
    "$command" -m venv "$venv"
    return
  done
  uv=$(command -v uv || true)
  if [ -z "$uv" ]; then
    tools=$(mktemp -d)
    trap 'rm -rf "$tools"' EXIT
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check uv
    uv=$tools/bin/uv
  fi
  "$uv" venv --quiet --seed --python 3.10 "$venv"
}

wanted=$(sha256sum requirements-openfhe.txt | cut -d' ' -f1)
if [ "$(cat "$venv/installed" 2>/dev/null || true)" != "$wanted" ]; then
  echo "test_openfhe: installing the packages into $venv (once, half a minute, 400 MB)" >&2
  make_venv
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r requirements-openfhe.txt
  echo "$wanted" >"$venv/installed"
fi
# tests/conftest.py imports TensorFlow.
"$venv/bin/python" -m pytest --noconftest tests/test_threshold*.py "$@"
