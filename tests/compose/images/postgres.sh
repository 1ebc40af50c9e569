#!/bin/sh
# What docker-compose.yml relies on of the entrypoint of PostgreSQL's official image: on the first start it makes the
# database, listening on its socket alone, and runs the SQL files that are mounted for that.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust --auth-host=scram-sha-256
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "listen_addresses = '*'" >>"$PGDATA/postgresql.conf"
  pg_ctl --silent --wait --options="-c listen_addresses=''" start
  for file in /docker-entrypoint-initdb.d/*.sql; do
    psql --no-psqlrc --username=postgres --set=ON_ERROR_STOP=1 --file="$file"
  done
  pg_ctl --silent --wait stop
fi
exec "$@"
