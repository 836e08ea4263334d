#!/usr/bin/env bash
# Installs what the Rust toolchain needs beside itself: a C compiler and linker.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh

if ! command -v cargo >/dev/null; then
    echo "error: no cargo; install Rust from https://rustup.rs" >&2
    exit 1
fi
if ! command -v cc >/dev/null; then
    apt_install gcc libc6-dev
fi
