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

mod api;
mod app;
mod blame;
mod http;
mod story;
mod visitors;

use std::process::ExitCode;

use app::{APPS, App, POOL_SIZE};
use bemi::demo::cluster::Cluster;
use support::bemi_process::BemiProcess;
use support::score::{Score, is_wanted};
use support::wal::WalReader;

const TABLE: &str = include_str!("../../examples/todo.sql");

/// What went well is told in words, what did not with its reason.
fn count(score: &mut Score, app: &App, what: &str, result: Result<String, String>) {
    let told = result.as_deref().unwrap_or_default();
    score.count(app.name, &format!("{what}{told}"), result.map(drop));
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cluster = support::cluster();
    let upstream = cluster.url("postgres", &[("sslmode", "disable")]);
    let proxy = BemiProcess::start(&upstream, &std::env::temp_dir(), &[]);
    let mut score = Score::default();
    for app in APPS.iter().filter(|app| is_wanted(app.name)) {
        if let Some(missing) = app.missing() {
            let script = "scripts/install-examples.sh";
            score.leave_out(app.name, &missing, script, app.is_optional);
            continue;
        }
        crowd(app, cluster, proxy.port(), &mut score).await;
        if app.tells_the_story {
            let told = story::tell(app, cluster, proxy.port()).await;
            count(&mut score, app, "the table changes tells who did what", told);
        }
    }
    score.end()
}

/// Many at the same time.
async fn crowd(app: &App, cluster: &Cluster, proxy: u16, score: &mut Score) {
    let database = database(cluster).await;
    let running = match app.start(proxy, &database).await {
        Ok(running) => running,
        Err(why) => return count(score, app, "starts", Err(why)),
    };
    let wal = WalReader::create(cluster, &database).await;
    let visits = visitors::crowd(app.api, running.port()).await;
    let connections = connections(cluster, &database).await;
    let transactions = wal.transactions().await;
    wal.close().await;
    let answered = visits
        .verdict()
        .map_err(|why| format!("{why}\n{}", running.log()));
    count(score, app, "answers", answered);
    // One of them is the reader's.
    let shared = if connections - 1 <= POOL_SIZE {
        Ok(String::new())
    } else {
        Err(format!("    {} connections", connections - 1))
    };
    count(
        score,
        app,
        &format!("has no more than {POOL_SIZE} connections"),
        shared,
    );
    let blamed = blame::judge(app, &visits.expected, &transactions);
    count(score, app, "every change carries its request", blamed);
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
