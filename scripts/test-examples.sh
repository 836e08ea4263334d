#!/usr/bin/env bash
# Runs the applications of examples/ behind the proxy: tests/examples/main.rs.
#   scripts/test-examples.sh [EXAMPLE...]
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --locked --test examples -- "$@"
