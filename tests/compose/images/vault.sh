#!/bin/sh
# The two commands of Vault that docker-compose.yml runs, on the Vault server of the tests: it initialises and unseals
# itself before it listens.
set -eu
case $1 in
  server) exec vault-server -listen 0.0.0.0:8200 -data /vault/data \
    -tls-cert /etc/leafgate/vault.crt -tls-key /etc/leafgate/vault.key ;;
  status) exec nc 127.0.0.1 8200 </dev/null >/dev/null ;;
esac
exit 1
