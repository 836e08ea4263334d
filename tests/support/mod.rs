//! What integration tests share: a server per test binary, a database per test, and a reader of the write-ahead log.
//!
//! ```no_run
//! mod support;
//!
//! #[tokio::test]
//! async fn an_insert_stands_behind_its_message() {
//!     let cluster = support::cluster();
//!     let database = support::database(cluster).await;
//!     let client = support::connect(cluster.port(), &database).await;
//!     client.batch_execute("CREATE TABLE todo (id int PRIMARY KEY)").await.unwrap();
//!     let wal = support::wal::WalReader::create(cluster, &database).await;
//!     // ... write, directly or through a proxy ...
//!     let transactions = wal.transactions().await;
//!     assert_eq!(transactions[0].messages_before("todo"), [serde_json::json!({"user_id": 1})]);
//! }
//! ```

// Every test binary compiles all of this and uses some of it.
#![allow(dead_code)]

pub mod bemi_process;
pub mod conversation;
pub mod panics;
pub mod pgbouncer;
pub mod program;
pub mod proxy;
pub mod raw;
pub mod referee;
pub mod score;
pub mod tls;
pub mod track_process;
pub mod version;
pub mod wal;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use bemi::demo::cluster::{Cluster, ClusterOptions};
use tokio::sync::mpsc;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls};

/// The server that all tests of this binary share, started by the first of them.
///
/// Statics are not dropped, and need not be: the cluster's guard stops the server when this process ends.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::start(&ClusterOptions::default()).expect("a throw-away server"))
}

/// A number that is asked for in the environment.
pub fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}")),
        Err(_) => default,
    }
}

/// Makes a fresh, empty database and returns its name.
pub async fn database(cluster: &Cluster) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let client = connect(cluster.port(), "postgres").await;
    client
        .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))
        .await
        .expect("a fresh database");
    name
}

/// Connects to 127.0.0.1 as `postgres`: to a server, or to a proxy in front of it.
pub async fn connect(port: u16, database: &str) -> Client {
    connect_with(&config(port, database)).await.0
}

/// As [`connect`], from a configuration; also hands out the notices that arrive.
pub async fn connect_with(config: &Config) -> (Client, mpsc::UnboundedReceiver<DbError>) {
    let (client, mut connection) = config.connect(NoTls).await.expect("a connection");
    let (sender, notices) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message {
                // The test may not care for notices.
                let _ = sender.send(notice);
            }
        }
    });
    (client, notices)
}

/// The configuration that [`connect`] uses.
pub fn config(port: u16, database: &str) -> Config {
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(port)
        .user("postgres")
        .dbname(database);
    config
}
