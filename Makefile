# `make` alone lists what there is to do. Every target installs what it needs and is missing.
# SECONDS_PER_TARGET=300 make fuzz; BEMI_PG_BIN=/path/to/bin make test (another PostgreSQL server);
# VERSIONS='14 18' make test-versions.

.DEFAULT_GOAL := help
.PHONY: help build demo test test-twin test-lexer test-versions test-clients test-models test-regress test-examples chaos fuzz lint fmt fmt-check deny bench bench-micro bench-track check build-tools postgres

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: build-tools ## build bemi for use: target/release/bemi
	cargo build --locked --release

demo: build-tools postgres ## see it work in a minute, on a throw-away PostgreSQL
	cargo run --locked -- demo

test: build-tools postgres ## all tests, against a real PostgreSQL server
	scripts/install-test-tools.sh
	scripts/install-pgbouncer.sh
	cargo test --locked

test-lexer: build-tools ## the lexer against the server's own parser, on PostgreSQL's regression suite; MUTANTS=1000000 for longer
	scripts/install-regress-sources.sh >/dev/null
	scripts/test-lexer.sh -- --nocapture

test-twin: build-tools postgres ## random sessions, with the server and through the proxy; BEMI_SESSIONS=1000 for fewer
	BEMI_SESSIONS=$${BEMI_SESSIONS:-10000} cargo test --locked --test twin -- --nocapture

test-versions: build-tools ## all tests, on each of PostgreSQL 14 to 18
	scripts/install-test-tools.sh
	scripts/install-postgres-versions.sh
	scripts/test-versions.sh $(VERSIONS)

test-clients: build-tools postgres ## drivers of many languages through the proxy; writes docs/clients.md
	scripts/install-clients.sh
	scripts/test-clients.sh

test-models: build-tools postgres ## the models of Prisma, SQLAlchemy and Rails for the table changes
	scripts/install-models.sh
	scripts/test-models.sh

test-examples: build-tools postgres ## the applications of examples/, each with many users at once
	scripts/install-examples.sh
	scripts/test-examples.sh

test-regress: build-tools postgres ## PostgreSQL's own test suites through the proxy, on Debian and Ubuntu
	scripts/install-regress.sh
	scripts/test-regress.sh

chaos: build-tools postgres ## kill tracker and servers, and count what is stored; CHAOS_KILLS=200 make chaos for longer
	CHAOS_KILLS=$${CHAOS_KILLS:-60} cargo test --locked --test chaos -- --nocapture

fuzz: build-tools ## fuzz every parser, 60 seconds each
	scripts/fuzz.sh

lint: build-tools ## clippy; warnings are errors
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy --locked --test clients --test models --test examples --test regress -- --deny warnings

fmt: ## format the code
	cargo fmt --all
	cargo fmt --manifest-path tests/parser/Cargo.toml

fmt-check: ## say what is not formatted
	cargo fmt --all --check
	cargo fmt --manifest-path tests/parser/Cargo.toml --check

deny: build-tools ## licences, duplicates, sources and known vulnerabilities of the dependencies
	scripts/deny.sh

bench: build-tools postgres ## what the proxy costs, beside PgBouncer and HAProxy; about an hour, on a quiet machine; ARGS='rounds=1 seconds=2 select' for less
	scripts/install-bench-tools.sh
	cargo bench --locked --bench proxy -- $(or $(ARGS),page)

bench-micro: build-tools ## what the pure parts cost, in nanoseconds; ARGS=session for one group
	cargo bench --locked --bench micro -- $(ARGS)

bench-track: build-tools postgres ## what bemi track keeps up with; ROWS=100000 for a smaller backlog
	cargo bench --locked --bench track -- $(ROWS) $(ROUNDS)

check: fmt-check lint deny test test-clients ## all that continuous integration checks

build-tools:
	@scripts/install-build-tools.sh

postgres:
	@scripts/install-postgres.sh
