#!/usr/bin/env bash
# Makes what docker-compose.yml runs on: certificate authority, keys, passwords and configurations, in the folder state
# beside this script, which only you can read; and LEAFGATE_USER in .env, as whom the services run.
#
# usage: deploy/compose/prepare.sh [--host NAME-OR-ADDRESS]… [--site NAME] [--status-url URL]
#   --host         a further name or address at which devices and clients reach this machine; localhost is one already
#   --site         the site's name, under which the hub sees its devices; compose if not given
#   --status-url   where revocation lists and OCSP are reached, which every certificate tells; http://localhost:8080 if
#                  not given
#
# Run again, it keeps authority, keys and passwords, and issues the certificates of the servers anew: they last for 30
# days. Then run: docker compose restart
set -euo pipefail
umask 077

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
state=$here/state
image=${LEAFGATE_IMAGE:-leafgate:local}

say() { printf '%s\n' "$*"; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

usage='usage: deploy/compose/prepare.sh [--host NAME-OR-ADDRESS]… [--site NAME] [--status-url URL]'
site=compose
status_url=http://localhost:8080
names=(--dns localhost --ip 127.0.0.1)
while (($#)); do
  (($# > 1)) || die "$1 needs a value" "$usage"
  case $1 in
    --host) if [[ $2 =~ ^[0-9.]+$ || $2 == *:* ]]; then names+=(--ip "$2"); else names+=(--dns "$2"); fi ;;
    --site) site=$2 ;;
    --status-url) status_url=$2 ;;
    *) die "$1 is no option" "$usage" ;;
  esac
  shift 2
done

docker image inspect "$image" >/dev/null || die "there is no image $image" "run: docker build --tag $image $root"

# The services run as whoever owns their files; never as root, to whom 10001 is as good as any.
user=${LEAFGATE_USER:-$(id -u):$(id -g)}
((EUID)) || user=${LEAFGATE_USER:-10001:10001}
give() { ((EUID)) || chown -R "$user" "$state"; }

leafgate() {
  docker run --rm --network none --read-only --cap-drop ALL --security-opt no-new-privileges --user "$user" \
    --volume "$state:/state" --workdir /state --env LEAFGATE_DIR=/state/pki "$image" leafgate "$@" >/dev/null
}

random_hex() { od -An -v -N24 -tx1 /dev/urandom | tr -d ' \n'; }

new_secret() { # FILE
  [[ -s $1 ]] || random_hex >"$1"
}

mkdir -p "$state"
cd "$state"
mkdir -p offline issued rendered hub leaf callout-0/keys callout-1/keys registry/{ca,keys} postgres/init vault vault-data admin
[[ -d pki ]] || new_secret offline/passphrase
for secret in postgres/superuser.password registry/database.password callout-0/database.password; do
  new_secret "$secret"
done
give

[[ -d pki ]] || leafgate registry init --root-out offline/root.key --passphrase-file offline/passphrase

# Each service sees its own folder as /etc/leafgate.
leafgate nats-config --out rendered --site "$site" --hub-node hub-1=hub --leaf-node leaf-1=leaf --replicas-max 2 \
  --registry-replicas-max 1 --monitoring-port 8222 --callout-keys-dir /etc/leafgate/keys --policy /policies/device.toml \
  --store-url postgres://leafgate_callout@postgres/leafgate

issue() { leafgate service issue "$@" --out issued; }
issue hub-1 --profile nats-server --dns hub "${names[@]}"
issue leaf-1 --profile nats-server --dns leaf "${names[@]}"
issue registry --profile nats-server "${names[@]}"
issue postgres --profile nats-server
issue vault --profile nats-server "${names[@]}"
issue callout --profile nats-client
issue registry-client --profile nats-client

cp pki/ca/{root,devices,servers}.crt issued/hub-1.{crt,key} rendered/hub-1.conf hub
cp pki/ca/{root,devices,servers}.crt issued/leaf-1.{crt,key} rendered/leaf-1.conf leaf
for replica in callout-0 callout-1; do
  cp pki/ca/{root,devices}.crt issued/callout.{crt,key} rendered/"$replica".toml "$replica"
  cp rendered/keys/{callout-issuer,callout-xkey,"$replica-auth","$replica-system"}.seed "$replica/keys"
done
cp callout-0/database.password callout-1
cp pki/ca/{root,devices,servers}.crt pki/ca/root.crl pki/ca/{devices,servers}.key registry/ca
cp issued/registry{,-client}.{crt,key} registry
cp rendered/keys/registry-0-{auth,devices,system}.seed registry/keys
cp issued/postgres.{crt,key} postgres
cp pki/ca/root.crt issued/vault.{crt,key} vault
cp pki/ca/root.crt admin
rm -r issued

cat >registry/registry.toml <<END
# The registry, for leafgate-registry. Made by prepare.sh.
[http]
cert_file = "registry.crt"
key_file = "registry.key"

[status]
url = "$status_url"

[nats]
urls = ["tls://leaf:4222"]
ca_file = "ca/root.crt"
cert_file = "registry-client.crt"
key_file = "registry-client.key"
nkey_seed_file = "keys/registry-0-auth.seed"
devices_nkey_seed_file = "keys/registry-0-devices.seed"

[system]
nkey_seed_file = "keys/registry-0-system.seed"

[store]
url = "postgres://leafgate@postgres/leafgate"
password_file = "database.password"
ca_file = "ca/root.crt"

[ca]
dir = "ca"

[policy]
site = "$site"

[[trust_domain]]
name = "default"
issuers = ["ca/devices.crt"]
policies = ["/policies/device.toml"]
END

# PostgreSQL runs this when it makes its database.
cat >postgres/init/registry.sql <<END
CREATE ROLE leafgate LOGIN PASSWORD '$(cat registry/database.password)';
CREATE ROLE leafgate_callout LOGIN PASSWORD '$(cat callout-0/database.password)';
CREATE DATABASE leafgate OWNER leafgate ENCODING 'UTF8' TEMPLATE template0;
\connect leafgate
ALTER DEFAULT PRIVILEGES FOR ROLE leafgate GRANT SELECT ON TABLES TO leafgate_callout;
END
give

touch "$root/.env"
{ grep -v '^LEAFGATE_USER=' "$root/.env" || true; printf 'LEAFGATE_USER=%s\n' "$user"; } >"$root/.env.new"
mv "$root/.env.new" "$root/.env"

say "$state is ready for site $site"
say "  offline   the root's key and its passphrase, which no service needs: keep them elsewhere, apart from each other"
say "Next: docker compose up --detach"
