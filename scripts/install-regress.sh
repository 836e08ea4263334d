#!/usr/bin/env bash
# Fetches PostgreSQL's own test suites, in the very version of the installed server package, into target/regress, and
# compiles what they load: for scripts/test-regress.sh. Debian and Ubuntu pack the drivers (pg_regress,
# pg_isolation_regress, isolationtester) with the server; the rest comes from the package's source. Nothing outside of
# target/ changes, but for a compiler and the like where missing, and once all is there, the network is not asked.
#
#   target/regress/version    of the server that the suites belong to
#                  source/    the source of PostgreSQL
#                  lib/       what the server loads for them
#                  bin/       libpq_pipeline
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh
cd ..

# The newest server package; bemi takes that one as well.
major=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'postgresql-[0-9]*' 2>/dev/null \
    | sed -n 's/^installed postgresql-\([0-9]*\)$/\1/p' | sort -n | tail -n 1)
if [ -z "$major" ]; then
    echo "error: no server package postgresql-<version>; scripts/install-postgres.sh installs one on Debian and Ubuntu" >&2
    exit 1
fi
package=postgresql-$major
version=$(dpkg-query -W -f '${source:Version}' "$package")
modules=/usr/lib/postgresql/$major/lib

# Readable for everybody: as root, the servers run as an account of their own.
umask 022
repository=$PWD
root=$repository/target/regress
mkdir -p "$root"
# Another recipe makes something else.
recipe="$version $(cat scripts/install-regress.sh tests/regress/extended.c | sha256sum)"
if [ "$(cat "$root/.installed" 2>/dev/null)" = "$recipe" ]; then
    exit 0
fi

packages=()
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v bzip2 >/dev/null || packages+=(bzip2)
command -v xz >/dev/null || packages+=(xz-utils)
if [ "${#packages[@]}" -gt 0 ]; then
    apt_install "${packages[@]}"
fi

# What is half done stays in here, and goes.
work=$(mktemp -d "$root/.work-XXXXXX")
trap 'rm -rf "$work"' EXIT

# The places that the machine's packages come from, with their sources, and lists of our own: neither is the machine's
# configuration changed, nor need its lists be there.
mkdir -p "$work"/apt/{sources,lists/partial,cache/archives/partial}
shopt -s nullglob
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ ! -f "$file" ] || sed -n 's/^deb[[:space:]]/deb-src /p; /^deb[[:space:]]/p' "$file" >"$work/apt/sources/$(basename "$file" .list).list"
done
for file in /etc/apt/sources.list.d/*.sources; do
    sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$work/apt/sources/$(basename "$file")"
done
if ! grep -rqs '^deb\|^URIs' "$work/apt/sources"; then
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    printf 'deb%s http://deb.debian.org/debian %s main\n' '' "$codename" -src "$codename" >"$work/apt/sources/debian.list"
fi
apt_here() {
    apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/apt/sources" \
        -o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache" -o APT::Sandbox::User= "$@" </dev/null
}
echo "fetching the source of $package $version"
# Some other place may have no sources; it is enough that one has these.
apt_here update || true
cd "$work"
if ! apt_here source --download-only "$package=$version" 2>source.log; then
    # An archive forgets what was superseded. The suites of another minor version fit, but for what it mended.
    cat source.log >&2
    echo "warning: no source of $package $version, which is installed; taking the newest there is" >&2
    apt_here source --download-only "$package"
fi
# Only headers and two libraries of the development packages are wanted, not the compilers that they depend on.
for development in "postgresql-server-dev-$major" libpq-dev; do
    apt_here download "$development=$version" 2>/dev/null || apt_here download "$development"
    dpkg-deb --extract "$development"_*.deb development
done
mkdir source lib bin
tar --extract --file "$(echo "${package}"_*.orig.tar.*)" --directory source --strip-components=1 --no-same-owner \
    --wildcards '*/configure' '*/src/test' '*/src/pl/plpgsql'

echo "compiling what they load"
include=development/usr/include/postgresql
flags=(-O2 -fwrapv -fno-strict-aliasing -D_GNU_SOURCE -I "$include/$major/server" -I "$include/internal" -I "$include")
cc "${flags[@]}" -fPIC -shared -o lib/regress.so source/src/test/regress/regress.c
cc "${flags[@]}" -fPIC -shared -o lib/extended.so "$repository/tests/regress/extended.c"
cp "$modules"/{autoinc,refint}.so lib/
# The library itself is installed with psql; only the name to link with is not.
cc "${flags[@]}" -o bin/libpq_pipeline source/src/test/modules/libpq_pipeline/libpq_pipeline.c \
    "-Ldevelopment/usr/lib/postgresql/$major/lib" -l:libpq.so.5 -lpgcommon -lpgport

rm -rf "${root:?}"/{source,lib,bin}
mv source lib bin "$root"
sed -n 's/^PACKAGE_VERSION=.\(.*\)./\1/p' "$root/source/configure" >"$root/version"
echo "$recipe" >"$root/.installed"
echo "PostgreSQL's test suites: $(cat "$root/version") in target/regress"
