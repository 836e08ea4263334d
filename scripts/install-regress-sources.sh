#!/usr/bin/env bash
# Fetches the sources of a PostgreSQL server, as the distribution builds it, into target/regress, for its regression suite.
# Prints the directory, and nothing else, to standard output.
#   scripts/install-regress-sources.sh [PACKAGE]      postgresql-15 unless told otherwise
#
# The suite's files are PostgreSQL's, and are not kept in this repository. Nothing outside of target/ changes, but for
# dpkg-dev where missing.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh
# shellcheck source=scripts/apt-source.sh
. ./apt-source.sh
cd ..

package=${1:-postgresql-15}
root=$PWD/target/regress
mkdir -p "$root"
installed=$root/$package.installed

if ! [ -d "$(cat "$installed" 2>/dev/null)" ]; then
    fetch_source "$package" "$root" >"$installed.new"
    mv "$installed.new" "$installed"
fi
cat "$installed"
