//! The applications of `examples/` blame the right request for every change. Run by `make test-examples`, not by `make test`:
//! each needs what `scripts/install-examples.sh` installs.
//!
//! An application runs as its reader would start it, with a pool of two connections to `bemi proxy`. Several visitors of two
//! users, and some of nobody, ask it at the same time; some of what they ask fails halfway. Then every change in the
//! write-ahead log must carry the user who asked for it (`author` of its row) and the very request, and there must be no other.
//!
//! `cargo test --test examples -- go-pgx nextjs` runs only these.

// What the other tests share is used here by halves.
#[path = "../support/mod.rs"]
mod support;

#[path = "../clients/bemi_process.rs"]
mod bemi_process;

mod api;
mod app;
mod blame;
mod http;
mod story;
mod visitors;

use std::process::ExitCode;

use app::{APPS, App, POOL_SIZE};
use bemi::demo::cluster::Cluster;
use bemi_process::BemiProcess;
use support::wal::WalReader;

const TABLE: &str = include_str!("../../examples/todo.sql");

/// How many things were as they should be, and how many not.
#[derive(Default)]
struct Score {
    passed: usize,
    failed: usize,
    /// Applications that could not run.
    left_out: usize,
}

impl Score {
    /// What went well is told in words, what did not with its reason.
    fn count(&mut self, app: &App, what: &str, result: Result<String, String>) {
        match result {
            Ok(told) => {
                self.passed += 1;
                println!("ok      {}: {what}{told}", app.name);
            }
            Err(why) => {
                self.failed += 1;
                println!("FAILED  {}: {what}\n{why}", app.name);
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let cluster = support::cluster();
    let proxy = BemiProcess::start(cluster);
    let mut score = Score::default();
    for app in APPS {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == app.name) {
            continue;
        }
        if let Some(missing) = app.missing() {
            println!(
                "NOT RUN {}: no {missing}; scripts/install-examples.sh installs it",
                app.name
            );
            score.left_out += usize::from(app.is_optional);
            score.failed += usize::from(!app.is_optional);
            continue;
        }
        crowd(app, cluster, proxy.port(), &mut score).await;
        if app.tells_the_story {
            let told = story::tell(app, cluster, proxy.port()).await;
            score.count(app, "the table changes tells who did what", told);
        }
    }
    println!(
        "\n{} passed, {} failed, {} applications not run",
        score.passed, score.failed, score.left_out
    );
    if score.failed == 0 && score.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Many at the same time.
async fn crowd(app: &App, cluster: &Cluster, proxy: u16, score: &mut Score) {
    let database = database(cluster).await;
    let running = match app.start(proxy, &database).await {
        Ok(running) => running,
        Err(why) => return score.count(app, "starts", Err(why)),
    };
    let wal = WalReader::create(cluster, &database).await;
    let visits = visitors::crowd(app.api, running.port()).await;
    let connections = connections(cluster, &database).await;
    let transactions = wal.transactions().await;
    wal.close().await;
    let answered = visits
        .verdict()
        .map_err(|why| format!("{why}\n{}", running.log()));
    score.count(app, "answers", answered);
    // One of them is the reader's.
    let shared = if connections - 1 <= POOL_SIZE {
        Ok(String::new())
    } else {
        Err(format!("    {} connections", connections - 1))
    };
    score.count(app, &format!("has no more than {POOL_SIZE} connections"), shared);
    let blamed = blame::judge(app, &visits.expected, &transactions);
    score.count(app, "every change carries its request", blamed);
}

/// How many there are to this database.
async fn connections(cluster: &Cluster, database: &str) -> i64 {
    let client = support::connect(cluster.port(), "postgres").await;
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1";
    let row = client.query_one(count, &[&database]).await;
    row.expect("the connections").get(0)
}

/// A database with the table of the examples.
async fn database(cluster: &Cluster) -> String {
    let name = support::database(cluster).await;
    let client = support::connect(cluster.port(), &name).await;
    client.batch_execute(TABLE).await.expect("the table");
    name
}
