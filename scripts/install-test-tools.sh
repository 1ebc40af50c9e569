#!/usr/bin/env bash
# Installs what the end-to-end tests run besides nats-server: Debian's package faketime, whose library shifts the
# wall clock of one process. Does nothing where it is there already.
set -euo pipefail

packages=(faketime)

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

is_installed() { # PACKAGE
  [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

command -v dpkg-query >/dev/null || die "the end-to-end tests need Debian's package faketime" \
  "run them on Debian or Ubuntu, or in a container of one"

missing=()
for package in "${packages[@]}"; do
  if is_installed "$package"; then
    printf '%s is installed\n' "$package"
  else
    missing+=("$package")
  fi
done
((${#missing[@]})) || exit 0

[[ $EUID -eq 0 ]] || die "installing ${missing[*]} needs root" \
  "run: sudo $0"

export DEBIAN_FRONTEND=noninteractive
install=(apt-get install --yes --no-install-recommends "${missing[@]}")
printf 'installing %s\n' "${missing[*]}"
# The lists of packages may be missing or old: fetch them only then.
"${install[@]}" >/dev/null 2>&1 || { apt-get update && "${install[@]}"; }
