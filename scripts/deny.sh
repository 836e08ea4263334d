#!/usr/bin/env bash
# Checks the dependencies: licences, duplicates, sources, known vulnerabilities (deny.toml).
#
# The first three need nothing but the sources. The last needs the RustSec database, which is a git repository: where it
# cannot be reached, the copy of an earlier run is used, and where there is none, that check is left out, loudly.
# BEMI_REQUIRE_ADVISORIES=1 makes leaving it out an error.
set -euo pipefail
cd "$(dirname "$0")/.."

deny=$(scripts/install-cargo-deny.sh)
"$deny" check bans licenses sources
# Tests only, so that two versions of one crate do not matter.
"$deny" --manifest-path tests/parser/Cargo.toml --config deny.toml check licenses sources

if "$deny" fetch db; then
    "$deny" check advisories
elif compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/crates" >/dev/null; then
    echo "WARNING: the RustSec database cannot be reached; checking against the copy of an earlier run" >&2
    "$deny" --offline check advisories
else
    cat >&2 <<'END'
##############################################################################
# NOT CHECKED: known vulnerabilities.                                        #
# The RustSec database (https://github.com/RustSec/advisory-db) cannot be    #
# reached from here, and there is no earlier copy of it. Run `make deny`     #
# where it can be reached.                                                   #
##############################################################################
END
    if [ "${BEMI_REQUIRE_ADVISORIES:-0}" = 1 ]; then
        exit 1
    fi
fi
