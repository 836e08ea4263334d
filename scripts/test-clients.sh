#!/usr/bin/env bash
# Runs the tests of tests/clients, with the clients that install-clients.sh installed.
#   tests/clients/test_*.py   with Python's unittest
#   tests/clients/*.test.js   with Node's test runner
# They find the proxy's program in BEMI (by default the debug build).
set -euo pipefail
cd "$(dirname "$0")/.."

clients=$PWD/target/clients
export BEMI=${BEMI:-$PWD/target/debug/bemi}
export NODE_PATH=$clients/node_modules

if ! compgen -G 'tests/clients/test_*.py' >/dev/null || ! compgen -G 'tests/clients/*.test.js' >/dev/null; then
    echo "error: tests/clients lacks its Python or its Node tests" >&2
    exit 1
fi
"$clients/venv/bin/python" -m unittest discover --start-directory tests/clients --verbose
node --test tests/clients/*.test.js
