#!/usr/bin/env bash
# Runs a Docker engine of its own in FOLDER, which must not exist, until standard input ends, then removes it all.
#
# usage: scripts/start-docker-engine.sh FOLDER
#
# Prints the engine's address, for DOCKER_HOST, once it takes requests. It touches no engine that the machine runs
# already: its sockets, data, configuration and namespace of containerd are its own, and it sets neither packet filters
# nor forwarding. So its containers reach each other, and this machine their published ports, and nobody else anybody.
set -euo pipefail

patience_secs=30

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for hint in "$@"; do printf '  %s\n' "$hint" >&2; done
  exit 1
}

(($# == 1)) || die "usage: $0 FOLDER"
for program in docker dockerd containerd iptables; do
  command -v "$program" >/dev/null || die "a Docker engine needs $program" "run: scripts/install-test-tools.sh"
done
((EUID == 0)) || die "only root can run a Docker engine" "set DOCKER_HOST to the address of one that runs"

mkdir "$1" || die "the engine needs a new folder"
folder=$(cd "$1" && pwd)
# The longest name of a socket below the folder has 38 more, and a socket's path at most 107.
((${#folder} <= 69)) || die "$folder is too long for the sockets in it" "name a folder with a shorter path"
address=unix://$folder/docker.sock
log=$folder/dockerd.log

is_running() { kill -0 "$1" 2>/dev/null; }

end() { # PID
  local tries=$((patience_secs * 10))
  kill "$1" 2>/dev/null || return 0
  while is_running "$1" && ((tries-- > 0)); do sleep 0.1; done
  kill -KILL "$1" 2>/dev/null || true
}

# Networks are interfaces of this machine, which outlive the engine unless it removes them.
clean_up() {
  trap '' INT TERM HUP
  set +e
  if [[ -S $folder/docker.sock ]]; then
    docker --host "$address" ps --all --quiet | xargs --no-run-if-empty docker --host "$address" rm --force --volumes
    docker --host "$address" network prune --force
  fi >/dev/null 2>&1
  end "$engine"
  wait "$engine" 2>/dev/null
  # An engine that had to be killed has left its containerd behind.
  [[ ! -s $folder/exec/containerd/containerd.pid ]] || end "$(cat "$folder/exec/containerd/containerd.pid")"
  awk -v below="$folder/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort --reverse |
    xargs --no-run-if-empty umount --lazy 2>/dev/null
  rm -rf --one-file-system "$folder"
}

echo '{}' >"$folder/daemon.json"
# In a session of its own, so that a Ctrl-C leaves its end to this script.
setsid dockerd --host "$address" --group "$(id -gn)" --config-file "$folder/daemon.json" --pidfile "$folder/dockerd.pid" \
  --data-root "$folder/data" --exec-root "$folder/exec" \
  --containerd-namespace "leafgate-$$" --containerd-plugins-namespace "leafgate-$$-plugins" \
  --bridge none --iptables=false --ip6tables=false --ip-masq=false --ip-forward=false \
  </dev/null >"$log" 2>&1 &
engine=$!
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

tries=$((patience_secs * 10))
until docker --host "$address" version >/dev/null 2>&1; do
  is_running "$engine" || die "the Docker engine did not start; its last words:" "$(tail -n 5 "$log")"
  ((tries-- > 0)) || die "the Docker engine took no requests within $patience_secs s; its last words:" "$(tail -n 5 "$log")"
  sleep 0.1
done
printf '%s\n' "$address"
while read -r _; do :; done
