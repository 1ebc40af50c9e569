#!/usr/bin/env bash
# Installs what the tests judge certificates, revocation lists and OCSP answers by, into .tools/ of this checkout:
# pkilint (PyPI) in .tools/pkilint/, a virtual environment of its own, and zlint (Go) as .tools/zlint/<version>/zlint.
#
# pkilint and all that it needs are pinned by hashes in scripts/pkilint/requirements.txt; zlint by its version, which
# Go's checksum database vouches for. Does nothing where both are there already.
set -euo pipefail

zlint_version=3.6.1

scripts_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
requirements=$scripts_dir/pkilint/requirements.txt
tools_dir=$(dirname "$scripts_dir")/.tools

say() { printf '%s\n' "$*"; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

# The requirements are copied in last: with them there, the environment is whole.
install_pkilint() {
  local target=$tools_dir/pkilint
  if cmp --silent "$requirements" "$target/requirements.txt"; then
    say "pkilint is up to date"
    return
  fi
  command -v python3 >/dev/null || die "python3 is needed to install pkilint" \
    "Debian, Ubuntu: apt-get install python3-venv"
  rm -rf "$target"
  python3 -m venv "$target" || die "python3 can't make a virtual environment" \
    "Debian, Ubuntu: apt-get install python3-venv"
  "$target/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
    --requirement "$requirements" ||
    die "pkilint could not be installed from PyPI" \
      "a hash that differs means that a file is not the pinned one"
  cp "$requirements" "$target/requirements.txt"
  say "pkilint installed into .tools/pkilint"
}

install_zlint() {
  local target=$tools_dir/zlint/$zlint_version
  if [[ -x $target/zlint ]]; then
    say "zlint $zlint_version is up to date"
    return
  fi
  command -v go >/dev/null || die "Go is needed to build zlint" "https://go.dev/dl/"
  mkdir -p "$target"
  GOBIN=$target CGO_ENABLED=0 go install "github.com/zmap/zlint/v3/cmd/zlint@v$zlint_version" ||
    die "zlint $zlint_version could not be built"
  say "zlint $zlint_version installed into .tools/zlint/$zlint_version"
}

install_pkilint
install_zlint
