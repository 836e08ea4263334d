#!/usr/bin/env bash
# Installs the drivers that `make test-clients` runs into target/clients: those of tests/clients/python/requirements.txt
# in an environment of their own, those of tests/clients/node/package-lock.json, those of Rust from their own lock file
# (tests/clients/rust), and the programs that use them. psql, libpq, psqlodbc and the drivers of Perl, PHP and Ruby are
# the distribution's packages. Prisma, Drizzle and TypeORM are installed, in target/clients/orm, where Node is new enough
# for them; the suites of Go and Java are built where there is a Go of 1.21 or newer (it fetches the one that go.mod asks
# for) and a Java 17 or newer with Maven. What is left out is said loudly.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh
cd ..

# The suites of C, Perl, PHP, Ruby, the shell and ODBC; libpq also for Diesel.
packages=(
    gcc libc6-dev libpq-dev
    libdbd-pg-perl
    php-cli php-pgsql
    ruby ruby-pg ruby-activerecord
    unixodbc odbc-postgresql
)
# Debian's python3 has the module venv, but not ensurepip, without which a new environment has no pip.
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
command -v psql >/dev/null || packages+=(postgresql-client)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
apt_install "${packages[@]}"

clients=$PWD/target/clients
mkdir -p "$clients"
touch "$clients/packages.installed"

gcc -std=c11 -O1 -Wall -Wextra -D_DEFAULT_SOURCE "-I$(pg_config --includedir)" -o "$clients/suite_libpq" tests/clients/c/*.c \
    -lpq -lpthread

(cd tests/clients/rust && CARGO_TARGET_DIR="$clients/rust" cargo build --locked --quiet)

# installed LIST: whether this very list was installed before.
installed() {
    cmp --silent "$1" "$clients/${1//\//_}.installed"
}

done_with() {
    cp "$1" "$clients/${1//\//_}.installed"
}

requirements=tests/clients/python/requirements.txt
if ! installed "$requirements"; then
    echo "installing $(tr '\n' ' ' <"$requirements")"
    rm -rf "$clients/venv"
    python3 -m venv "$clients/venv"
    "$clients/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
    done_with "$requirements"
fi

lock=tests/clients/node/package-lock.json
if ! installed "$lock"; then
    echo "installing the packages of $lock"
    cp tests/clients/node/package.json "$lock" "$clients/"
    npm ci --prefix "$clients" --no-audit --no-fund --loglevel=error
    done_with "$lock"
fi

# What TypeORM asks for, which is a little more than Prisma does.
node_for_orms='const [major, minor] = process.versions.node.split(".").map(Number);
const least = { 20: 19, 22: 13, 24: 11 }[major];
process.exit(major > 24 || minor >= least ? 0 : 1)'
orm=tests/clients/node/orm
if ! node -e "$node_for_orms"; then
    rm -rf "$clients/orm"
    echo "NOT INSTALLED: Prisma, Drizzle and TypeORM; they need Node 20.19, 22.13, 24.11 or newer, and this is $(node --version)" >&2
elif ! installed "$orm/package-lock.json" || ! installed "$orm/schema.prisma" || [ ! -e "$clients/orm/generated" ]; then
    echo "installing the packages of $orm"
    mkdir -p "$clients/orm"
    cp "$orm"/* "$clients/orm/"
    # Prisma's scripts and its `generate` download the engine of `migrate`, from a place that not every network reaches, and do
    # without it.
    npm ci --prefix "$clients/orm" --ignore-scripts --no-audit --no-fund --loglevel=error
    (cd "$clients/orm" && CHECKPOINT_DISABLE=1 PRISMA_SCHEMA_ENGINE_BINARY=$(type -P true) \
        node_modules/.bin/prisma generate --schema schema.prisma >generate.log 2>&1) || {
        cat "$clients/orm/generate.log" >&2
        exit 1
    }
    done_with "$orm/package-lock.json"
    done_with "$orm/schema.prisma"
fi

if go version 2>/dev/null | grep -Eq 'go1\.(2[1-9]|[3-9][0-9])'; then
    for suite in pgx pq; do
        (cd tests/clients/go && go build -mod=readonly -o "$clients/suite_$suite" "./$suite")
    done
else
    echo "NOT INSTALLED: pgx and lib/pq; they need Go 1.21 or newer" >&2
fi

if command -v javac >/dev/null && command -v mvn >/dev/null; then
    pom=tests/clients/java/pom.xml
    if ! installed "$pom" || [ -n "$(find tests/clients/java -newer "$clients/${pom//\//_}.installed")" ]; then
        echo "building pgjdbc's suites"
        mvn --batch-mode --quiet --file "$pom" compile
        done_with "$pom"
    fi
else
    echo "NOT INSTALLED: pgjdbc; it needs a JDK of 17 or newer and Maven" >&2
fi
