#!/usr/bin/env bash
# Registers a device and gets its first certificate, for a key that is made here and stays here.
#
#   scripts/register-device.sh ID [VAULT_ADDR [VAULT_TOKEN]]
#
# With LEAFGATE_URL it asks a registry: LEAFGATE_TOKEN_FILE names a file with an API key (role provisioner),
# LEAFGATE_CA_FILE what verifies the registry. Otherwise it asks Vault itself, as this script's predecessor did: the
# address and the token are arguments, or better VAULT_ADDR and VAULT_TOKEN; VAULT_CACERT and VAULT_NAMESPACE count.
#
# Leaves in the present folder
#   device-ID.json        what was answered, without any key
#   device-ID.crt         the certificate with its chain (PEM)
#   device-ID.key         its key (PEM), for its owner only
#   device-ca-chain.crt   the certificates of its issuers (PEM)
# A run that was broken off is repeated with the same command: the key is kept.
#
# DEVICE_TYPE (iot-sensor) is the device's type; CN_PATTERN (device-{id}.device.synadia.local), PKI_MOUNT (pki-int),
# PKI_ROLE (device-mtls) and KV_MOUNT (secret) say how Vault is set up.
set -euo pipefail
umask 077

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 2
}

(($# >= 1 && $# <= 3)) || die "one to three arguments are needed, not $#" \
  "scripts/register-device.sh ID [VAULT_ADDR [VAULT_TOKEN]]"
for tool in curl jq openssl; do
  command -v "$tool" >/dev/null || die "$tool is missing" "on Debian: apt-get install $tool"
done

id=${1#device-}
[[ $id =~ ^[A-Za-z0-9]([A-Za-z0-9_-]{0,34}[A-Za-z0-9])?$ ]] || die "\"$1\" can't be a device id" \
  "it has 1 to 36 of A-Z a-z 0-9 _ -, and begins and ends with a letter or digit"
device_type=${DEVICE_TYPE:-iot-sensor}
cn_pattern=${CN_PATTERN:-device-\{id\}.device.synadia.local}
if (($# >= 2)); then export VAULT_ADDR=$2; fi
if (($# == 3)); then
  export VAULT_TOKEN=$3
  printf 'warning: others on this machine can read arguments: set VAULT_TOKEN instead of a third one\n' >&2
fi

name=device-$id
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Prints the body of the answer; ends the script, with what was answered, if it is no success. What follows the first
# three arguments goes to curl. The credential is in a file that curl reads, since arguments can be read by others.
ask() { # METHOD URL BODY-FILE [CURL-OPTION…]
  local method=$1 url=$2 body=$3 status
  shift 3
  local options=(--silent --show-error --request "$method" --config "$scratch/credential" --output "$scratch/answer")
  [[ -z $body ]] || options+=(--header 'Content-Type: application/json' --data-binary "@$body")
  status=$(curl "${options[@]}" --write-out '%{http_code}' "$@" "$url") || die "$url can't be reached"
  if [[ $status != 2* ]]; then
    printf 'error: %s %s was answered with %s\n' "$method" "$url" "$status" >&2
    jq -r '.detail // (.errors // [] | join("\n")) // .' "$scratch/answer" 2>/dev/null | sed 's/^/  /' >&2
    if grep -q 'check-and-set parameter did not match' "$scratch/answer" 2>/dev/null; then
      printf '  %s is taken: there is a device of this id in Vault\n' "$id" >&2
    fi
    exit 1
  fi
  cat "$scratch/answer"
}

credential() { # HEADER-LINE
  printf 'header = "%s"\n' "$1" >"$scratch/credential"
}

make_request() {
  [[ -s $name.key ]] ||
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$name.key" 2>"$scratch/said" ||
    die "openssl can't make a key" "$(cat "$scratch/said")"
  openssl req -new -key "$name.key" -subj "/CN=${cn_pattern//\{id\}/$id}" -out "$scratch/csr"
}

publish() { # FILE, from standard input
  cat >"$scratch/new" && chmod 644 "$scratch/new" && mv "$scratch/new" "$1"
}

by_registry() {
  [[ -n ${LEAFGATE_TOKEN_FILE:-} ]] || die "LEAFGATE_TOKEN_FILE is not set" \
    "it names a file with an API key, which leafgate api-key create makes"
  [[ -r $LEAFGATE_TOKEN_FILE ]] || die "$LEAFGATE_TOKEN_FILE can't be read"
  credential "Authorization: Bearer $(tr -d '[:space:]' <"$LEAFGATE_TOKEN_FILE")"
  local verify=()
  [[ -z ${LEAFGATE_CA_FILE:-} ]] || verify=(--cacert "$LEAFGATE_CA_FILE")
  make_request
  jq -n --arg id "$id" --arg type "$device_type" '{id: $id, device_type: $type}' >"$scratch/device"
  jq -n --rawfile csr "$scratch/csr" '{csr: $csr}' >"$scratch/request"
  # The same command once more is the same request: the device is registered once.
  ask POST "$LEAFGATE_URL/v1/devices" "$scratch/device" "${verify[@]}" \
    --header "Idempotency-Key: register-device-$id-$(openssl pkey -in "$name.key" -pubout | sha256sum | cut -c1-32)" \
    >/dev/null
  ask POST "$LEAFGATE_URL/v1/devices/$id/certificates" "$scratch/request" "${verify[@]}" >"$scratch/issued"
  ask GET "$LEAFGATE_URL/v1/issuers" '' "${verify[@]}" >"$scratch/issuers"
  publish "$name.json" <"$scratch/issued"
  jq -r '.chain' "$scratch/issued" | publish "$name.crt"
  jq -r '([.issuers[].certificate] + [.root_certificate])[]' "$scratch/issuers" | publish device-ca-chain.crt
}

by_vault() {
  [[ -n ${VAULT_ADDR:-} ]] || die "neither LEAFGATE_URL nor VAULT_ADDR is set" \
    "set LEAFGATE_URL to ask a registry, or VAULT_ADDR to ask Vault"
  [[ -n ${VAULT_TOKEN:-} ]] || die "VAULT_TOKEN is not set"
  credential "X-Vault-Token: $VAULT_TOKEN"
  [[ -z ${VAULT_NAMESPACE:-} ]] || printf 'header = "X-Vault-Namespace: %s"\n' "$VAULT_NAMESPACE" >>"$scratch/credential"
  local verify=() pki=$VAULT_ADDR/v1/${PKI_MOUNT:-pki-int} kv=$VAULT_ADDR/v1/${KV_MOUNT:-secret}
  [[ -z ${VAULT_CACERT:-} ]] || verify=(--cacert "$VAULT_CACERT")
  make_request
  # Before the certificate, so that none is left behind for an id that is taken: cas 0 writes only what is not there.
  jq -n --arg type "$device_type" --arg at "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
    '{options: {cas: 0}, data: {registered_at: $at, status: "active", device_type: $type}}' >"$scratch/device"
  if [[ ! -s $name.json ]]; then
    ask POST "$kv/data/devices/$id" "$scratch/device" "${verify[@]}" >/dev/null
    jq -n --arg id "$id" '{registered: $id}' | publish "$name.json"
  fi
  jq -n --rawfile csr "$scratch/csr" --arg cn "${cn_pattern//\{id\}/$id}" \
    '{csr: $csr, common_name: $cn, ttl: "168h", format: "pem"}' >"$scratch/request"
  ask POST "$pki/sign/${PKI_ROLE:-device-mtls}" "$scratch/request" "${verify[@]}" >"$scratch/issued"
  publish "$name.json" <"$scratch/issued"
  jq -r '.data | .certificate, (.ca_chain // [.issuing_ca])[]' "$scratch/issued" | publish "$name.crt"
  jq -r '.data | (.ca_chain // [.issuing_ca])[]' "$scratch/issued" | publish device-ca-chain.crt
}

if [[ -n ${LEAFGATE_URL:-} ]]; then by_registry; else by_vault; fi
printf '%s is registered: %s.crt, %s.key, device-ca-chain.crt\n' "$id" "$name" "$name"
