#!/usr/bin/env bash
# Installs what the end-to-end tests run besides nats-server and Vault, from Debian's packages:
#   faketime          shifts the wall clock of one process
#   docker.io, …      an engine for the test of docker-compose.yml, unless DOCKER_HOST names one
#   busybox-static    the shell of the images that this test makes
#   curl, jq          ask the registry's API, as the scripts for devices do
#   ShellCheck        lints the scripts
# Does nothing where it is all there already.
set -euo pipefail

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

packages=(faketime busybox-static curl jq shellcheck)
# By its programs: Docker's own packages do as well, and Debian's would take their place.
command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 || packages+=(docker-compose)
if [[ -z ${DOCKER_HOST:-} ]]; then
  command -v dockerd >/dev/null || packages+=(docker.io)
  command -v iptables >/dev/null || packages+=(iptables)
fi

missing=()
for package in "${packages[@]}"; do
  is_installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  printf 'the test tools are installed\n'
  exit 0
fi

[[ $EUID -eq 0 ]] || die "installing ${missing[*]} needs root" \
  "run: sudo $0"

export DEBIAN_FRONTEND=noninteractive
install=(apt-get install --yes --no-install-recommends "${missing[@]}")
printf 'installing %s\n' "${missing[*]}"
# The lists of packages may be missing or old: fetch them only then.
"${install[@]}" >/dev/null 2>&1 || { apt-get update && "${install[@]}"; }
