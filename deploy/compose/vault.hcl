# Vault in docker-compose.yml: data in its folder, TLS by the same authority as all others. It starts sealed.
api_addr      = "https://vault:8200"
disable_mlock = true

storage "file" {
  path = "/vault/data"
}

listener "tcp" {
  address       = "0.0.0.0:8200"
  tls_cert_file = "/etc/leafgate/vault.crt"
  tls_key_file  = "/etc/leafgate/vault.key"
}
