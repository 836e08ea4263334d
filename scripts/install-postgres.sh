#!/usr/bin/env bash
# Installs a PostgreSQL server with psql and pgbench, unless there is one that is new enough.
# Starts none: bemi's demo and tests make throw-away servers of their own.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh

oldest=14

# The directories that bemi itself searches, in its order.
directories() {
    if [ -n "${BEMI_PG_BIN:-}" ]; then
        printf '%s\n' "$BEMI_PG_BIN"
        return
    fi
    printf '%s' "$PATH" | tr ':' '\n'
    echo
    printf '%s\n' /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql-*/bin \
        /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin | sort --version-sort --reverse
    pg_config --bindir 2>/dev/null || true
}

# Prints the version of the first server that is new enough.
installed() {
    local directory library version
    while read -r directory; do
        if [ -x "$directory/initdb" ] && [ -x "$directory/pg_ctl" ] && [ -x "$directory/postgres" ]; then
            library=${BEMI_PG_LIB:-$directory/../lib}
            version=$(LD_LIBRARY_PATH="$library" "$directory/postgres" --version | sed 's/.*(PostgreSQL) //; s/ .*//')
            if [ "${version%%[!0-9]*}" -ge "$oldest" ]; then
                echo "$version in $directory"
                return 0
            fi
        fi
    done < <(directories)
    return 1
}

if found=$(installed); then
    echo "PostgreSQL server: $found"
    exit 0
fi
if [ -n "${BEMI_PG_BIN:-}" ]; then
    echo "error: BEMI_PG_BIN=$BEMI_PG_BIN has no PostgreSQL server of version $oldest or newer" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    cat >&2 <<END
error: no PostgreSQL server of version $oldest or newer, and this is neither Debian nor Ubuntu.
  macOS:  brew install postgresql@17
  Fedora: sudo dnf install postgresql-server postgresql-contrib
  others: https://www.postgresql.org/download/
If it is in an unusual place, name its directory: BEMI_PG_BIN=/path/to/bin
END
    exit 1
fi

# Debian makes and starts a "main" cluster with every server package; nobody asked for that one here.
no_main_cluster=/etc/postgresql-common/createcluster.d/bemi-no-main-cluster.conf
as_root mkdir -p "$(dirname "$no_main_cluster")"
echo 'create_main_cluster = false' | as_root tee "$no_main_cluster" >/dev/null
trap 'as_root rm -f "$no_main_cluster"' EXIT

apt_install postgresql postgresql-client
if ! found=$(installed); then
    cat >&2 <<END
error: the PostgreSQL of this release is older than $oldest.
The PostgreSQL project has packages of newer ones: https://wiki.postgresql.org/wiki/Apt
END
    exit 1
fi
echo "PostgreSQL server: $found"
