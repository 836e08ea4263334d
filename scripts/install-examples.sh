#!/usr/bin/env bash
# Installs the applications of examples/, each into target/examples/<name>, with the versions of its own lock file.
# Nothing outside of target/ changes, but for Python and Ruby themselves where missing. Applications of other languages are
# installed where there is a Node of 20.19 or newer with npm, a Go of 1.21 or newer (it fetches the one that go.mod asks
# for), a Java of 17 or newer with Maven, and left out, loudly, where not.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh
cd ..

installed=$PWD/target/examples
mkdir -p "$installed"

packages=()
# Debian's python3 has the module venv, but not ensurepip, without which a new environment has no pip.
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
ruby -e 'require "rails"; require "active_record"; require "pg"; require "puma"' 2>/dev/null ||
    packages+=(ruby ruby-railties ruby-activerecord ruby-pg puma)
if [ "${#packages[@]}" -gt 0 ]; then
    apt_install "${packages[@]}"
fi

# fresh NAME FILE...: whether these files of the example were installed before just as they are.
fresh() {
    local name=$1 file
    shift
    for file in "$@"; do
        cmp --silent "examples/$name/$file" "$installed/$name/.installed/$file" || return 1
    done
}

done_with() {
    local name=$1
    shift
    mkdir -p "$installed/$name/.installed"
    (cd "examples/$name" && cp "$@" "$installed/$name/.installed/")
}

# copy NAME: what the example consists of, without what its reader may have built there.
copy() {
    mkdir -p "$installed/$1"
    (cd "examples/$1" && find . \( -name node_modules -o -name generated -o -name .next -o -name target -o -name .venv \) -prune \
        -o -type f -exec cp --parents {} "$installed/$1/" \;)
}

# Packages of Node are found beside the file that imports them, so that the application runs from a copy.
node_example() {
    local name=$1
    copy "$name"
    if ! fresh "$name" package.json package-lock.json; then
        echo "installing the packages of examples/$name"
        npm ci --prefix "$installed/$name" --no-audit --no-fund --loglevel=error
        done_with "$name" package.json package-lock.json
    fi
}

python_example() {
    local name=$1
    copy "$name"
    if ! fresh "$name" requirements.txt; then
        echo "installing the packages of examples/$name"
        rm -rf "$installed/$name/venv"
        python3 -m venv "$installed/$name/venv"
        "$installed/$name/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
            --requirement "examples/$name/requirements.txt"
        done_with "$name" requirements.txt
    fi
}

# run NAME COMMAND...: in the copy; what it prints is shown only if it fails.
run() {
    local log=$installed/$1/install.log
    (cd "$installed/$1" && shift && "$@") >"$log" 2>&1 || {
        cat "$log" >&2
        return 1
    }
}

if command -v npm >/dev/null && node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' 2>/dev/null; then
    node_example express-prisma
    # `generate` downloads the engine of `migrate`, from a place that not every network reaches, and does without it.
    run express-prisma env CHECKPOINT_DISABLE=1 PRISMA_SCHEMA_ENGINE_BINARY="$(type -P true)" \
        node_modules/.bin/prisma generate
    node_example apollo-server
    node_example trpc
    node_example nextjs
    if [ -n "$(find examples/nextjs -newer "$installed/nextjs/.next/BUILD_ID" 2>&1)" ]; then
        echo "building examples/nextjs"
        run nextjs env NEXT_TELEMETRY_DISABLED=1 npm run build
    fi
else
    echo "NOT INSTALLED: the examples of Node; they need Node 20.19 or newer, and npm" >&2
fi

python_example fastapi-sqlalchemy
python_example django
copy rails

if go version 2>/dev/null | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])'; then
    copy go-pgx
    run go-pgx go build -mod=readonly -o todo .
else
    echo "NOT INSTALLED: the example of pgx; it needs Go 1.21 or newer" >&2
fi

if command -v javac >/dev/null && command -v mvn >/dev/null; then
    copy jdbc
    if ! fresh jdbc pom.xml || [ -n "$(find examples/jdbc -newer "$installed/jdbc/.installed/pom.xml")" ]; then
        echo "building examples/jdbc"
        run jdbc mvn --batch-mode --quiet compile
        done_with jdbc pom.xml
    fi
else
    echo "NOT INSTALLED: the example of JDBC; it needs a JDK of 17 or newer and Maven" >&2
fi
