#!/usr/bin/env bash
# Builds a PgBouncer that keeps track of prepared statements (1.21 and newer) into target/pgbouncer, from the sources of a
# newer Debian: the one of Debian 12 is 1.18, and the tests of poolers run with both. Where it is not to be had, those
# tests say that they were left out; BEMI_REQUIRE_PGBOUNCER=1 makes that an error.
#
# Built from source, as the package of another release wants the libraries of that release.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh
# shellcheck source=scripts/apt-source.sh
. ./apt-source.sh
cd ..

suite=trixie
root=$PWD/target/pgbouncer

if [ -x "$root/bin/pgbouncer" ]; then
    exit 0
fi

build() {
    local source
    apt_install gcc libc6-dev make pkg-config libevent-dev libssl-dev || return 1
    source=$(fetch_source pgbouncer "$root" "$suite") || return 1
    (cd "$source" && ./configure --without-cares && make pgbouncer) >"$root/build.log" 2>&1 || return 1
    mkdir -p "$root/bin"
    # As root, it runs as an account of its own.
    install -m 755 "$source/pgbouncer" "$root/bin/pgbouncer"
}

if ! build; then
    echo "NOT INSTALLED: a PgBouncer that keeps track of prepared statements; see target/pgbouncer/build.log" >&2
    if [ "${BEMI_REQUIRE_PGBOUNCER:-0}" = 1 ]; then
        exit 1
    fi
fi
