#!/usr/bin/env bash
# Installs schemathesis, which holds the registry API to its description, into .tools/schemathesis/ of this checkout: a
# virtual environment of its own. It and all that it needs are pinned by hashes in scripts/schemathesis/requirements.txt.
# Does nothing where it is there already.
set -euo pipefail

scripts_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$scripts_dir/schemathesis/requirements.txt
target=$(dirname "$scripts_dir")/.tools/schemathesis

say() { printf '%s\n' "$*"; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

# The requirements are copied in last: with them there, the environment is whole.
if cmp --silent "$requirements" "$target/requirements.txt"; then
  say "schemathesis is up to date"
  exit
fi
command -v python3 >/dev/null || die "python3 is needed to install schemathesis" \
  "Debian, Ubuntu: apt-get install python3-venv"
rm -rf "$target"
python3 -m venv "$target" || die "python3 can't make a virtual environment" \
  "Debian, Ubuntu: apt-get install python3-venv"
"$target/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
  --requirement "$requirements" ||
  die "schemathesis could not be installed from PyPI" \
    "a hash that differs means that a file is not the pinned one"
cp "$requirements" "$target/requirements.txt"
say "schemathesis installed into .tools/schemathesis"
