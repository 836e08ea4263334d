#!/usr/bin/env bash
# Runs the queries of examples/models: tests/models/main.rs.
#   scripts/test-models.sh [prisma|sqlalchemy|rails...]
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --locked --test models -- "$@"
