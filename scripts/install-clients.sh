#!/usr/bin/env bash
# Installs the clients that `make test-clients` runs: psycopg 3 in target/clients/venv, node-postgres in
# target/clients/node_modules. Nothing outside of target/ changes, but for Python and Node themselves where missing.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh
cd ..

psycopg=3.3.9
node_postgres=8.23.1

packages=()
# Debian's python3 has the module venv, but not ensurepip, without which a new environment has no pip.
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
if [ "${#packages[@]}" -gt 0 ]; then
    apt_install "${packages[@]}"
fi

clients=$PWD/target/clients
mkdir -p "$clients"

if [ ! -e "$clients/psycopg-$psycopg" ]; then
    echo "installing psycopg $psycopg"
    rm -rf "$clients/venv"
    python3 -m venv "$clients/venv"
    "$clients/venv/bin/pip" install --quiet --disable-pip-version-check "psycopg[binary]==$psycopg"
    touch "$clients/psycopg-$psycopg"
fi

if [ ! -e "$clients/node-postgres-$node_postgres" ]; then
    echo "installing node-postgres $node_postgres"
    npm install --prefix "$clients" --no-save --no-audit --no-fund --loglevel=error "pg@$node_postgres"
    touch "$clients/node-postgres-$node_postgres"
fi
