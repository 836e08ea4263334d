//! The rules of injection, on a real server: what arrives in the write-ahead log for each kind of write.

mod support;

use serde_json::{Value as Json, json};
use support::proxy::{self, RunningProxy};
use support::wal::WalReader;
use tokio_postgres::Client;

struct Stage {
    direct: Client,
    client: Client,
    wal: WalReader,
    proxy: RunningProxy,
    database: String,
}

async fn stage() -> Stage {
    let cluster = support::cluster();
    let database = support::database(cluster).await;
    let direct = support::connect(cluster.port(), &database).await;
    direct
        .batch_execute(
            "CREATE TABLE todo (id int PRIMARY KEY, task text, done boolean DEFAULT false);
             CREATE PROCEDURE add_todo(id int) LANGUAGE sql AS 'INSERT INTO todo VALUES (id)';
             CREATE PROCEDURE add_and_commit(id int) LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO todo VALUES (id); COMMIT; END'",
        )
        .await
        .expect("a table");
    let wal = WalReader::create(cluster, &database).await;
    let proxy = proxy::start(cluster).await;
    let client = support::connect(proxy.port(), &database).await;
    Stage {
        direct,
        client,
        wal,
        proxy,
        database,
    }
}

const CONTEXT: &str = r#"{"user_id":1}"#;

fn with_sql(sql: &str) -> Json {
    json!({"user_id": 1, "SQL": sql})
}

#[tokio::test]
async fn a_simple_write_carries_the_session_context_and_its_own_text() {
    let stage = stage().await;
    stage
        .client
        .batch_execute(&format!("SET bemi.context = '{CONTEXT}'"))
        .await
        .unwrap();
    let sql = "INSERT INTO todo VALUES (1, 'é ''quoted''')";
    stage.client.batch_execute(sql).await.unwrap();
    let transaction = stage.wal.transaction().await;
    assert_eq!(transaction.contexts(), [Some(with_sql(sql))]);
}

#[tokio::test]
async fn an_extended_write_carries_the_session_context_and_its_own_text() {
    let stage = stage().await;
    stage
        .client
        .batch_execute(&format!("SET bemi.context = '{CONTEXT}'"))
        .await
        .unwrap();
    let sql = "INSERT INTO todo VALUES ($1, $2)";
    for id in 1..=3 {
        assert_eq!(stage.client.execute(sql, &[&id, &"x"]).await.unwrap(), 1);
    }
    let transactions = stage.wal.transactions().await;
    assert_eq!(transactions.len(), 3);
    for transaction in transactions {
        assert_eq!(transaction.contexts(), [Some(with_sql(sql))]);
    }
}

#[tokio::test]
async fn reads_and_writes_without_context_leave_no_message() {
    let stage = stage().await;
    stage
        .client
        .batch_execute("INSERT INTO todo VALUES (1)")
        .await
        .unwrap();
    stage
        .client
        .execute("UPDATE todo SET done = true", &[])
        .await
        .unwrap();
    stage
        .client
        .batch_execute(&format!("SET bemi.context = '{CONTEXT}'"))
        .await
        .unwrap();
    stage
        .client
        .query("SELECT * FROM todo FOR UPDATE", &[])
        .await
        .unwrap();
    stage
        .client
        .batch_execute("SELECT 1; SELECT * FROM todo")
        .await
        .unwrap();
    let transactions = stage.wal.transactions().await;
    assert!(
        transactions
            .iter()
            .all(|transaction| transaction.messages().is_empty()),
        "{transactions:#?}"
    );
    assert_eq!(transactions.len(), 2);
}
