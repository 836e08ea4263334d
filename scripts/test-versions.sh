#!/usr/bin/env bash
# Runs the tests on every major version of PostgreSQL that scripts/install-postgres-versions.sh has installed.
#   scripts/test-versions.sh [VERSION...] [-- ARGUMENT-OF-CARGO-TEST...]
#   scripts/test-versions.sh 14 18 -- --test injection
# Ends with a table, and with an error when anything failed. The whole output is in target/versions/<version>.log.
set -euo pipefail
cd "$(dirname "$0")/.."

versions=()
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do
    versions+=("$1")
    shift
done
[ "${1:-}" != -- ] || shift

servers=$PWD/target/postgres
if [ "${#versions[@]}" -eq 0 ]; then
    for directory in "$servers"/[0-9]*; do
        versions+=("${directory##*/}")
    done
fi
for version in "${versions[@]}"; do
    if [ ! -x "$servers/$version/bin/postgres" ]; then
        echo "error: no PostgreSQL $version in target/postgres; scripts/install-postgres-versions.sh installs what there is" >&2
        exit 2
    fi
done

# As root the servers run as an account of their own, which cannot get into a home directory.
enterable() {
    local directory=$1
    while [ "$directory" != / ]; do
        if [ "$((0$(stat --format %a "$directory") & 1))" -eq 0 ]; then
            return 1
        fi
        directory=$(dirname "$directory")
    done
}
if [ "$(id -u)" -eq 0 ] && ! enterable "$servers"; then
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    chmod 755 "$copy"
    cp -a "$servers/." "$copy/"
    servers=$copy
fi

# Once for all versions: they differ in the environment only.
cargo test --locked --no-run "$@"

logs=$PWD/target/versions
mkdir -p "$logs"
# It would name the libraries of one version for all; each finds its own beside its programs.
unset BEMI_PG_LIB

# count LOG WORD: the sum of "N WORD" over the results of all test programs.
count() {
    sed -n "s/^test result: .* \([0-9]*\) $2;.*/\1/p" "$1" | awk '{ sum += $1 } END { print sum + 0 }'
}

failed=()
table=$(printf '%-12s %8s %8s %8s %8s' PostgreSQL passed failed ignored seconds)
for version in "${versions[@]}"; do
    name=$("$servers/$version/bin/postgres" --version | sed 's/.*) //')
    log=$logs/$version.log
    begin=$SECONDS
    status=0
    BEMI_PG_BIN=$servers/$version/bin cargo test --locked --no-fail-fast "$@" >"$log" 2>&1 </dev/null || status=$?
    passed=$(count "$log" passed)
    # A run without any test is a mistake in the arguments, or in what this script reads.
    if [ "$status" -eq 0 ] && [ "$passed" -eq 0 ]; then
        echo "error: no test ran" >>"$log"
        status=1
    fi
    seconds=$((SECONDS - begin))
    table+=$'\n'$(printf '%-12s %8s %8s %8s %8s' \
        "$name" "$passed" "$(count "$log" failed)" "$(count "$log" ignored)" "$seconds")
    if [ "$status" -eq 0 ]; then
        echo "PostgreSQL $name: all $passed tests passed, in $seconds s"
    else
        failed+=("$name")
        echo "PostgreSQL $name: FAILED, after $seconds s; from $log:"
        # What failed tests printed, and what ended a test program otherwise; whole where neither is found.
        sed -n '/^failures:$/,/^test result:/p; /^error/p' "$log"
    fi
    # Not captured, unlike other output of tests that pass: see tests/support/version.rs.
    sed -n 's/^NOT TESTED: /  not tested: /p' "$log" | sort -u
done

echo
echo "$table"
if [ "${#failed[@]}" -gt 0 ]; then
    echo
    echo "error: tests failed on ${failed[*]}" >&2
    exit 1
fi
