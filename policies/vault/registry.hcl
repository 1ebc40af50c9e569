# What leafgate-registry, and the command line beside it, need of a registry in Vault.
#
#   vault policy write leafgate-registry policies/vault/registry.hcl
#
# Events, and what else never changes, it may create, but neither overwrite nor remove: whoever takes over a registry
# can't rewrite what happened before. Where the KV engine (version 2) is not at secret/, put its mount in its place.

# What scripts and leafgate know of devices. It removes none: a deleted device leaves a tombstone.
path "secret/data/devices/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/metadata/devices/*" {
  capabilities = ["list"]
}

# What leafgate alone knows: of devices, of services, of revocation lists, and where the feed is.
path "secret/data/leafgate/devices/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/metadata/leafgate/devices/*" {
  capabilities = ["list"]
}
path "secret/data/leafgate/services/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/data/leafgate/crls/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/data/leafgate/head" {
  capabilities = ["create", "read", "update"]
}

# Events.
path "secret/data/leafgate/events/*" {
  capabilities = ["create", "read"]
}

# Whose each certificate is, which carry a key, and which were revoked.
path "secret/data/leafgate/certificates/*" {
  capabilities = ["create", "read"]
}
path "secret/metadata/leafgate/certificates/*" {
  capabilities = ["list"]
}
path "secret/data/leafgate/keys/*" {
  capabilities = ["create", "read"]
}
path "secret/metadata/leafgate/keys/*" {
  capabilities = ["list"]
}
path "secret/data/leafgate/revoked/*" {
  capabilities = ["create", "read"]
}
path "secret/metadata/leafgate/revoked/*" {
  capabilities = ["list"]
}

# API keys, enrolment tokens and the like, which are removed when they have expired.
path "secret/data/leafgate/documents/*" {
  capabilities = ["create", "read", "update"]
}
path "secret/metadata/leafgate/documents/*" {
  capabilities = ["list", "delete"]
}
path "secret/data/leafgate/expiring/*" {
  capabilities = ["create", "read"]
}
path "secret/metadata/leafgate/expiring/*" {
  capabilities = ["list", "delete"]
}

# Parts of large commits, removed when they are carried out.
path "secret/data/leafgate/commits/*" {
  capabilities = ["create", "read"]
}
path "secret/metadata/leafgate/commits/*" {
  capabilities = ["list", "delete"]
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
