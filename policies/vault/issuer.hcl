# What leafgate-registry needs besides registry.hcl where Vault signs its certificates.
#
#   vault policy write leafgate-issuer policies/vault/issuer.hcl
#
# It signs by roles only, never verbatim, and reaches no key. Where the PKI engine is not at pki-int/, or the roles have
# other names, put theirs in their place; where servers have an engine of their own, repeat all of it for that one.

# Certificates, by role. The issuer is named in the path, so that another default changes nothing.
path "pki-int/issuer/+/sign/device-mtls" {
  capabilities = ["update"]
}
path "pki-int/issuer/+/sign/nats-cluster" {
  capabilities = ["update"]
}

# The key that signs OCSP answers in the issuer's place, certified for a day at a time.
path "pki-int/issuer/+/sign/ocsp-responder" {
  capabilities = ["update"]
}

# Revocation lists of what the registry knows as revoked.
path "pki-int/issuer/+/sign-revocation-list" {
  capabilities = ["update"]
}

# Certificates that were signed and never recorded: to be found, and revoked. What the registry revokes is revoked here
# too.
path "pki-int/certs" {
  capabilities = ["list"]
}
path "pki-int/certs/revoked" {
  capabilities = ["list"]
}
path "pki-int/cert/+" {
  capabilities = ["read"]
}
path "pki-int/revoke" {
  capabilities = ["update"]
}

# Whether the engine is set up as the registry needs it.
path "pki-int/issuer/+" {
  capabilities = ["read"]
}
path "pki-int/config/urls" {
  capabilities = ["read"]
}
path "pki-int/roles/device-mtls" {
  capabilities = ["read"]
}
path "pki-int/roles/nats-cluster" {
  capabilities = ["read"]
}
