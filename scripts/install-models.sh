#!/usr/bin/env bash
# Installs what the examples in examples/models need: Prisma and what runs TypeScript in target/models/prisma, SQLAlchemy in
# target/models/venv, in the versions that stand next to the examples; ActiveRecord from the distribution.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=scripts/apt.sh
. ./apt.sh
cd ..

packages=()
# Debian's python3 has the module venv, but not ensurepip, without which a new environment has no pip.
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
ruby -e 'require "active_record"; require "pg"' 2>/dev/null || packages+=(ruby ruby-activerecord ruby-pg)
if [ "${#packages[@]}" -gt 0 ]; then
    apt_install "${packages[@]}"
fi

models=$PWD/target/models
prisma=$models/prisma
mkdir -p "$prisma"

requirements=examples/models/sqlalchemy/requirements.txt
if ! cmp --silent "$requirements" "$models/requirements.txt"; then
    echo "installing $(tr '\n' ' ' <"$requirements")"
    rm -rf "$models/venv"
    python3 -m venv "$models/venv"
    "$models/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
    cp "$requirements" "$models/"
fi

# What Prisma generates must lie beside its packages, and not in the examples.
if ! cmp --silent examples/models/prisma/package-lock.json "$models/package-lock.json"; then
    echo "installing the packages of examples/models/prisma"
    cp examples/models/prisma/package.json examples/models/prisma/package-lock.json "$prisma/"
    npm ci --prefix "$prisma" --no-audit --no-fund --loglevel=error
    cp examples/models/prisma/package-lock.json "$models/"
fi
cp examples/models/prisma/*.ts examples/models/prisma/schema.prisma "$prisma/"
# `generate` downloads the engine of `migrate`, from a place that not every network reaches, and does without it.
(cd "$prisma" && CHECKPOINT_DISABLE=1 PRISMA_SCHEMA_ENGINE_BINARY=$(type -P true) \
    node_modules/.bin/prisma generate >generate.log 2>&1) || {
    cat "$prisma/generate.log" >&2
    exit 1
}
