//! Runs a scenario all three ways, and compares what it noted.

use std::fmt::Debug;

use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio_postgres::error::DbError;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row, SimpleQueryMessage};

use crate::support::wal::{Transaction, WalReader, changes};
use crate::support::{self, proxy};

const CONTEXT: &str = r#"{"user_id":187234}"#;

const TABLES: &str = "
    CREATE TYPE mood AS ENUM ('calm', 'busy');
    CREATE TABLE todo (id int PRIMARY KEY, task text, done boolean DEFAULT false);
    CREATE TABLE every_type (id bigserial PRIMARY KEY, b bytea, n bigint, f double precision, a int[], t text, m mood);
    INSERT INTO todo SELECT n, 'task ' || n FROM generate_series(1, 5) AS n;";

/// A client and what it has seen.
pub struct Peer {
    pub client: Client,
    pub notices: mpsc::UnboundedReceiver<DbError>,
    pub notes: Vec<String>,
}

impl Peer {
    async fn connect(config: &Config) -> Self {
        let (client, notices) = support::connect_with(config).await;
        Self {
            client,
            notices,
            notes: Vec::new(),
        }
    }

    pub fn note(&mut self, what: impl Debug) {
        self.notes.push(format!("{what:?}"));
    }

    pub async fn execute(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) {
        let result = self.client.execute(sql, parameters).await;
        self.note(result);
    }

    pub async fn query(&mut self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) {
        let rows = self.client.query(sql, parameters).await;
        self.note(rows.map(|rows| rows.iter().map(texts).collect::<Vec<_>>()));
    }

    pub async fn simple(&mut self, sql: &str) {
        let messages = self.client.simple_query(sql).await;
        self.note(messages.map(|messages| messages.iter().map(outline).collect::<Vec<_>>()));
    }
}

/// A row whose columns are all of type text or integer.
pub fn texts(row: &Row) -> Vec<String> {
    let cell = |at: usize| match *row.columns()[at].type_() {
        Type::INT4 => format!("{:?}", row.get::<_, Option<i32>>(at)),
        Type::INT8 => format!("{:?}", row.get::<_, Option<i64>>(at)),
        Type::BOOL => format!("{:?}", row.get::<_, Option<bool>>(at)),
        _ => format!("{:?}", row.get::<_, Option<String>>(at)),
    };
    (0..row.len()).map(cell).collect()
}

pub fn outline(message: &SimpleQueryMessage) -> String {
    match message {
        SimpleQueryMessage::Row(row) => {
            let cells: Vec<_> = (0..row.len()).map(|at| row.get(at)).collect();
            format!("{cells:?}")
        }
        other => format!("{other:?}"),
    }
}

async fn run(
    port: u16,
    context: Option<&str>,
    scenario: &impl AsyncFn(&mut Peer),
) -> (Vec<String>, Vec<Transaction>) {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let direct = support::connect(cluster.port(), &database).await;
    direct.batch_execute(TABLES).await.expect("tables");
    let wal = WalReader::create(cluster, &database).await;
    let mut config = support::config(port, &database);
    if let Some(context) = context {
        config.options(format!("-c bemi.context={context}"));
    }
    let mut peer = Peer::connect(&config).await;
    scenario(&mut peer).await;
    let transactions = wal.transactions().await;
    wal.close().await;
    (peer.notes, transactions)
}

/// Runs a scenario in all three ways and compares; returns the last run's transactions.
pub async fn same(scenario: impl AsyncFn(&mut Peer)) -> Vec<Transaction> {
    let cluster = support::cluster();
    let proxy = proxy::start(cluster).await;
    let (expected, direct) = run(cluster.port(), None, &scenario).await;
    assert!(!expected.is_empty());
    let mut last = Vec::new();
    for context in [None, Some(CONTEXT)] {
        let (notes, transactions) = run(proxy.port(), context, &scenario).await;
        for (number, (expected, note)) in expected.iter().zip(&notes).enumerate() {
            assert_eq!(expected, note, "note {number}, context {context:?}");
        }
        assert_eq!(expected.len(), notes.len(), "context {context:?}");
        assert_eq!(changes(&direct), changes(&transactions), "context {context:?}");
        let messages = transactions.iter().flat_map(Transaction::messages);
        if context.is_none() {
            assert_eq!(messages.collect::<Vec<_>>(), Vec::<Json>::new());
        }
        last = transactions;
    }
    for context in last.iter().flat_map(Transaction::contexts) {
        let context = context.unwrap_or_else(|| panic!("a change without context: {last:#?}"));
        assert_eq!(context.get("user_id"), Some(&Json::from(187_234)), "{context}");
        assert!(context.get("SQL").is_some_and(Json::is_string), "{context}");
    }
    last
}
