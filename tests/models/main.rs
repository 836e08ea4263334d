//! The queries of `examples/models` find what they should. Run by `make test-models`, not by `make test`: each needs what
//! `scripts/install-models.sh` installs.
//!
//! `changes` is one plain table for the first run and partitioned by time for the second. Both are filled by `bemi track` from
//! what examples/models/README.md tells, done through a proxy.
//!
//! `cargo test --test models -- prisma rails` runs only these.

// What the other tests share is used here by halves.
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use support::cluster;
use support::score::{Score, is_wanted};
use support::track_process::TrackProcess;

const TABLE: &str = "CREATE TABLE todo (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, task text NOT NULL, \
     done boolean NOT NULL DEFAULT false); ALTER TABLE todo REPLICA IDENTITY FULL";

/// Who, in which request, and what.
const STORY: [(&str, &str); 5] = [
    (
        r#"{"user_id": 187234, "request_id": "r-1"}"#,
        "INSERT INTO todo (task) VALUES ('Sleep')",
    ),
    (
        r#"{"user_id": 187234, "request_id": "r-2"}"#,
        "BEGIN; UPDATE todo SET task = 'Eat' WHERE id = 1; INSERT INTO todo (task) VALUES ('Repeat'); COMMIT",
    ),
    (
        r#"{"user_id": 42, "request_id": "r-3"}"#,
        "UPDATE todo SET done = true WHERE id = 2",
    ),
    (
        r#"{"user_id": 42, "request_id": "r-4"}"#,
        "DELETE FROM todo WHERE id = 2",
    ),
    ("", "INSERT INTO todo (task) VALUES ('Nobody said')"),
];

/// How many changes that makes.
const CHANGES: i64 = 6;

/// Between two of them: the questions about a time tell them apart by milliseconds.
const PAUSE: Duration = Duration::from_millis(20);

const NAMES: [&str; 3] = ["prisma", "sqlalchemy", "rails"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let databases = [
        ("one plain table", database(&[]).await),
        ("a partitioned table", database(&["--retention", "90d"]).await),
    ];
    let mut score = Score::default();
    for name in NAMES.into_iter().filter(|name| is_wanted(name)) {
        for (kind, database) in &databases {
            println!("{name}, on {kind}:");
            score.count(name, &format!("on {kind}"), run(name, database));
        }
    }
    score.end()
}

/// A database with the table `changes`, filled by `bemi track` with these arguments.
async fn database(arguments: &[&str]) -> String {
    let name = support::database(cluster()).await;
    let client = support::connect(cluster().port(), &name).await;
    client.batch_execute(TABLE).await.expect("the table");
    // The slot's name is the server's.
    let arguments = [&["--slot", &*name], arguments].concat();
    let tracker = TrackProcess::on(cluster(), &name, &arguments);
    wait_for(&tracker, || async {
        let slot = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1 AND active";
        client
            .query_one(slot, &[&name])
            .await
            .is_ok_and(|row| row.get::<_, i64>(0) == 1)
    })
    .await;
    let proxy = support::proxy::start(cluster()).await;
    let application = support::connect(proxy.port(), &name).await;
    for (context, statements) in STORY {
        let context = if context.is_empty() {
            "RESET bemi.context".to_owned()
        } else {
            format!("SET bemi.context = '{context}'")
        };
        application.batch_execute(&context).await.expect("a context");
        application.batch_execute(statements).await.expect("the story");
        tokio::time::sleep(PAUSE).await;
    }
    wait_for(&tracker, || async {
        let stored = client.query_one("SELECT count(*) FROM changes", &[]).await;
        stored.is_ok_and(|row| row.get::<_, i64>(0) == CHANGES)
    })
    .await;
    name
}

/// Waits until it is so.
async fn wait_for<F: Future<Output = bool>>(tracker: &TrackProcess, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so().await {
        assert!(
            Instant::now() < deadline,
            "bemi track takes too long:\n{}",
            tracker.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
