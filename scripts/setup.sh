#!/bin/sh
# Makes .venv with the locked packages, if it is missing or older than the lock. Run by demo.sh and test.sh.
# --python=3.10 makes it with Python 3.10 and the packages that 3.11 lacks: OpenFHE. Without the option .venv keeps the
# Python that it has; a new one gets 3.11. --ray adds Ray, which stays: a new .venv of this checkout gets it too.
set -eu
cd "$(dirname "$0")/.."

stop() {
  echo "setup: $1" >&2
  exit 1
}

python=$(cut -sd' ' -f2 .venv/installed 2>/dev/null || true)
python=${python:-3.11}
ray=$(cut -sd' ' -f3 .venv/installed 2>/dev/null || true)
for argument; do
  case "$argument" in
    --python=3.10 | --python=3.11) python=${argument#--python=} ;;
    --ray) ray=ray ;;
    *) stop "the only options are --python=3.10 or --python=3.11, and --ray; got '$argument'." ;;
  esac
done
locks=requirements.txt
[ "$python" != 3.10 ] || locks="requirements.txt requirements-openfhe.txt"
base="$(cat $locks | sha256sum | cut -d' ' -f1) $python"
wanted=$base
[ -z "$ray" ] || wanted="$base ray $(sha256sum <requirements-ray.txt | cut -d' ' -f1)"
installed=$(cat .venv/installed 2>/dev/null || true)
[ "$installed" != "$wanted" ] || exit 0

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
  stop "TFF has wheels for Linux x86-64 only, this is $(uname -s) $(uname -m); use a Linux x86-64 machine or container."
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)
case "$glibc" in
  2.[0-9] | 2.[12][0-9] | 2.30 | "") stop "TFF's wheel needs glibc 2.31 or newer, this system has '${glibc:-none}'; use Debian 11, Ubuntu 20.04 or newer." ;;
esac
free_kb=$(df -Pk . | awk 'NR == 2 { print $4 }')
[ "$free_kb" -ge 4000000 ] ||
  stop "the packages need 4 GB of disk, $((free_kb / 1000000)) GB are free in $(pwd); free some space and start again."

make_venv() {
  rm -rf .venv
  # pyenv's own commands refuse a version that it has and that was not chosen.
  for command in "python$python" python3 python "${PYENV_ROOT:-$HOME/.pyenv}/versions/$python".*/bin/python; do
    "$command" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$python')" 2>/dev/null || continue
    "$command" -m venv .venv >/dev/null 2>&1 && return
  done
  command -v uv >/dev/null 2>&1 && uv venv --quiet --seed --python "$python" .venv && return
  stop "Python $python with venv is needed, and was not found ($(python3 --version 2>&1 || echo 'no python3')); install python$python and python$python-venv, or uv, which fetches it."
}

case "$installed" in
  "$base"*)
    echo "setup: installing the packages of Ray into .venv (once, 250 MB)" >&2
    locks=requirements-ray.txt
    ;;
  *)
    echo "setup: installing the packages into .venv (once, 1 to 5 minutes, 3 GB)" >&2
    make_venv
    [ -z "$ray" ] || locks="$locks requirements-ray.txt"
    ;;
esac
log=.venv/install.log
install() {
  for lock in $locks; do
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r "$lock" || return
  done
}
if ! install >"$log" 2>&1; then
  if grep -q "No space left" "$log"; then
    stop "the disk is full; free 4 GB in $(pwd) and in ${TMPDIR:-/tmp}, and start again."
  elif grep -qiE "name resolution|connection (error|refused|broken)|timed out|unreachable|NewConnectionError|ProxyError" "$log"; then
    stop "the package index can't be reached; check the network or pip's proxy settings, and start again (details: $log)."
  fi
  stop "pip failed: $(grep -m1 -i error "$log" || tail -n 1 "$log") (details: $log)."
fi
echo "$wanted" >.venv/installed
