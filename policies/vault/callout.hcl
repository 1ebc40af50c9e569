# What leafgate-callout needs of a registry in Vault: to read devices and to follow the feed. It writes nothing.
#
#   vault policy write leafgate-callout policies/vault/callout.hcl
#
# Where the KV engine (version 2) is not at secret/, put its mount in its place.

# What scripts and leafgate know of devices.
path "secret/data/devices/*" {
  capabilities = ["read"]
}

# What leafgate alone knows of them.
path "secret/data/leafgate/devices/*" {
  capabilities = ["read"]
}

# The feed: its newest position, its events, and parts of a large commit that is being carried out.
path "secret/data/leafgate/head" {
  capabilities = ["read"]
}
path "secret/data/leafgate/events/*" {
  capabilities = ["read"]
}
path "secret/data/leafgate/commits/*" {
  capabilities = ["read"]
}

# That secret/ is a KV engine of version 2.
path "sys/internal/ui/mounts/secret" {
  capabilities = ["read"]
}

# Its own token: how long it lasts, and for longer. Vault's policy "default" grants this too.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
