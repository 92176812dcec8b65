# A PostgreSQL of the tests' own. Sourced by tests/run.
# shellcheck shell=bash
#
# It listens on loopback with a random password and keeps its data in a folder that is removed
# afterwards. Whatever PostgreSQL the machine runs is left alone.

POSTGRES_FOLDER=""

# The folder of initdb and pg_ctl: Debian keeps them off the PATH, one folder for each version.
postgres_programs() {
  if command -v initdb >/dev/null && command -v pg_ctl >/dev/null; then
    dirname "$(command -v initdb)"
    return
  fi
  local folder
  folder="$(printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort | tail -n 1)"
  [[ -x "$folder/initdb" && -x "$folder/pg_ctl" ]] && echo "$folder"
}

# PostgreSQL refuses to run as root; its package brings a user for it.
as_postgres_user() {
  if ((EUID == 0)); then
    (cd / && exec runuser --user postgres -- "$@")
  else
    "$@"
  fi
}

# Starts a server in the folder named and exports COUNTERSIGN_TEST_POSTGRES: the URL of its
# superuser on the database postgres, from which each test makes a database of its own. It does not
# wait for the disk, unless the second argument says "durable", as a benchmark must.
start_postgres() {
  local programs password port
  programs="$(postgres_programs)"
  password="$(python3 -c 'import secrets; print(secrets.token_hex(16))')"
  port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
  mkdir --mode 700 "$1"
  POSTGRES_FOLDER="$1"
  printf '%s\n' "$password" >"$1/password"
  if ((EUID == 0)); then
    # The folder above is root's alone; let the server's user pass through it, no more.
    chmod a+x "$(dirname "$1")"
    chown -R postgres "$1"
  fi
  as_postgres_user "$programs/initdb" --pgdata "$1/data" --username postgres --pwfile "$1/password" \
    --auth password --encoding UTF8 --no-locale --no-sync >"$1.log"
  # Every test has a pool of its own. A crash of a server that does not wait loses nothing that matters.
  local options="-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories="
  options+=" -c max_connections=300"
  if [[ "${2:-}" != durable ]]; then
    options+=" -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
  fi
  if ! as_postgres_user "$programs/pg_ctl" start --wait --silent --pgdata "$1/data" \
    --log "$1/server.log" --options "$options"; then
    cat "$1/server.log"
    return 1
  fi
  export COUNTERSIGN_TEST_POSTGRES="postgres://postgres:$password@127.0.0.1:$port/postgres"
  "$programs/postgres" --version
}

stop_postgres() {
  [[ -n "$POSTGRES_FOLDER" ]] || return 0
  as_postgres_user "$(postgres_programs)/pg_ctl" stop --mode immediate --silent \
    --pgdata "$POSTGRES_FOLDER/data" || true
  rm -rf "$POSTGRES_FOLDER"
  POSTGRES_FOLDER=""
}
