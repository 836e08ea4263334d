#!/usr/bin/env bash
# Runs drivers of other languages through the proxy: tests/clients/main.rs.
#   scripts/test-clients.sh [SUITE...]
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --locked --test clients -- "$@"
