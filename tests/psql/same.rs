//! Runs a script all four ways, and compares.

use std::process::Output;

use bemi::demo::cluster::Cluster;
use serde_json::Value as Json;

use crate::support::wal::{Item, Transaction, WalReader, changes};
use crate::support::{self, program, proxy};

const CONTEXT: &str = r#"{"user_id":187234}"#;

const TABLES: &str = "
    CREATE TABLE todo (id int PRIMARY KEY, task text, done boolean DEFAULT false);
    CREATE TABLE other (id serial PRIMARY KEY, note text NOT NULL);
    INSERT INTO todo SELECT n, 'task ' || n FROM generate_series(1, 5) AS n;";

/// What one run left: its output, and the log.
struct Run {
    output: Output,
    transactions: Vec<Transaction>,
}

impl Run {
    /// Standard output and standard error, without what differs from run to run.
    fn printed(&self) -> String {
        let printed = format!(
            "{}\n=== stderr\n{}\n=== {}",
            program::text(&self.output.stdout),
            program::text(&self.output.stderr),
            self.output.status
        );
        without_numbers_behind(&["PID ", "\"wal_"], &printed)
    }

    fn messages(&self) -> Vec<&Item> {
        let items = self
            .transactions
            .iter()
            .flat_map(|transaction| &transaction.items);
        items.filter(|item| !item.is_change()).collect()
    }
}

/// "received from server process with PID 1234."; the publication of the table, which is the test's own.
fn without_numbers_behind(markers: &[&str], printed: &str) -> String {
    let mut out = printed.to_owned();
    for marker in markers {
        let mut parts = out.split(marker);
        let mut kept = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            kept.push_str(marker);
            kept.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
        }
        out = kept;
    }
    out
}

/// Asserts that two texts are equal, and shows only where they part.
fn assert_same_text(direct: &str, proxied: &str, context: Option<&str>) {
    let mut lines = direct.lines().zip(proxied.lines()).enumerate();
    if let Some((number, (direct, proxied))) = lines.find(|(_, (direct, proxied))| direct != proxied) {
        panic!("line {number} differs, context {context:?}\ndirect:  {direct}\nproxied: {proxied}");
    }
    assert_eq!(
        direct.len(),
        proxied.len(),
        "one ends before the other, context {context:?}"
    );
}

/// What psql is to do.
pub struct Script<'a> {
    pub arguments: &'a [&'a str],
    pub input: &'a [u8],
    pub encoding: &'a str,
}

async fn run(cluster: &Cluster, port: u16, context: Option<&str>, script: &Script<'_>) -> Run {
    let database = support::database(cluster).await;
    let direct = support::connect(cluster.port(), &database).await;
    direct.batch_execute(TABLES).await.expect("tables");
    let wal = WalReader::create(cluster, &database).await;
    let mut psql = program::libpq(cluster, "psql", port, &database);
    psql.args(["--no-psqlrc", "--set=ON_ERROR_STOP=0", "--echo-errors"])
        .args(script.arguments)
        .env("PGCLIENTENCODING", script.encoding);
    if let Some(context) = context {
        psql.env("PGOPTIONS", program::option("bemi.context", context));
    }
    let output = program::run_with_input(psql, script.input).await;
    let transactions = wal.transactions().await;
    wal.close().await;
    Run { output, transactions }
}

/// Runs a script all four ways; returns what it printed directly.
pub async fn same_with(arguments: &[&str], script: &str) -> String {
    let script = Script {
        arguments,
        input: script.as_bytes(),
        encoding: "UTF8",
    };
    same_script(&script).await.0
}

/// As [`same_with`]; returns also what the last run left in the log.
pub async fn same_script(script: &Script<'_>) -> (String, Vec<Transaction>) {
    let cluster = support::cluster();
    let proxy = proxy::start(cluster).await;
    let (mut first, mut last) = (None, Vec::new());
    for context in [None, Some(CONTEXT)] {
        let direct = run(cluster, cluster.port(), context, script).await;
        let proxied = run(cluster, proxy.port(), context, script).await;
        assert_same_text(&direct.printed(), &proxied.printed(), context);
        assert_eq!(
            changes(&direct.transactions),
            changes(&proxied.transactions),
            "context: {context:?}"
        );
        assert_eq!(direct.messages(), Vec::<&Item>::new());
        match context {
            None => assert_eq!(proxied.messages(), Vec::<&Item>::new()),
            Some(_) => assert_contexts(&proxied),
        }
        first.get_or_insert(direct);
        last = proxied.transactions;
    }
    (first.expect("it ran").printed(), last)
}

pub async fn same(script: &str) -> String {
    same_with(&[], script).await
}

fn assert_contexts(run: &Run) {
    for transaction in &run.transactions {
        for context in transaction.contexts() {
            let context = context.unwrap_or_else(|| panic!("a change without context: {transaction:#?}"));
            assert_eq!(context.get("user_id"), Some(&Json::from(187_234)), "{context}");
            assert!(context.get("SQL").is_some_and(Json::is_string), "{context}");
        }
    }
}
