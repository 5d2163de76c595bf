#!/bin/sh
# Makes the locks: requirements.txt, complete for Python 3.10 and 3.11, from requirements.in and requirements.override;
# requirements-openfhe.txt, for 3.10, and requirements-ray.txt, for both, from their .in and with the same versions.
set -eu
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
.venv/bin/python -m venv "$tools"
"$tools/bin/pip" install -q uv

# Of the markers only the Python version tells anything: pyproject.toml fixes the rest.
simpler() {
  sed -E -e "s/ and (platform_machine == 'x86_64'|platform_python_implementation == 'CPython'|sys_platform == 'linux'|implementation_name != 'PyPy')//g" \
    -e "s/ ; python_full_version < '3.12'//" -e "s/python_full_version == '3.11.\*'/python_full_version >= '3.11'/"
}

write() {
  {
    echo "# $2"
    echo "# inputs: $(cat $3 | sha256sum | cut -d' ' -f1)"
    simpler <"$tools/lock"
  } >"$1"
}

"$tools/bin/uv" pip compile requirements.in --override requirements.override --generate-hashes --no-header \
  --universal --python-version 3.10 --quiet -o "$tools/lock" >/dev/null
write requirements.txt "The complete lock, made by scripts/lock.sh. Install: pip install --no-deps -r requirements.txt" \
  "requirements.in requirements.override"

grep -E '^[a-z].*==' requirements.txt | sed 's/ \\$//' >"$tools/constraints"
"$tools/bin/uv" pip compile requirements-openfhe.in --constraint "$tools/constraints" --generate-hashes --no-header \
  --no-annotate --python-version 3.10 --python-platform x86_64-manylinux_2_31 --quiet -o "$tools/lock" >/dev/null
write requirements-openfhe.txt "The lock of the OpenFHE extra, Python 3.10, made by scripts/lock.sh. Install with --no-deps." \
  "requirements-openfhe.in"

"$tools/bin/uv" pip compile requirements-ray.in --constraint "$tools/constraints" --override requirements.override \
  --generate-hashes --no-header --no-annotate --universal --python-version 3.10 --quiet -o "$tools/lock" >/dev/null
write requirements-ray.txt "The lock of the Ray extra, made by scripts/lock.sh. Install on top of the lock with --no-deps." \
  "requirements-ray.in requirements.override"
