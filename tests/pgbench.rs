//! pgbench through the proxy, in all its modes: every transaction of the log carries its context.

mod support;

use std::fs;

use serde_json::Value as Json;
use support::proxy::{self, RunningProxy};
use support::wal::{Item, Transaction, WalReader};
use support::{program, version};
use tokio_postgres::Client;

const CONTEXT: &str = r#"{"user_id": 187234, "endpoint": "/bench \\ \"quoted\""}"#;

const MODES: [&str; 3] = ["simple", "extended", "prepared"];

struct Stage {
    direct: Client,
    wal: WalReader,
    proxy: RunningProxy,
    database: String,
}

/// A database that pgbench itself has filled, through the proxy.
async fn stage() -> Stage {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let direct = support::connect(cluster.port(), &database).await;
    let proxy = proxy::start(cluster).await;
    let wal = WalReader::create(cluster, &database).await;
    let stage = Stage {
        direct,
        wal,
        proxy,
        database,
    };
    let printed = stage.pgbench(&["--initialize", "--quiet"], Some(CONTEXT)).await;
    assert!(printed.contains("done in"), "{printed}");
    stage
}

impl Stage {
    /// Runs pgbench through the proxy and returns what it printed.
    async fn pgbench(&self, arguments: &[&str], context: Option<&str>) -> String {
        let mut pgbench = program::libpq(support::cluster(), "pgbench", self.proxy.port(), &self.database);
        pgbench.args(arguments);
        if let Some(context) = context {
            pgbench.env("PGOPTIONS", program::option("bemi.context", context));
        }
        let output = program::run(pgbench).await;
        let printed = program::text(&output.stdout) + &program::text(&output.stderr);
        assert!(output.status.success(), "{printed}");
        assert!(!printed.contains("abort"), "{printed}");
        printed
    }

    /// Runs transactions from several clients, and returns what they left in the log.
    async fn bench(&self, arguments: &[&str], transactions: usize) -> Vec<Transaction> {
        let per_client = (transactions / 4).to_string();
        let mut all = vec![
            "--no-vacuum",
            "--client=4",
            "--jobs=2",
            "--transactions",
            &per_client,
        ];
        all.extend(arguments);
        let printed = self.pgbench(&all, Some(CONTEXT)).await;
        let processed = format!("actually processed: {transactions}/{transactions}");
        assert!(printed.contains(&processed), "{printed}");
        self.wal.transactions().await
    }

    /// What pgbench's own transactions keep equal.
    async fn assert_balanced(&self) {
        let sql =
            "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)";
        let row = self.direct.query_one(sql, &[]).await.expect("sums");
        assert_eq!(row.get::<_, Option<bool>>(0), Some(true));
    }
}

fn table_of(item: &Item) -> Option<&str> {
    match item {
        Item::Insert { table, .. } | Item::Update { table, .. } | Item::Delete { table, .. } => Some(table),
        Item::Truncate { tables } => tables.first().map(|(_, name)| name.as_str()),
        Item::Message { .. } => None,
    }
}

/// Each change stands behind a message that holds the context and the very statement that made the change.
fn assert_contexts(transaction: &Transaction) {
    let context: Json = serde_json::from_str(CONTEXT).expect("JSON");
    let changes = transaction.items.iter().filter_map(table_of);
    for (table, message) in changes.zip(transaction.contexts()) {
        let message = message.unwrap_or_else(|| panic!("no message: {transaction:#?}"));
        for key in ["user_id", "endpoint"] {
            assert_eq!(message.get(key), context.get(key));
        }
        let sql = message.get("SQL").and_then(Json::as_str).expect("the statement");
        assert!(sql.contains(table), "{table} was not changed by {sql}");
    }
}

fn assert_all(transactions: &[Transaction], count: usize, messages: usize) {
    assert_eq!(transactions.len(), count);
    for transaction in transactions {
        assert_contexts(transaction);
        assert_eq!(transaction.messages().len(), messages, "{transaction:#?}");
    }
}

