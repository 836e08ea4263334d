#!/usr/bin/env bash
# Runs PostgreSQL's own test suites directly and through the proxy: tests/regress/main.rs.
#   scripts/test-regress.sh [SUITE...]
set -euo pipefail
cd "$(dirname "$0")/.."

# The server that they belong to, which need not be the first in PATH.
major=$(sed 's/\..*//' target/regress/version)
export BEMI_PG_BIN=${BEMI_PG_BIN:-/usr/lib/postgresql/$major/bin}
cargo test --locked --test regress -- "$@"
