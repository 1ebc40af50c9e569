#!/usr/bin/env bash
# Builds the Vault server that tests run against into .tools/vault-server/<version>/vault-server of this checkout.
#
# tests/servers/vault wires a real Vault core with just the engines that leafgate talks to; go.sum pins every module.
# From nothing this takes some 5 minutes and 3 GB of Go caches, afterwards seconds. Does nothing where it is built
# already from the same sources.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source_dir=$root/tests/servers/vault

say() { printf '%s\n' "$*"; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

version=$(sed -n 's#^\tgithub.com/hashicorp/vault v\([0-9.]*\)$#\1#p' "$source_dir/go.mod")
[[ -n $version ]] || die "tests/servers/vault/go.mod names no version of github.com/hashicorp/vault"
target=$root/.tools/vault-server/$version/vault-server
sources=$(cd "$source_dir" && cat main.go go.mod go.sum | sha256sum | cut -d ' ' -f 1)

if [[ -x $target && $(cat "$target.sources" 2>/dev/null) == "$sources" ]]; then
  say "vault-server $version is up to date"
  exit 0
fi
command -v go >/dev/null || die "Go is needed to build the Vault server for tests" \
  "install the version that tests/servers/vault/go.mod names, or a newer one: https://go.dev/dl/"

say "building vault-server $version (about 5 minutes the first time)"
mkdir -p "$(dirname "$target")"
# The binary arrives beside its place and is renamed into it, so that it is there whole or not at all.
(cd "$source_dir" && CGO_ENABLED=0 go build -mod=readonly -p "$(getconf _NPROCESSORS_ONLN)" \
  -trimpath -ldflags '-s -w' -o "$target.new" .) || die "vault-server $version could not be built"
mv -f "$target.new" "$target"
printf '%s\n' "$sources" >"$target.sources"
say "vault-server $version built into .tools/vault-server/$version"
