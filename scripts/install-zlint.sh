#!/usr/bin/env bash
# Installs zlint, which judges certificates and revocation lists in the tests, as .tools/zlint/<version>/zlint of this
# checkout. Its version is pinned, which Go's checksum database vouches for. Does nothing where it is there already.
set -euo pipefail

zlint_version=3.6.1

target=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/.tools/zlint/$zlint_version

say() { printf '%s\n' "$*"; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

if [[ -x $target/zlint ]]; then
  say "zlint $zlint_version is up to date"
  exit
fi
command -v go >/dev/null || die "Go is needed to build zlint" "https://go.dev/dl/"
mkdir -p "$target"
GOBIN=$target CGO_ENABLED=0 go install "github.com/zmap/zlint/v3/cmd/zlint@v$zlint_version" ||
  die "zlint $zlint_version could not be built"
say "zlint $zlint_version installed into .tools/zlint/$zlint_version"
