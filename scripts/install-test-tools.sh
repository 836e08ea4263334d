#!/usr/bin/env bash
# Installs the programs that the tests run beside the server: openssl, pgbouncer, psql, pgbench and kill.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh

packages=()
command -v openssl >/dev/null || packages+=(openssl)
# Debian puts it into /usr/sbin, which is not in every user's PATH.
PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null || packages+=(pgbouncer)
command -v psql >/dev/null || packages+=(postgresql-client)
command -v pgbench >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/pgbench' >/dev/null \
    || packages+=(postgresql-contrib)
# Every shell has one of its own, which is no program.
type -P kill >/dev/null || packages+=(procps)
if [ "${#packages[@]}" -eq 0 ]; then
    exit 0
fi

# The package starts a pgbouncer of its own. An administrator's policy on starting services is respected.
policy=/usr/sbin/policy-rc.d
if command -v apt-get >/dev/null && [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    trap 'as_root rm -f "$policy"' EXIT
fi
apt_install "${packages[@]}"
