#!/usr/bin/env bash
# Enrols many devices side by side, each with a key of its own that is made here.
#
#   scripts/provision-fleet.sh [--count N] [--first N] [--format F] [--type T] [--site S] [--jobs N] OUT
#
# Device number N has the id that printf makes of F and N: with the defaults 1000 devices, 0001 to 1000, of type
# iot-sensor. Leaves OUT/ID.key and OUT/ID.crt (with its chain). LEAFGATE_URL is the registry, LEAFGATE_TOKEN_FILE names
# a file with an API key (role provisioner), LEAFGATE_CA_FILE what verifies the registry.
#
# Devices that have their certificate in OUT are left alone: after a run that was broken off, give the same command.
set -euo pipefail
umask 077

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 2
}

# One token lets in this many named devices at most.
readonly TOKEN_DEVICES=1000
# Tries of one device; between them it waits as long as the registry says.
readonly TRIES=8

enrol() { # ID, with OUT, TOKEN_FILE, CA_OPTION and LEAFGATE_URL in the environment
  local id=$1 status wait try
  scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
  [[ -s $OUT/$id.key ]] || {
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$scratch/key" 2>/dev/null
    mv "$scratch/key" "$OUT/$id.key"
  }
  openssl req -new -key "$OUT/$id.key" -subj "/CN=$id" -out "$scratch/csr"
  jq -n --arg id "$id" --rawfile csr "$scratch/csr" '{id: $id, csr: $csr}' >"$scratch/request"
  for ((try = 1; try <= TRIES; try++)); do
    # shellcheck disable=SC2086 # nothing, or an option and a path without blanks
    status=$(curl --silent --config "$TOKEN_FILE" $CA_OPTION --header 'Content-Type: application/json' \
      --data-binary "@$scratch/request" --dump-header "$scratch/head" --output "$scratch/answer" \
      --write-out '%{http_code}' "$LEAFGATE_URL/v1/enrol") || status=unreachable
    case $status in
      2*)
        jq -r .chain "$scratch/answer" >"$scratch/crt"
        chmod 644 "$scratch/crt" && mv "$scratch/crt" "$OUT/$id.crt"
        return
        ;;
      429 | 503 | unreachable)
        wait=$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]\+\).*/\1/p' "$scratch/head" 2>/dev/null || true)
        sleep "${wait:-1}"
        ;;
      *) break ;;
    esac
  done
  printf '%s: %s %s\n' "$id" "$status" "$(jq -r '.detail? // empty' "$scratch/answer" 2>/dev/null)" >&2
  return 1
}

if [[ ${1:-} == --enrol-one ]]; then
  enrol "$2"
  exit
fi

count=1000 first=1 format=%04d type=iot-sensor site='' jobs=$(nproc) out=''
while (($#)); do
  case $1 in
    --count | --first | --format | --type | --site | --jobs)
      (($# >= 2)) || die "$1 needs a value"
      declare "${1#--}=$2"
      shift 2
      ;;
    -*) die "there is no option $1" "see the head of this script" ;;
    *)
      [[ -z $out ]] || die "one folder is enough, not $out and $1"
      out=$1
      shift
      ;;
  esac
done
[[ -n $out ]] || die "name the folder for keys and certificates" "scripts/provision-fleet.sh --count 1000 OUT"
for number in count first jobs; do
  [[ ${!number} =~ ^[0-9]+$ ]] || die "--$number must be a number, not ${!number}"
done
for tool in curl jq openssl xargs; do
  command -v "$tool" >/dev/null || die "$tool is missing" "on Debian: apt-get install $tool"
done
[[ -n ${LEAFGATE_URL:-} ]] || die "LEAFGATE_URL is not set" "it is the registry's address, https://registry:8443"
[[ -r ${LEAFGATE_TOKEN_FILE:-} ]] || die "LEAFGATE_TOKEN_FILE names no file that can be read" \
  "it holds an API key, which leafgate api-key create makes"
CA_OPTION=''
if [[ -n ${LEAFGATE_CA_FILE:-} ]]; then
  [[ $LEAFGATE_CA_FILE != *[[:space:]]* ]] || die "the path in LEAFGATE_CA_FILE may hold no blanks"
  CA_OPTION="--cacert $LEAFGATE_CA_FILE"
fi

mkdir -p "$out"
OUT=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What curl reads instead of arguments, which others could read too.
bearer() { # FILE, with the token on standard input
  printf 'header = "Authorization: Bearer %s"\n' "$(tr -d '[:space:]')" >"$1"
}
bearer "$work/provisioner" <"$LEAFGATE_TOKEN_FILE"

for ((number = first; number < first + count; number++)); do
  # shellcheck disable=SC2059 # the format is the caller's
  id=$(printf "$format" "$number")
  [[ -s $OUT/$id.crt ]] || printf '%s\n' "$id"
done >"$work/ids"
missing=$(wc -l <"$work/ids")
printf '%d of %d devices have their certificate already\n' "$((count - missing))" "$count"

split --lines "$TOKEN_DEVICES" "$work/ids" "$work/batch-"
export OUT CA_OPTION LEAFGATE_URL TOKEN_FILE="$work/token"
failed=0
for batch in "$work"/batch-*; do
  [[ -s $batch ]] || continue
  jq -R . "$batch" | jq -s --arg name "provision-fleet $(date -u +%Y-%m-%dT%H:%M:%SZ)" --arg type "$type" \
    --arg site "$site" '{name: $name, device_type: $type, admits: {ids: .}} + (if $site == "" then {} else {site: $site} end)' \
    >"$work/new-token"
  # shellcheck disable=SC2086 # as above
  status=$(curl --silent --show-error --config "$work/provisioner" $CA_OPTION --header 'Content-Type: application/json' \
    --data-binary "@$work/new-token" --output "$work/made" --write-out '%{http_code}' \
    "$LEAFGATE_URL/v1/enrolment-tokens") || die "$LEAFGATE_URL can't be reached"
  [[ $status == 201 ]] || die "no enrolment token was made ($status)" "$(jq -r '.detail? // empty' "$work/made")"
  jq -r .token "$work/made" | bearer "$TOKEN_FILE"
  rm "$work/made"
  # xargs ends with 123 if a device failed, which its own line tells.
  xargs --max-procs "$jobs" --max-args 1 "$0" --enrol-one <"$batch" || failed=1
done

enrolled=0
while read -r id; do [[ -s $OUT/$id.crt ]] && enrolled=$((enrolled + 1)); done <"$work/ids"
printf '%d devices enrolled, %d failed\n' "$enrolled" "$((missing - enrolled))"
exit "$failed"
