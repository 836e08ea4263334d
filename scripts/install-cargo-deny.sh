#!/usr/bin/env bash
# Installs cargo-deny into target/tools, unless there is one. Prints the path of the program, and nothing else, to
# standard output.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
root=$PWD/target/tools

if command -v cargo-deny >/dev/null; then
    command -v cargo-deny
elif [ -x "$root/bin/cargo-deny" ] && [ "$("$root/bin/cargo-deny" --version)" = "cargo-deny $version" ]; then
    echo "$root/bin/cargo-deny"
else
    # Its release profile takes minutes (one codegen unit, link-time optimisation over everything) to save a second
    # per run. Unoptimised and without debug information it is built in about one minute on two cores.
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0 \
        cargo install --quiet --locked --debug --root "$root" "cargo-deny@$version" >&2
    echo "$root/bin/cargo-deny"
fi
