#!/usr/bin/env bash
# Installs a program from PyPI into .tools/NAME/ of this checkout: a virtual environment of its own. It and all that it
# needs are pinned by hashes in scripts/NAME/requirements.txt. Does nothing where it is there already.
#
# usage: scripts/install-python-tool.sh pkilint|schemathesis
set -euo pipefail

scripts_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf '%s\n' "$*"; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

name=${1:-}
[[ -f $scripts_dir/$name/requirements.txt ]] || die "usage: $0 pkilint|schemathesis"
requirements=$scripts_dir/$name/requirements.txt
target=$(dirname "$scripts_dir")/.tools/$name

# The requirements are copied in last: with them there, the environment is whole.
if cmp --silent "$requirements" "$target/requirements.txt"; then
  say "$name is up to date"
  exit
fi
command -v python3 >/dev/null || die "python3 is needed to install $name" \
  "Debian, Ubuntu: apt-get install python3-venv"
rm -rf "$target"
python3 -m venv "$target" || die "python3 can't make a virtual environment" \
  "Debian, Ubuntu: apt-get install python3-venv"
"$target/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
  --requirement "$requirements" ||
  die "$name could not be installed from PyPI" \
    "a hash that differs means that a file is not the pinned one"
cp "$requirements" "$target/requirements.txt"
say "$name installed into .tools/$name"
