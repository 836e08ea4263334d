//! Drivers of other languages cannot tell the proxy from the server. Run by `make test-clients`, not by `make test`:
//! each needs what `scripts/install-clients.sh` installs.
//!
//! A suite is a program that runs its scenarios one by one against `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`,
//! `PGDATABASE` and prints what the driver sees ([`transcript`] says how). It starts its sessions with `BEMI_CONTEXT` as
//! the context, where that is not empty. `PGSSLMODE` is `disable`; for TLS there are `BEMI_ROOT_CERT`, the root of the
//! certificate that is shown, and `BEMI_WRONG_ROOT_CERT`, which is not.
//!
//! It runs on three fresh databases: directly, through `bemi proxy` without context, and with one. What it prints must be
//! the same, and so must the changes in the write-ahead log. Each change must carry the context that its row names in the
//! column `who`, else the one of the session's start. What came of it all is written to `docs/clients.md`.
//!
//! `cargo test --test clients -- psycopg asyncpg` runs only these, and writes nothing; `--show` tells what they saw of the
//! server.

// What the other tests share is used here by halves.
#[allow(dead_code)]
#[path = "../certificates/pki.rs"]
mod pki;
#[path = "../support/mod.rs"]
mod support;

mod comparison;
mod feature;
mod language;
mod stage;
mod suite;
mod table;
mod transcript;

use std::process::ExitCode;

use comparison::compare;
use stage::Stage;
use suite::SUITES;
use support::score::{Score, is_wanted};
use table::Row;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let stage = Stage::start().await;
    let mut score = Score::default();
    let mut rows = Vec::new();
    for suite in SUITES.iter().filter(|suite| is_wanted(suite.name)) {
        rows.push(match suite.missing() {
            Some(missing) => {
                let script = "scripts/install-clients.sh";
                score.leave_out(suite.name, &missing, script, suite.is_optional());
                Row::not_run(suite.name)
            }
            None => compare(suite, &stage, &mut score).await,
        });
    }
    if rows.len() == SUITES.len() {
        let server = format!("PostgreSQL {}", stage.cluster.server_version());
        table::write(&rows, &server).expect("docs/clients.md");
    }
    score.end()
}
