#!/usr/bin/env bash
# Installs what `make bench` puts beside the proxy: PgBouncer, HAProxy, pgbench, psql and openssl.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh

packages=()
command -v pgbouncer >/dev/null || packages+=(pgbouncer)
[ -x /usr/sbin/haproxy ] || packages+=(haproxy)
command -v pgbench >/dev/null || packages+=(postgresql-contrib)
command -v openssl >/dev/null || packages+=(openssl)
command -v psql >/dev/null || packages+=(postgresql-client)
if [ "${#packages[@]}" -gt 0 ]; then
    apt_install "${packages[@]}"
fi
