//! The queries of `examples/models` find what they should. Run by `make test-models`, not by `make test`: each needs what
//! `scripts/install-models.sh` installs.
//!
//! `changes` is one plain table for the first run and partitioned by time for the second; both hold tests/models/fixture.sql.
//!
//! `cargo test --test models -- prisma rails` runs only these.

// What the other tests share is used here by halves.
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use support::cluster;

const CHANGES: &str = include_str!("../../src/track/schema/changes.sql");
const FUNCTIONS: &str = include_str!("../../src/track/schema/functions.sql");
const FIXTURE: &str = include_str!("fixture.sql");

const NAMES: [&str; 3] = ["prisma", "sqlalchemy", "rails"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let databases = [
        ("one plain table", database("id", "", "").await),
        (
            "a partitioned table",
            database(
                "id, committed_at",
                "PARTITION BY RANGE (committed_at)",
                "CREATE TABLE changes_default PARTITION OF changes DEFAULT",
            )
            .await,
        ),
    ];
    let (mut passed, mut failed) = (0, 0);
    for name in NAMES {
        if !wanted.is_empty() && !wanted.iter().any(|word| word == name) {
            continue;
        }
        for (kind, database) in &databases {
            println!("{name}, on {kind}:");
            match run(name, database) {
                Ok(()) => passed += 1,
                Err(why) => {
                    println!("FAILED  {name}, on {kind}: {why}");
                    failed += 1;
                }
            }
        }
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A database with the tables of bemi track, filled.
async fn database(primary_key: &str, partitioning: &str, partition: &str) -> String {
    let name = support::database(cluster()).await;
    let client = support::connect(cluster().port(), &name).await;
    for script in [CHANGES, FUNCTIONS, partition, FIXTURE] {
        let script = script
            .replace("@schema@", "public")
            .replace("@primary_key@", primary_key)
            .replace("@partitioning@", partitioning);
        client
            .batch_execute(&script)
            .await
            .expect("the schema and the fixture");
    }
    name
}

/// Runs an example to its end. What it prints is the report.
fn run(name: &str, database: &str) -> Result<(), String> {
    let status = command(name)
        .env("DATABASE_URL", cluster().url(database, &[]))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("{error}; scripts/install-models.sh installs it"))?;
    if status.success() {
        Ok(())
    } else {
        Err(status.to_string())
    }
}

fn command(name: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (examples, installed) = (root.join("examples/models"), root.join("target/models"));
    let (program, script) = match name {
        "prisma" => (
            installed.join("prisma/node_modules/.bin/tsx"),
            installed.join("prisma/queries.ts"),
        ),
        "sqlalchemy" => (
            installed.join("venv/bin/python"),
            examples.join("sqlalchemy/queries.py"),
        ),
        _ => ("ruby".into(), examples.join("rails/queries.rb")),
    };
    let mut command = Command::new(program);
    command.arg(script);
    command
}
