#!/usr/bin/env bash
# Fetches the sources of a PostgreSQL server, as the distribution builds it, into target/regress: its regression suite is
# what psql and the SQL of tests/parser are tried on. Prints the directory, and nothing else, to standard output.
#   scripts/install-regress-sources.sh [PACKAGE]      postgresql-15 unless told otherwise
#
# The suite's files are PostgreSQL's, and are not kept in this repository. The distribution checks what it hands out, and
# its sources fit its server to the minor version. Nothing outside of target/ changes, but for dpkg-dev where missing:
# most machines have no entry for sources, so apt gets lists of its own, made from those of the machine.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh
cd ..

package=${1:-postgresql-15}
root=$PWD/target/regress
mkdir -p "$root"
installed=$root/$package.installed

if [ -d "$(cat "$installed" 2>/dev/null)" ]; then
    cat "$installed"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "error: sources are fetched by apt-get source, and this is neither Debian nor Ubuntu" >&2
    exit 1
fi
# Prints while it installs.
command -v dpkg-source >/dev/null || apt_install dpkg-dev >&2

# What is half done stays in here, and goes.
work=$(mktemp -d "$root/.work-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/sources.list.d" "$work/lists/partial" "$work/cache/archives/partial" "$work/source"

# The machine's own entries, for sources. Both formats that apt knows.
shopt -s nullglob
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$file" ] && sed -n 's/^ *deb \(.*\)$/deb-src \1/p' "$file" >"$work/sources.list.d/$(basename "$file" .list).list"
done
for file in /etc/apt/sources.list.d/*.sources; do
    sed 's/^Types:.*$/Types: deb-src/' "$file" >"$work/sources.list.d/$(basename "$file")"
done

with_sources() {
    "$1" -qq -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources.list.d" \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "${@:2}" </dev/null
}

# That of the installed server first, then the newest.
versions() {
    local all here
    all=$(with_sources apt-cache --only-source showsrc "$package" 2>/dev/null | sed -n 's/^Version: //p' \
        | sort --version-sort --reverse --unique)
    here=$(dpkg-query -W -f '${source:Version}' "$package" 2>/dev/null || true)
    grep -Fx "$here" <<<"$all" || true
    grep -Fxv "$here" <<<"$all" || true
}

# An entry that has no sources, or cannot be reached, need not be the one that has the package.
with_sources apt-get update >&2 || true
for version in $(versions); do
    echo "fetching the sources of $package $version" >&2
    # What a mirror lists it may no longer, or not yet, have.
    if (cd "$work/source" && with_sources apt-get source --only-source "$package=$version") >&2; then
        break
    fi
done

unpacked=("$work/source/$package"-*/)
if [ "${#unpacked[@]}" -ne 1 ]; then
    echo "error: no sources of $package to be had" >&2
    exit 1
fi
directory=$root/$(basename "${unpacked[0]}")
rm -rf "$directory"
mv "${unpacked[0]}" "$directory"
# As root, what reads it may run as an account of its own.
chmod -R a+rX "$directory"
echo "$directory" | tee "$installed"