#[tokio::test]
async fn filling_the_tables_carries_context() {
    let stage = stage().await;
    let transactions = stage.wal.transactions().await;
    let rows: usize = transactions
        .iter()
        .map(|transaction| transaction.contexts().len())
        .sum();
    assert!(rows >= 100_011, "{rows}");
    transactions.iter().for_each(assert_contexts);
    let server_side = ["--initialize", "--init-steps=dtGvp", "--quiet"];
    stage.pgbench(&server_side, Some(CONTEXT)).await;
    stage.wal.transactions().await.iter().for_each(assert_contexts);
}

#[tokio::test]
async fn every_transaction_has_its_messages_in_all_modes() {
    let stage = stage().await;
    stage.wal.transactions().await;
    for mode in MODES {
        let mode = format!("--protocol={mode}");
        assert_all(&stage.bench(&["--builtin=tpcb-like", &mode], 100).await, 100, 4);
        assert_all(
            &stage.bench(&["--builtin=simple-update", &mode], 100).await,
            100,
            2,
        );
        assert_eq!(stage.bench(&["--builtin=select-only", &mode], 100).await, []);
        let connecting = ["--builtin=simple-update", "--connect", &mode];
        assert_all(&stage.bench(&connecting, 40).await, 40, 2);
        stage.assert_balanced().await;
    }
}

#[tokio::test]
async fn without_context_there_are_no_messages() {
    let stage = stage().await;
    stage.wal.transactions().await;
    for mode in MODES {
        let mode = format!("--protocol={mode}");
        stage
            .pgbench(&["--no-vacuum", "--transactions=20", &mode], None)
            .await;
        let transactions = stage.wal.transactions().await;
        assert_eq!(transactions.len(), 20);
        assert!(
            transactions
                .iter()
                .all(|transaction| transaction.messages().is_empty())
        );
    }
}

const PIPELINE: &str = "
    \\set aid random(1, 100000)
    \\set delta random(-5000, 5000)
    \\startpipeline
    UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
    SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
    INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, CURRENT_TIMESTAMP);
    \\endpipeline
    SELECT 1;
    \\startpipeline
    BEGIN;
    UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = 1;
    UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = 1;
    END;
    \\endpipeline
    ";

#[tokio::test]
async fn pipelines_keep_each_message_in_its_transaction() {
    let stage = stage().await;
    stage.wal.transactions().await;
    let directory = tempfile::tempdir().expect("a directory");
    let script = directory.path().join("pipeline.sql");
    fs::write(&script, PIPELINE).expect("a script");
    let script = format!("--file={}", script.display());
    for mode in ["--protocol=extended", "--protocol=prepared"] {
        let transactions = stage.bench(&[&script, mode], 60).await;
        assert_all(&transactions, 120, 2);
        stage.assert_balanced().await;
    }
}

const CONFLICTING: &str = "
    \\set delta random(1, 10)
    BEGIN ISOLATION LEVEL REPEATABLE READ;
    UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = 1;
    UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = 1;
    END;
    ";

#[tokio::test]
async fn transactions_that_are_tried_again_are_messaged_again() {
    let stage = stage().await;
    stage.wal.transactions().await;
    // PostgreSQL 14's pgbench gives up instead: there the transactions must not fail, only wait for each other.
    let tools = stage.pgbench(&["--version"], None).await;
    let (tries, script) = if tools.starts_with("pgbench (PostgreSQL) 14.") {
        version::not_tested("transactions that are tried again: pgbench can since PostgreSQL 15");
        (
            "--report-latencies",
            CONFLICTING.replace("REPEATABLE READ", "READ COMMITTED"),
        )
    } else {
        ("--max-tries=1000", CONFLICTING.to_owned())
    };
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("conflicting.sql");
    fs::write(&path, script).expect("a script");
    let file = format!("--file={}", path.display());
    for mode in MODES {
        let mode = format!("--protocol={mode}");
        let transactions = stage.bench(&[&file, tries, &mode], 100).await;
        assert_all(&transactions, 100, 2);
    }
}
